//! Archives that are made up: mostly sound ones of few names, so that these meet, and some of them damaged a little.

use skiff_testkit::{Layer, SparseFormat};

use crate::common::cases::{Case, cases};

const BLOCK: usize = 512;

/// SplitMix64: the same numbers from the same seed, everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("because it is below")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// An archive for a seed.
pub(super) fn archive(random: &mut Random) -> Vec<u8> {
    let layer = if random.one_in(4) { known(random) } else { made_up(random) };
    let mut tar = if random.one_in(20) { layer.to_cut_tar() } else { layer.to_tar() };
    if random.one_in(3) {
        for _ in 0..=random.below(2) {
            damage(&mut tar, random);
        }
    }
    tar
}

/// A layer that other tests describe.
fn known(random: &mut Random) -> Layer {
    thread_local! {
        static KNOWN: Vec<Layer> = cases().into_iter().filter(Case::is_for_tar).map(|case| case.layers[0].clone()).collect();
    }
    KNOWN.with(|layers| layers[random.below(layers.len())].clone())
}

fn made_up(random: &mut Random) -> Layer {
    let root = if random.one_in(30) { Layer::new() } else { Layer::new().directory("./") };
    let mut files = Vec::new();
    (0..=random.below(8)).fold(root, |layer, _| {
        let layer = member(layer, &mut files, random);
        let layer = (0..random.below(3)).fold(layer, |layer, _| described(layer, random));
        if random.one_in(6) { odd(layer, random) } else { layer }
    })
}

fn name(random: &mut Random) -> Vec<u8> {
    const NAMES: [&str; 16] = [
        "a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "l", "l/a", "a/a", "d/e/f/g", "e", "e/a", "c", "f",
        "d/l",
    ];
    const ODD: [&str; 14] = [
        "./a", "/a", "//d//a", "./d/./a", "../a", "d/../a", "..", ".", "", "a/", "d/", "d/e/", ".wh.a", "d/.",
    ];
    match random.below(40) {
        0..3 => random.pick(&ODD).into(),
        3 => "n".repeat(random.pick(&[99, 100, 101, 150, 255, 256])).into(),
        4 => format!("d/{}", "m/".repeat(random.pick(&[20, 60, 120])) + "a").into(),
        5 => b"\xff\xc3\n".to_vec(),
        _ => random.pick(&NAMES).into(),
    }
}

/// Adds a member; `files` are the names of files so far, of which hard links are made.
fn member(layer: Layer, files: &mut Vec<Vec<u8>>, random: &mut Random) -> Layer {
    const TARGETS: [&str; 12] =
        ["a", "d", "/d", "d/e", "../a", "../../d", "nowhere", ".", "l", "/", "e/a", "./b"];
    let name = name(random);
    match random.below(22) {
        0..7 => {
            files.push(name.clone());
            let length = random.pick(&[0, 0, 1, 5, 511, 512, 513, 1500]);
            layer.file(name, vec![b'a' + u8::try_from(random.below(20)).expect("a letter"); length])
        }
        7..11 => layer.directory(name),
        11..14 => {
            let target = random.pick(&TARGETS);
            layer.symlink(name, if random.one_in(12) { target.repeat(110) } else { target.into() })
        }
        14..17 if files.is_empty() || random.one_in(8) => {
            let target = self::name(random);
            layer.hard_link(name, target)
        }
        14..17 => layer.hard_link(name, &files[random.below(files.len())]),
        17 => layer.fifo(name),
        18 => layer.character_device(
            name,
            random.pick(&[0, 1, 255, 4095]),
            random.pick(&[0, 3, 256, 1_048_575]),
        ),
        19 => layer.block_device(name, 7, random.pick(&[1, 300])),
        20 => {
            let format = SparseFormat::ALL[random.below(4)];
            let piece = [b's'; 512];
            match random.below(4) {
                0 => layer.sparse_file(name, format, &[(0, &piece), (1024, b"end"), (1027, b"")], 1027),
                1 => layer.sparse_file(name, format, &[(700, b"")], 700),
                2 => layer.sparse_file(name, format, &[(512, &piece), (4096, b"")], 4096),
                _ => layer.sparse_file(name, format, &[(4, b"x")], 9),
            }
        }
        _ => layer.typed(name, random.pick(b"\0\x007VMDNXASg8 Z")),
    }
}

/// Says something of the last member.
fn described(layer: Layer, random: &mut Random) -> Layer {
    match random.below(14) {
        0 | 1 => layer.mode(u32::try_from(random.below(0o10000)).expect("twelve bits")),
        2 => layer.owner(
            random.pick(&[0, 1000, 70_000, 3_000_000_000, 4_294_967_294]),
            random.pick(&[0, 5, 65_534]),
        ),
        3 => layer.mtime(
            random.pick(&[1, -1, -7, 1_700_000_000, 8_589_934_592, 5_000_000_000]),
            random.pick(&[0, 1, 500_000_000]),
        ),
        4 => {
            layer.xattr(random.pick(&["trusted.x", "trusted.y", "user.z"]), random.pick(&["1", "", "a\nb=c"]))
        }
        5 => layer.gnu_names(),
        6 => layer.binary_numbers(),
        7 => {
            let name = name(random);
            layer.pax("path", name)
        }
        8 => layer.pax("linkpath", random.pick(&["a", "d/a", "/d", "../x", ""])),
        9 => layer.pax(
            "mtime",
            random.pick(&[
                "1",
                "-1.5",
                "7.25",
                "1700000000.123456789123",
                "-0.0000000001",
                "",
                "x",
                "1e3",
                "5.",
                ".5",
                "+1",
            ]),
        ),
        10 => layer.pax(
            random.pick(&["uid", "gid"]),
            random.pick(&["7", "0", "4294967294", "4294967295", "-1", "", "x", "007"]),
        ),
        11 => layer.pax("size", random.pick(&["0", "1", "5", "512", "513", "1500", "-1", "", "x", "0005"])),
        12 => layer.pax(
            random.pick(&[
                "comment",
                "atime",
                "ctime",
                "uname",
                "hdrcharset",
                "VENDOR.x",
                "SCHILY.acl.access",
            ]),
            random.pick(&["1", "x", "BINARY"]),
        ),
        _ => layer.owner_names("nobody", "daemon"),
    }
}

/// Puts something odd after the last member, or makes it odd.
fn odd(layer: Layer, random: &mut Random) -> Layer {
    match random.below(9) {
        0 => layer.raw(vec![0; BLOCK]),
        1 => layer.raw(vec![0; 2 * BLOCK]),
        2 => {
            let name = name(random);
            layer.file("././@LongLink", [&name[..], b"\0"].concat()).entry_type(random.pick(b"LK"))
        }
        3 => layer
            .file(
                "PaxHeader",
                random.pick(&[
                    "6 a=b\n",
                    "10 path=d\n",
                    "7 a=b\n",
                    "5 a=b\n",
                    "a=b\n",
                    "6 a=b\n\n",
                    "10 mtime=\n",
                    "",
                ]),
            )
            .entry_type(random.pick(b"xg")),
        4 => layer.declared_size(random.pick(&[0, 1, 5, 512, 1024, 1 << 33])),
        5 => layer.entry_type(random.pick(b"\x000123456 7")),
        6 => layer.patch(|header| header[257..265].fill(0)),
        7 => layer.patch(|header| header[345..348].copy_from_slice(b"d/e")),
        _ => layer.patch(|header| header[257..265].copy_from_slice(b"ustar  \0")),
    }
}

/// Changes a few bytes, mostly of headers, whose checksums are mostly mended.
fn damage(tar: &mut Vec<u8>, random: &mut Random) {
    let blocks = tar.len() / BLOCK;
    if blocks == 0 {
        return;
    }
    let at = random.below(blocks) * BLOCK;
    match random.below(10) {
        0 => tar.truncate(at + random.pick(&[0, 0, 1, 100])),
        1 => drop(tar.drain(at..at + BLOCK)),
        2 => drop(tar.splice(at..at, [0; BLOCK])),
        3 => {
            let copy = tar[at..at + BLOCK].to_vec();
            tar.splice(at..at, copy);
        }
        _ => {
            // A field of a header, by where it begins and how long it is.
            const FIELDS: [(usize, usize); 10] = [
                (0, 100),
                (100, 8),
                (108, 8),
                (116, 8),
                (124, 12),
                (136, 12),
                (156, 1),
                (157, 100),
                (257, 8),
                (329, 16),
            ];
            let (start, length) = random.pick(&FIELDS);
            let field = &mut tar[at + start..at + start + length];
            match random.below(6) {
                0 => field.fill(0),
                1 => field.fill(b' '),
                2 => field.fill(0xff),
                3 => field[0] = 0x80,
                4 => field[random.below(length)] = random.pick(b"0189 /.-\x00\xff"),
                _ => field[random.below(length)] ^= 1 << random.below(8),
            }
            if !random.one_in(8) {
                mend(&mut tar[at..at + BLOCK]);
            }
        }
    }
}

fn mend(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
