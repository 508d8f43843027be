//! rdiff as the judge: it reads what is written here, and the reverse, and its deltas are never smaller.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{Random, noise};
use skiff_block::*;
use tempfile::TempDir;

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// A directory for the files of one rdiff after the other.
struct Rdiff(TempDir);

impl Rdiff {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn run(&self, words: &[&str]) {
        let output = Command::new("rdiff").arg("-f").args(words).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The signature of the file `old`.
    fn sign(&self, params: &SignatureParams) -> Vec<u8> {
        let kind = params.kind();
        let (weak, strong) = (kind.weak.to_string(), kind.strong.to_string());
        let (block_len, strong_len) = (params.block_len().to_string(), params.strong_len().to_string());
        let words =
            ["-R", &weak, "-H", &strong, "-b", &block_len, "-S", &strong_len, "signature", "old", "sig"];
        self.run(&[buffer(params), &words].concat());
        fs::read(self.path("sig")).unwrap()
    }

    /// The delta from the file `sig` to the file `new`.
    fn delta(&self, params: &SignatureParams) -> Vec<u8> {
        self.run(&[buffer(params), &["delta", "sig", "new", "delta"]].concat());
        fs::read(self.path("delta")).unwrap()
    }

    /// What the file `delta` makes of the file `old`.
    fn patch(&self) -> Vec<u8> {
        self.run(&["patch", "old", "delta", "made"]);
        fs::read(self.path("made")).unwrap()
    }
}

/// The options without which rdiff cannot take long blocks: it reads four blocks at once, and with 2^30 bytes it
/// computes a buffer of none.
fn buffer(params: &SignatureParams) -> &'static [&'static str] {
    if params.block_len() < 1 << 28 { &[] } else { &["-I", "1048576"] }
}

fn ours(old: &[u8], params: &SignatureParams) -> Vec<u8> {
    let mut signature = Vec::new();
    write_signature(old, params, TWO, &mut signature).unwrap();
    signature
}

fn table(signature: &[u8]) -> Table {
    Table::new(Signature::read(signature, &Limits::default()).unwrap()).unwrap()
}

/// Two threads, because rdiff starts anew for each case.
fn on_two_threads<T: Send>(cases: Vec<T>, check: impl Fn(&Rdiff, T) + Sync) {
    let cases = std::sync::Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let rdiff = Rdiff::new();
                loop {
                    let next = cases.lock().unwrap().next();
                    let Some(case) = next else { return };
                    check(&rdiff, case);
                }
            });
        }
    });
}

#[test]
#[ignore = "needs rdiff"]
fn signatures_are_rdiffs() {
    const BLOCKS: [u32; 11] = [1, 2, 7, 64, 255, 256, 1000, 2048, 65536, 1 << 20, 1 << 30];
    const MANY: u64 = 300_000;
    let mut cases = Vec::new();
    for kind in SignatureKind::ALL {
        for (index, block_len) in BLOCKS.into_iter().enumerate() {
            let block = u64::from(block_len);
            let sizes = [0, 1, block - 1, block, block + 1, block * 3 + block / 2, (block * 40).min(MANY)];
            for (number, size) in sizes.into_iter().filter(|size| *size < 4_000_000).enumerate() {
                for strong_len in [1, 2, 8, 15, 16, 31, 32] {
                    // Every length with blocks of 64 bytes, and in turn with all others.
                    let in_turn = (index + number + strong_len as usize).is_multiple_of(3) || block_len == 64;
                    if strong_len <= kind.strong.max_len() && in_turn {
                        let params = SignatureParams::new(kind, block_len, strong_len).unwrap();
                        cases.extend([(params, size, false), (params, size, true)]);
                    }
                }
            }
        }
    }
    on_two_threads(cases, |rdiff, (params, size, is_zero)| {
        let old = if is_zero { vec![0; size as usize] } else { noise(size ^ 77, size as usize) };
        rdiff.put("old", &old);
        assert!(ours(&old, &params) == rdiff.sign(&params), "{params:?}, {size} bytes, zero: {is_zero}");
    });
}

/// A file of few or many symbols, and what moves, copies and new bytes make of it.
fn edited(random: &mut Random, block: usize, most: usize) -> (Vec<u8>, Vec<u8>) {
    let symbols = *random.choose(&[1, 2, 3, 3, 16, 256]);
    let fresh = |random: &mut Random, length: usize| -> Vec<u8> {
        (0..length).map(|_| random.below(symbols) as u8).collect()
    };
    let length = random.below(most + 1);
    let mut old = fresh(random, length);
    // Blocks that repeat, some of them beside each other.
    for _ in 0..random.below(6) {
        let blocks = old.len() / block;
        if blocks > 1 {
            let (from, to) = (random.below(blocks) * block, random.below(blocks) * block);
            let count = (1 + random.below(4)) * block;
            let count = count.min(old.len() - from).min(old.len() - to);
            old.copy_within(from..from + count, to);
        }
    }
    let mut new = if random.below(3) == 0 { Vec::new() } else { old.clone() };
    for _ in 0..random.below(8) {
        let at = random.below(new.len() + 1);
        match random.below(5) {
            0 => drop(new.drain(at..(at + random.below(2 * block + 2)).min(new.len()))),
            1 => {
                let length = random.below(2 * block + 2);
                let zeros = vec![0; length];
                drop(new.splice(at..at, zeros));
            }
            2 => {
                let length = random.below(block + 70);
                let bytes = fresh(random, length);
                drop(new.splice(at..at, bytes));
            }
            3 => {
                // Whole blocks of the old file, from a border.
                let from = random.below(old.len() / block + 1) * block;
                let to = (from + (1 + random.below(5)) * block).min(old.len());
                drop(new.splice(at..at, old[from..to].iter().copied()));
            }
            _ => {
                let from = random.below(old.len() + 1);
                let to = (from + random.below(5 * block + 1)).min(old.len());
                drop(new.splice(at..at, old[from..to].iter().copied()));
            }
        }
    }
    (old, new)
}

/// Both directions, for one pair: returns how much smaller the delta is than rdiff's.
fn both_ways(rdiff: &Rdiff, old: &[u8], new: &[u8], params: &SignatureParams, what: &str) -> u64 {
    let signature = ours(old, params);
    rdiff.put("old", old);
    rdiff.put("new", new);
    rdiff.put("sig", &signature);
    let theirs = rdiff.delta(params);
    let mut made = Vec::new();
    let report = patch(std::io::Cursor::new(old), &theirs[..], &mut made, &Limits::default()).unwrap();
    assert!(made == new, "{what}: rdiff's delta");
    assert_eq!(report.delta_bytes, theirs.len() as u64);
    let mut delta_bytes = Vec::new();
    delta(&table(&signature), new, TWO, &mut delta_bytes).unwrap();
    rdiff.put("delta", &delta_bytes);
    assert!(rdiff.patch() == new, "{what}: rdiff with this delta");
    let (mine, theirs) = (delta_bytes.len(), theirs.len());
    assert!(mine <= theirs, "{what}: {mine} bytes, and rdiff has {theirs}");
    (theirs - mine) as u64
}

#[test]
#[ignore = "needs rdiff"]
fn small_deltas_are_never_larger_than_rdiffs() {
    let saved = AtomicU64::new(0);
    let seeds = (1..=4000).collect::<Vec<u64>>();
    on_two_threads(seeds, |rdiff, seed| {
        let mut random = Random::new(seed);
        let (block, most) = match random.below(4) {
            0 => (1 + random.below(4), 60),
            1 => (1 + random.below(40), 700),
            2 => (1 + random.below(300), 3000),
            _ => (1 + random.below(2000), 150_000),
        };
        let (old, new) = edited(&mut random, block, most);
        let kind = *random.choose(&SignatureKind::ALL);
        let strong_len = 8 + random.below(kind.strong.max_len() as usize - 7) as u32;
        let params = SignatureParams::new(kind, block as u32, strong_len).unwrap();
        let what = format!("seed {seed}, {params:?}, {} to {} bytes", old.len(), new.len());
        saved.fetch_add(both_ways(rdiff, &old, &new, &params, &what), Ordering::Relaxed);
    });
    println!("smaller by {} bytes in all", saved.into_inner());
}

#[test]
#[ignore = "needs rdiff"]
fn large_deltas_are_never_larger_than_rdiffs() {
    let kinds = SignatureKind::ALL.into_iter().enumerate();
    on_two_threads(kinds.collect(), |rdiff, (index, kind)| {
        let mut random = Random::new(index as u64 + 99);
        let mut old = noise(index as u64 + 5, 6_000_000);
        old.extend(vec![0; 2_000_000]);
        old.extend_from_within(1_000_000..3_000_000);
        let mut new = Vec::new();
        for piece in old.chunks(300_007) {
            new.extend_from_slice(piece);
            new.extend_from_slice(&noise(random.word(), random.below(5000)));
            if random.below(3) == 0 {
                let from = random.below(old.len() - 100_000);
                new.extend_from_slice(&old[from..from + 100_000]);
            }
        }
        for block_len in [64, 700, 2048, 65536, 1 << 20] {
            let params = SignatureParams::new(kind, block_len, 16).unwrap();
            both_ways(rdiff, &old, &new, &params, &format!("{params:?}"));
        }
    });
}

/// Whether rdiff ends with success, be it with nothing done.
fn takes(rdiff: &Rdiff, words: &[&str]) -> bool {
    let run = Command::new("rdiff").arg("-f").args(words).current_dir(rdiff.0.path()).output();
    run.unwrap().status.success()
}

#[test]
#[ignore = "needs rdiff"]
fn damaged_deltas_are_refused_where_rdiff_refuses_them() {
    let old = noise(3, 300);
    let copies = (0x45..=0x54).map(|code: u8| {
        let width = |index: u8| 1_usize << (index % 4);
        let (first, second) = (width((code - 0x45) / 4), width(code - 0x45));
        [vec![code], vec![0; first - 1], vec![9], vec![0; second - 1], vec![20]].concat()
    });
    let whole = [&b"rs\x02\x36\x03abc\x41\x02de"[..], &copies.collect::<Vec<_>>().concat(), b"\0"].concat();
    let cut = (0..=whole.len()).map(|length| whole[..length].to_vec());
    let flipped = (0..whole.len() * 8).map(|bit| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    on_two_threads(cut.chain(flipped).collect(), |rdiff, bytes: Vec<u8>| {
        rdiff.put("old", &old);
        rdiff.put("delta", &bytes);
        let mut made = Vec::new();
        let is_taken = patch(std::io::Cursor::new(&old), &bytes[..], &mut made, &Limits::default()).is_ok();
        assert_eq!(takes(rdiff, &["patch", "old", "delta", "made"]), is_taken, "{bytes:02x?}");
        assert!(!is_taken || fs::read(rdiff.path("made")).unwrap() == made, "{bytes:02x?}");
    });
}

#[test]
#[ignore = "needs rdiff"]
fn damaged_signatures_are_refused_where_rdiff_refuses_them() {
    let params = SignatureParams::new(SignatureKind::default(), 100, 8).unwrap();
    let whole = ours(&noise(3, 250), &params);
    let cut = (0..=whole.len()).map(|length| whole[..length].to_vec());
    let flipped = (0..12 * 8).map(|bit| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    on_two_threads(cut.chain(flipped).collect(), |rdiff, bytes: Vec<u8>| {
        let number =
            |at: usize| bytes.get(at..at + 4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
        // Refused there because its numbers have a sign, or its buffer gets too large.
        let is_long = number(4).is_some_and(|block_len| block_len >= 1 << 26);
        // Taken there, though nothing confirms what the weak hashes find.
        let is_unconfirmed = number(8) == Some(0);
        // Taken there, though the weak hash of a block is cut off.
        let sum = number(8).map_or(12, |strong_len| strong_len as usize + 4);
        let is_cut = (1..4).contains(&(bytes.len().saturating_sub(12) % sum.max(1)));
        if is_long || is_unconfirmed || is_cut {
            return;
        }
        rdiff.put("sig", &bytes);
        rdiff.put("new", b"new");
        let is_taken = Signature::read(&bytes[..], &Limits::default()).is_ok();
        assert_eq!(takes(rdiff, &["delta", "sig", "new", "delta"]), is_taken, "{bytes:02x?}");
    });
}

/// A file of `length` bytes of noise, of which every `changed` bytes one is another. Only as much of it is in memory as is
/// written at once.
fn write_noise(path: &Path, length: u64, changed: Option<u64>) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    const PIECE: usize = 1 << 20;
    let (mut written, mut next) = (0_u64, changed.map(|every| every / 2));
    while written < length {
        let mut piece = noise(written + 1, PIECE.min((length - written) as usize));
        while let Some(at) = next.filter(|at| *at < written + piece.len() as u64) {
            piece[(at - written) as usize] ^= 1;
            next = changed.map(|every| at + every);
        }
        out.write_all(&piece).unwrap();
        written += piece.len() as u64;
    }
    out.flush().unwrap();
}

fn assert_same_file(one: &Path, other: &Path) {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut first, mut second) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut first).unwrap();
        other.read_exact(&mut second[..count]).unwrap();
        assert!(first[..count] == second[..count]);
        if count == 0 {
            return assert_eq!(other.read(&mut second).unwrap(), 0);
        }
    }
}

#[test]
#[ignore = "needs rdiff"]
fn a_file_of_a_gigabyte() {
    const SIZE: u64 = (1 << 30) + 1000;
    let rdiff = Rdiff::new();
    write_noise(&rdiff.path("old"), SIZE, None);
    for (block_len, changed) in [(2048, 50_000_017), (1 << 30, 2 * SIZE - 200)] {
        write_noise(&rdiff.path("new"), SIZE, Some(changed));
        let params = SignatureParams::new(SignatureKind::default(), block_len, 32).unwrap();
        let signature = Signature::of(File::open(rdiff.path("old")).unwrap(), &params, TWO).unwrap();
        let mut written = Vec::new();
        signature.write(&mut written).unwrap();
        assert!(written == rdiff.sign(&params), "blocks of {block_len}");
        let theirs = rdiff.delta(&params);
        let new = File::open(rdiff.path("new")).unwrap();
        let mut mine = Vec::new();
        let report = delta(&Table::new(signature).unwrap(), new, TWO, &mut mine).unwrap();
        assert!(report.copied_bytes > SIZE - 100_000 && mine.len() <= theirs.len());
        if block_len == 2048 {
            let made = BufWriter::with_capacity(1 << 20, File::create(rdiff.path("made")).unwrap());
            let old = File::open(rdiff.path("old")).unwrap();
            patch(old, &theirs[..], made, &Limits::default()).unwrap();
            assert_same_file(&rdiff.path("made"), &rdiff.path("new"));
        }
        rdiff.put("delta", &mine);
        rdiff.run(&["patch", "old", "delta", "made"]);
        assert_same_file(&rdiff.path("made"), &rdiff.path("new"));
    }
}
