//! Archives put together from the members of others, in ways that no program does.

#![allow(clippy::unwrap_used, dead_code, reason = "not every test uses all of it")]

/// A member as it is in an archive that `jar`, `zip` or Python's `zipfile` made.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) method: u16,
    /// Checksum, compressed and plain length.
    pub(crate) sums: [u8; 12],
    pub(crate) packed: Vec<u8>,
}

/// The members of an archive, by its directory.
pub(crate) fn members(archive: &[u8]) -> Vec<Member> {
    let end = archive.windows(4).rposition(|four| four == b"PK\x05\x06").unwrap();
    let word = |at: usize| u32::from_le_bytes(*archive[at..].first_chunk().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(*archive[at..].first_chunk().unwrap()));
    let mut at = word(end + 16);
    let mut members = Vec::new();
    for _ in 0..half(end + 10) {
        let header = word(at + 42);
        let content = header + 30 + half(header + 26) + half(header + 28);
        let (name, behind) = (half(at + 28), half(at + 30) + half(at + 32));
        members.push(Member {
            name: archive[at + 46..at + 46 + name].to_vec(),
            method: half(at + 10) as u16,
            sums: *archive[at + 16..].first_chunk().unwrap(),
            packed: archive[content..content + word(at + 20)].to_vec(),
        });
        at += 46 + name + behind;
    }
    members
}

/// How a member is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Form {
    pub(crate) time: u16,
    /// 0 in the header, 1 and 2 behind the content with and without a signature, 3 in both.
    pub(crate) descriptor: u8,
    /// Bytes that belong to nothing.
    pub(crate) gap: u8,
    pub(crate) extra: u8,
    /// Whether the directory has another checksum.
    pub(crate) lies: bool,
}

/// How an archive is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    pub(crate) prefix: u8,
    /// Whether offsets count from behind the prefix.
    pub(crate) is_apart: bool,
    pub(crate) is_reversed: bool,
    pub(crate) comment: u8,
}

pub(crate) fn archive(members: &[(Member, Form)], shape: Shape) -> Vec<u8> {
    let mut bytes = vec![b'#'; shape.prefix.into()];
    let start = if shape.is_apart { bytes.len() } else { 0 };
    let mut directory = Vec::new();
    for (member, form) in members {
        let offset = (bytes.len() - start) as u32;
        let flags = if matches!(form.descriptor, 1 | 2) { 8_u16 } else { 0 };
        let common = [
            &20_u16.to_le_bytes()[..],
            &flags.to_le_bytes(),
            &member.method.to_le_bytes(),
            &form.time.to_le_bytes(),
            b"\x21\x58",
        ]
        .concat();
        let name_length = (member.name.len() as u16).to_le_bytes();
        let extra = vec![7; form.extra.into()];
        let extra_length = u16::from(form.extra).to_le_bytes();
        let in_header = if flags == 0 { member.sums } else { [0; 12] };
        bytes.extend([&b"PK\x03\x04"[..], &common, &in_header, &name_length, &extra_length].concat());
        bytes.extend([&member.name[..], &extra, &member.packed].concat());
        bytes.extend(if matches!(form.descriptor, 1 | 3) { &b"PK\x07\x08"[..] } else { b"" });
        bytes.extend(if form.descriptor > 0 { &member.sums[..] } else { b"" });
        bytes.extend(vec![0xee; form.gap.into()]);
        let mut sums = member.sums;
        sums[0] ^= u8::from(form.lies);
        let behind = [0; 12];
        directory.push(
            [
                &b"PK\x01\x02\x14\x03"[..],
                &common,
                &sums,
                &name_length,
                &extra_length,
                &behind[..10],
                &offset.to_le_bytes(),
                &member.name,
                &extra,
            ]
            .concat(),
        );
    }
    if shape.is_reversed {
        directory.reverse();
    }
    let offset = (bytes.len() - start) as u32;
    let length = directory.iter().map(Vec::len).sum::<usize>() as u32;
    let count = (directory.len() as u16).to_le_bytes();
    bytes.extend(directory.concat());
    bytes.extend(
        [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &length.to_le_bytes(), &offset.to_le_bytes()].concat(),
    );
    bytes.extend(u16::from(shape.comment).to_le_bytes());
    bytes.extend(vec![b'c'; shape.comment.into()]);
    bytes
}
