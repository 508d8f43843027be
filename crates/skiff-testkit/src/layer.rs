use tar::{EntryType, Header};

use crate::sparse::GnuMap;

/// The modification time that entries have unless told otherwise: seconds since 1970.
pub(crate) const MTIME: i64 = 1_600_000_000;
/// What a name or a link target takes in a header.
const HEADER_NAME: usize = 100;
const BLOCK: usize = 512;

/// A layer put together entry by entry, in the order its tar archive has them.
///
/// Names stand in the archive as they are given, whatever they are. What is set after an entry (mode, owner, ...) changes
/// that entry. Unless told otherwise, entries belong to 0:0, are from 2020-09-13 12:26:40 UTC, and have mode 0755
/// (directories), 0777 (symbolic links) or 0644.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    members: Vec<Member>,
}

#[derive(Debug, Clone)]
enum Member {
    Entry(Box<Entry>),
    Raw(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Entry {
    name: Vec<u8>,
    kind: u8,
    content: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    owner: (u64, u64),
    owner_names: Option<(String, String)>,
    mtime: (i64, u32),
    device: (u32, u32),
    records: Vec<(Vec<u8>, Vec<u8>)>,
    gnu_names: bool,
    /// Numbers in the header are binary, all of them.
    is_binary: bool,
    /// What the header says of the size, where that is not what follows.
    declared_size: Option<u64>,
    map: Option<GnuMap>,
    patch: Option<fn(&mut [u8; BLOCK])>,
}

impl Layer {
    /// A layer without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let entry =
            Entry { content: content.as_ref().to_vec(), ..Entry::new(name, EntryType::Regular, 0o644) };
        self.entry(entry)
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(Entry::new(name, EntryType::Directory, 0o755))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let entry = Entry { link: target.as_ref().to_vec(), ..Entry::new(name, EntryType::Symlink, 0o777) };
        self.entry(entry)
    }

    /// Adds a further name of `target`, which names an entry of this layer or of one below.
    #[must_use]
    pub fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let entry = Entry { link: target.as_ref().to_vec(), ..Entry::new(name, EntryType::Link, 0o644) };
        self.entry(entry)
    }

    /// Adds a named pipe.
    #[must_use]
    pub fn fifo(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(Entry::new(name, EntryType::Fifo, 0o644))
    }

    /// Adds a character device.
    #[must_use]
    pub fn character_device(self, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.entry(Entry { device: (major, minor), ..Entry::new(name, EntryType::Char, 0o644) })
    }

    /// Adds a block device.
    #[must_use]
    pub fn block_device(self, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.entry(Entry { device: (major, minor), ..Entry::new(name, EntryType::Block, 0o644) })
    }

    /// Adds an entry of any type, without content.
    #[must_use]
    pub fn typed(self, name: impl AsRef<[u8]>, kind: u8) -> Self {
        self.entry(Entry::with_type(name, kind, 0o644))
    }

    /// Hides what the layers below have at `name`: adds `.wh.NAME` beside it.
    #[must_use]
    pub fn whiteout(self, name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        let split = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let marker = [&name[..split], b".wh.", &name[split..]].concat();
        self.file(marker, b"")
    }

    /// Hides everything the layers below have in a directory: adds `.wh..wh..opq` in it.
    #[must_use]
    pub fn opaque(self, directory: impl AsRef<[u8]>) -> Self {
        let directory = directory.as_ref();
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        self.file([directory, slash, b".wh..wh..opq"].concat(), b"")
    }

    /// Adds bytes as they are: entries made elsewhere, or nothing that is one.
    #[must_use]
    pub fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.members.push(Member::Raw(bytes.into()));
        self
    }

    /// Gives the last entry a mode.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.change(|entry| entry.mode = mode)
    }

    /// Gives the last entry an owner and a group.
    #[must_use]
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        self.change(|entry| entry.owner = (uid, gid))
    }

    /// Gives the last entry's owner and group names.
    #[must_use]
    pub fn owner_names(self, user: &str, group: &str) -> Self {
        self.change(|entry| entry.owner_names = Some((user.into(), group.into())))
    }

    /// Gives the last entry a modification time: seconds since 1970 and nanoseconds after that.
    #[must_use]
    pub fn mtime(self, seconds: i64, nanoseconds: u32) -> Self {
        self.change(|entry| entry.mtime = (seconds, nanoseconds))
    }

    /// Gives the last entry an extended attribute.
    #[must_use]
    pub fn xattr(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax([b"SCHILY.xattr.", name.as_ref()].concat(), value)
    }

    /// Gives the last entry a PAX record, whatever is in it.
    #[must_use]
    pub fn pax(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.change(|entry| entry.records.push((key.as_ref().to_vec(), value.as_ref().to_vec())))
    }

    /// Lets the last entry's long names stand in GNU's `L` and `K` headers rather than PAX records.
    #[must_use]
    pub fn gnu_names(self) -> Self {
        self.change(|entry| entry.gnu_names = true)
    }

    /// Makes the last entry one of another type, with whatever content it has.
    #[must_use]
    pub fn entry_type(self, kind: u8) -> Self {
        self.change(|entry| entry.kind = kind)
    }

    /// Changes the finished header of the last entry; its checksum is made to fit after that.
    #[must_use]
    pub fn patch(self, patch: fn(&mut [u8; BLOCK])) -> Self {
        self.change(|entry| entry.patch = Some(patch))
    }

    /// Lets the numbers in the last entry's header be binary (GNU's base-256), its time too, before 1970 as well.
    #[must_use]
    pub fn binary_numbers(self) -> Self {
        self.change(|entry| entry.is_binary = true)
    }

    /// Lets the last entry's header declare another size than its content has.
    #[must_use]
    pub fn declared_size(self, size: u64) -> Self {
        self.change(|entry| entry.declared_size = Some(size))
    }

    /// The layer's tar archive, with its two blocks of zeros at the end.
    #[must_use]
    pub fn to_tar(&self) -> Vec<u8> {
        let mut tar = self.to_cut_tar();
        tar.resize(tar.len() + 2 * BLOCK, 0);
        tar
    }

    /// The layer's tar archive, without its end.
    #[must_use]
    pub fn to_cut_tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for member in &self.members {
            match member {
                Member::Entry(entry) => entry.write(&mut tar),
                Member::Raw(bytes) => tar.extend_from_slice(bytes),
            }
        }
        tar
    }

    pub(crate) fn gnu_sparse_file(self, name: &[u8], stored: Vec<u8>, map: GnuMap) -> Self {
        let entry = Entry::new(name, EntryType::GNUSparse, 0o644);
        self.entry(Entry { content: stored, map: Some(map), ..entry })
    }

    fn entry(mut self, entry: Entry) -> Self {
        self.members.push(Member::Entry(Box::new(entry)));
        self
    }

    fn change(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        match self.members.last_mut() {
            Some(Member::Entry(entry)) => change(entry),
            _ => panic!("there is no entry yet to change"),
        }
        self
    }
}

impl Entry {
    fn new(name: impl AsRef<[u8]>, kind: EntryType, mode: u32) -> Self {
        Self::with_type(name, kind.as_byte(), mode)
    }

    fn with_type(name: impl AsRef<[u8]>, kind: u8, mode: u32) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            kind,
            content: Vec::new(),
            link: Vec::new(),
            mode,
            owner: (0, 0),
            owner_names: None,
            mtime: (MTIME, 0),
            device: (0, 0),
            records: Vec::new(),
            gnu_names: false,
            is_binary: false,
            declared_size: None,
            map: None,
            patch: None,
        }
    }

    fn write(&self, tar: &mut Vec<u8>) {
        let mut records = Vec::new();
        for (value, gnu, pax) in [(&self.name, b'L', "path"), (&self.link, b'K', "linkpath")] {
            if value.len() > HEADER_NAME && self.gnu_names {
                let mut header = Header::new_gnu();
                header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
                write_member(tar, header, gnu, &[value, &b"\0"[..]].concat());
            } else if value.len() > HEADER_NAME {
                records.push((pax.as_bytes().to_vec(), value.clone()));
            }
        }
        let (seconds, nanoseconds) = self.mtime;
        if nanoseconds != 0 || seconds < 0 && !self.is_binary {
            records.push((b"mtime".to_vec(), decimal_time(seconds, nanoseconds).into_bytes()));
        }
        records.extend_from_slice(&self.records);
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            write_member(tar, Header::new_ustar(), b'x', &body);
        }
        let is_gnu = self.gnu_names || self.is_binary || self.map.is_some();
        let mut header = if is_gnu { Header::new_gnu() } else { Header::new_ustar() };
        copy_name(&mut header.as_old_mut().name, &self.name);
        copy_name(&mut header.as_old_mut().linkname, &self.link);
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(u64::try_from(seconds).unwrap_or(0));
        if matches!(self.kind, b'3' | b'4') {
            header.set_device_major(self.device.0).expect("a header with devices");
            header.set_device_minor(self.device.1).expect("a header with devices");
        }
        if let Some((user, group)) = &self.owner_names {
            header.set_username(user).expect("a short name");
            header.set_groupname(group).expect("a short name");
        }
        header.set_size(self.declared_size.unwrap_or(self.content.len() as u64));
        if self.is_binary {
            self.put_binary_numbers(&mut header);
        }
        let map = self.map.as_ref().map(|map| map.write(&mut header)).unwrap_or_default();
        if let Some(patch) = self.patch {
            patch(header.as_mut_bytes());
        }
        put_header(tar, header, self.kind);
        tar.extend_from_slice(&map);
        put_content(tar, &self.content);
    }

    fn put_binary_numbers(&self, header: &mut Header) {
        let size = self.declared_size.unwrap_or(self.content.len() as u64);
        let old = header.as_old_mut();
        put_binary(&mut old.uid, self.owner.0.into());
        put_binary(&mut old.gid, self.owner.1.into());
        put_binary(&mut old.mode, self.mode.into());
        put_binary(&mut old.mtime, self.mtime.0.into());
        put_binary(&mut old.size, size.into());
    }
}

/// Two's complement, most significant byte first; the first bit marks it.
fn put_binary(field: &mut [u8], number: i128) {
    let bytes = number.to_be_bytes();
    field.copy_from_slice(&bytes[bytes.len() - field.len()..]);
    field[0] |= 0x80;
}

fn copy_name(field: &mut [u8; HEADER_NAME], name: &[u8]) {
    let length = name.len().min(HEADER_NAME);
    field[..length].copy_from_slice(&name[..length]);
}

fn write_member(tar: &mut Vec<u8>, mut header: Header, kind: u8, body: &[u8]) {
    header.set_size(body.len() as u64);
    put_header(tar, header, kind);
    put_content(tar, body);
}

fn put_header(tar: &mut Vec<u8>, mut header: Header, kind: u8) {
    header.as_old_mut().linkflag = [kind];
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
}

fn put_content(tar: &mut Vec<u8>, body: &[u8]) {
    tar.extend_from_slice(body);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let length = (1..=20).map(|digits| digits + rest.len()).find(|length| {
        // The first number of digits that is enough for the length it makes.
        length.to_string().len() + rest.len() == *length
    });
    let length = length.expect("because one more digit is always enough");
    [length.to_string().as_bytes(), &rest].concat()
}

/// Seconds with a fraction, as PAX has them: for a time before 1970 the whole number is negative, fraction included.
fn decimal_time(seconds: i64, nanoseconds: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (sign, total) = if total < 0 { ("-", -total) } else { ("", total) };
    format!("{sign}{}.{:09}", total / 1_000_000_000, total % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        assert_eq!(pax_record(b"k", b"v"), b"6 k=v\n");
        // Nine bytes and one digit would be ten bytes, which takes two digits.
        assert_eq!(pax_record(b"abc", b"def"), b"11 abc=def\n");
        assert_eq!(pax_record(b"path", &[b'x'; 100]).len(), 110);
        for length in 0..300 {
            let record = pax_record(b"key", &vec![b'x'; length]);
            assert!(record.starts_with(record.len().to_string().as_bytes()), "{length}");
        }
    }

    #[test]
    fn times_before_1970() {
        assert_eq!(decimal_time(-1, 500_000_000), "-0.500000000");
        assert_eq!(decimal_time(-2, 500_000_000), "-1.500000000");
        assert_eq!(decimal_time(3, 1), "3.000000001");
    }

    #[test]
    fn another_reader_reads_it() {
        let long = "d/".repeat(80) + "file";
        for layer in [Layer::new().file(&long, b"x"), Layer::new().file(&long, b"x").gnu_names()] {
            let tar = layer.to_tar();
            let mut archive = tar::Archive::new(&tar[..]);
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.path_bytes(), long.as_bytes());
        }
    }
}
