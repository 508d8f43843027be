//! From a signature and a new file to a delta.

use std::io::{self, Read, Seek, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

use crate::assemble::Assembler;
use crate::buffer::Buffer;
use crate::scan::{Credit, Path, Window};
use crate::table::Table;
use crate::weak::{RabinKarp, Rollsum, Weak};
use crate::{BlockError, DeltaWriter, Sink, Stream, WeakHash};

/// How many bytes of the new file are searched at once, by all threads together.
const BATCH: usize = 8 << 20;
/// The least that is worth a thread of its own.
const PART_MIN: u64 = 256 << 10;

/// What a delta consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeltaReport {
    /// Bytes of the new file.
    pub new_bytes: u64,
    /// Bytes of it that are in the delta.
    pub literal_bytes: u64,
    /// Bytes of it that the old file has.
    pub copied_bytes: u64,
    /// Those of them that no block has as a whole: found beside blocks, in the old file itself.
    pub extended_bytes: u64,
    /// Commands of either kind.
    pub commands: u64,
    /// Bytes of the delta; 0 where its commands went elsewhere.
    pub delta_bytes: u64,
}

/// Writes the delta that makes `new` of the file whose signature `table` holds, searching on `threads` threads. The same
/// bytes come out on any number of them.
///
/// It takes, beside the table, three times the length of a block and some 30 MiB. Progress and cancelling are the
/// reader's, as in [`write_signature`](crate::write_signature). Files made so that hashes come up in vain cost a bounded
/// time for each byte, and the delta may become longer for it.
///
/// # Errors
/// [`BlockError::Io`].
pub fn delta(
    table: &Table,
    new: impl Read,
    threads: NonZeroUsize,
    out: impl Write,
) -> Result<DeltaReport, BlockError> {
    let writer = DeltaWriter::new(out)?;
    let (writer, report) = find::<io::Empty, _>(table, None, new, threads, writer)?;
    Ok(DeltaReport { delta_bytes: writer.finish()?.1, ..report })
}

/// As [`delta`], for whoever has the old file itself: what is equal beside blocks is copied too. So the delta is never longer.
/// The old file is read through first, to see that it is the one that was signed.
///
/// # Errors
/// [`BlockError::WrongOld`], [`BlockError::Io`].
pub fn delta_with_old(
    table: &Table,
    mut old: impl Read + Seek,
    new: impl Read,
    threads: NonZeroUsize,
    out: impl Write,
) -> Result<DeltaReport, BlockError> {
    old.rewind().map_err(BlockError::io(Stream::Old))?;
    table.signature().check(&mut old, threads)?;
    let writer = DeltaWriter::new(out)?;
    let (writer, report) = find(table, Some(old), new, threads, writer)?;
    Ok(DeltaReport { delta_bytes: writer.finish()?.1, ..report })
}

/// As [`delta`], or with the old file as [`delta_with_old`], handing the commands to a sink instead of writing them. The old
/// file is taken to be the one that was signed: another one makes a wrong delta.
///
/// # Errors
/// [`BlockError::Io`], and whatever the sink ends in.
pub fn find<O: Read + Seek, S: Sink<Error = BlockError>>(
    table: &Table,
    old: Option<O>,
    new: impl Read,
    threads: NonZeroUsize,
    sink: S,
) -> Result<(S, DeltaReport), BlockError> {
    let searched = search_all(table, old, new, threads, sink)?;
    Ok((searched.sink, searched.report))
}

/// What came of a whole search.
struct Searched<S> {
    sink: S,
    report: DeltaReport,
    /// How many bytes strong hashes were computed of, which depends on the number of threads. Tests bound it.
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests ask what a search cost"))]
    hashed: u64,
}

fn search_all<O: Read + Seek, S: Sink<Error = BlockError>>(
    table: &Table,
    old: Option<O>,
    new: impl Read,
    threads: NonZeroUsize,
    sink: S,
) -> Result<Searched<S>, BlockError> {
    let assembler = Assembler::new(table, old, sink);
    match table.params().kind().weak {
        WeakHash::Rollsum => run::<Rollsum, _, _>(table, new, threads, assembler),
        WeakHash::RabinKarp => run::<RabinKarp, _, _>(table, new, threads, assembler),
    }
}

fn run<W: Weak, O: Read + Seek, S: Sink<Error = BlockError>>(
    table: &Table,
    mut new: impl Read,
    threads: NonZeroUsize,
    mut assembler: Assembler<'_, O, S>,
) -> Result<Searched<S>, BlockError> {
    let block_len = table.params().block_len() as usize;
    let batch = BATCH.max(block_len);
    let (mut held, mut next) = (Buffer::default(), Buffer::default());
    let mut credit = Credit::new(block_len as u64);
    let (mut origin, mut hashed) = (0, 0);
    let wanted = batch.saturating_add(block_len);
    held.fill(&mut new, wanted, Stream::New)?;
    let mut is_end = held.bytes().len() < wanted;
    loop {
        let bytes = held.bytes();
        let window = Window { table, bytes, origin };
        // Of the last bytes in memory it is not known yet whether they begin a block or are the new file's end.
        let end = origin + (bytes.len() - if is_end { 0 } else { block_len }) as u64;
        let path = thread::scope(|scope| {
            let search = move || search::<W>(&window, origin..end, credit, threads);
            let search =
                thread::Builder::new().spawn_scoped(scope, search).map_err(BlockError::io(Stream::New))?;
            // Reading goes on beside searching.
            let read = if is_end { Ok(()) } else { read_on(&mut next, &mut new, block_len, batch) };
            let path = search.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            read.map(|()| path)
        })?;
        hashed += path.hashed;
        let mut position = origin;
        for found in &path.found {
            assembler.literal(slice(bytes, origin, position..found.at))?;
            assembler.block(found)?;
            position = found.end();
        }
        assembler.literal(slice(bytes, origin, position..path.end))?;
        if is_end {
            break;
        }
        is_end = next.bytes().len() < batch;
        next.prepend(&bytes[(path.end - origin) as usize..]);
        std::mem::swap(&mut held, &mut next);
        (origin, credit) = (path.end, path.credit);
    }
    let (sink, report) = assembler.finish()?;
    let report = DeltaReport { new_bytes: report.literal_bytes + report.copied_bytes, ..report };
    Ok(Searched { sink, report, hashed })
}

fn slice(bytes: &[u8], origin: u64, range: Range<u64>) -> &[u8] {
    &bytes[(range.start - origin) as usize..(range.end - origin) as usize]
}

/// Reads the next bytes, and leaves room before them for those of the last that are not searched yet: less than a block, or one.
fn read_on(
    next: &mut Buffer,
    new: &mut impl Read,
    block_len: usize,
    wanted: usize,
) -> Result<(), BlockError> {
    next.clear(block_len);
    next.fill(new, wanted, Stream::New)
}

/// Searches parts of a range on several threads, and makes of their findings those that one search would have made.
fn search<W: Weak>(
    window: &Window<'_>,
    range: Range<u64>,
    credit: Credit,
    threads: NonZeroUsize,
) -> Result<Path, BlockError> {
    let block_len = u64::from(window.table.params().block_len());
    let part_min = PART_MIN.max(2 * block_len);
    let parts = ((range.end - range.start) / part_min).clamp(1, threads.get() as u64);
    // Where blocks follow each other from the start on, parts begin as one search would go on, and meet it at once.
    let part_len = ((range.end - range.start) / parts).next_multiple_of(block_len);
    let parts = (range.end - range.start).div_ceil(part_len.max(1)).max(1);
    let border = |part: u64| range.start + part_len * part;
    let part = |part: u64| border(part)..if part + 1 == parts { range.end } else { border(part + 1) };
    let mut paths = thread::scope(|scope| {
        let others = (1..parts).map(|index| {
            let search = move || window.search::<W>(part(index), Credit::new(block_len), None);
            thread::Builder::new().spawn_scoped(scope, search)
        });
        let others = others.collect::<io::Result<Vec<_>>>().map_err(BlockError::io(Stream::New))?;
        let first = window.search::<W>(part(0), credit, None);
        let join = |other: thread::ScopedJoinHandle<'_, Path>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        Ok(std::iter::once(first).chain(others.into_iter().map(join)).collect::<Vec<_>>())
    })?
    .into_iter();
    let mut joined = paths.next().expect("because there is at least one part");
    for (index, other) in (1..).zip(paths) {
        let bridge = window.search::<W>(joined.end..part(index).end, joined.credit, Some(&other));
        let has_met = bridge.has_met;
        joined.append(bridge);
        if has_met {
            joined.join(other);
        } else {
            joined.hashed += other.hashed;
        }
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Signature, SignatureKind, SignatureParams, StrongHash};

    const BLOCK: usize = 128;

    /// Searches on several numbers of threads, which must find the same, and returns the report and, for each byte of the new
    /// file, how many were hashed at most.
    fn cost(old: &[u8], new: &[u8], weak: WeakHash) -> (DeltaReport, f64) {
        let kind = SignatureKind { weak, strong: StrongHash::Blake2 };
        let params = SignatureParams::new(kind, BLOCK as u32, 16).unwrap();
        let table = Table::new(Signature::of(old, &params, NonZeroUsize::MIN).unwrap()).unwrap();
        let searched = [1, 2, 3].map(|threads| {
            let threads = NonZeroUsize::new(threads).unwrap();
            let writer = DeltaWriter::new(Vec::new()).unwrap();
            let searched = search_all::<io::Empty, _>(&table, None, new, threads, writer).unwrap();
            (searched.sink.finish().unwrap(), searched.report, searched.hashed)
        });
        let [(delta, report, _), ..] = &searched;
        assert!(searched.iter().all(|other| (&other.0, &other.1) == (delta, report)));
        let mut made = Vec::new();
        crate::patch(io::Cursor::new(old), &delta.0[..], &mut made, &crate::Limits::default()).unwrap();
        assert!(made == new);
        let most = searched.iter().map(|other| other.2).max().unwrap_or_default();
        (*report, most as f64 / new.len() as f64)
    }

    /// Bits that look random.
    fn bits() -> impl FnMut() -> bool {
        let mut random = skiff_testkit::Random::new(1);
        move || random.below(2) == 1
    }

    #[test]
    fn zeros_cost_no_more_than_anything_else() {
        for weak in [WeakHash::Rollsum, WeakHash::RabinKarp] {
            let (old, new) = (vec![0; 5_000_000], vec![0; 4_999_990]);
            let (report, cost) = cost(&old, &new, weak);
            assert!(report.literal_bytes < BLOCK as u64 && report.commands <= 3, "{report:?}");
            assert!(cost < 1.1, "{cost}");
        }
    }

    #[test]
    fn periods_cost_no_more_than_anything_else() {
        for period in [2, 3, 127, 128, 129, 200, 4096] {
            let bytes: Vec<u8> = (0..period).map(|index: u32| (index * index / 3) as u8).collect();
            let old = bytes.repeat(1_000_000 / period as usize);
            // One byte in a thousand differs.
            let mut new = old[1..].to_vec();
            new.iter_mut().step_by(1000).for_each(|byte| *byte ^= 0x55);
            let (_, cost) = cost(&old, &new, WeakHash::RabinKarp);
            assert!(cost < 3.0, "period {period}: {cost}");
        }
    }

    /// Groups of four bytes that are not told apart by sums of bytes or by sums of such sums, wherever they stand.
    fn colliding(groups: usize, mut bit: impl FnMut() -> bool) -> Vec<u8> {
        let group = |_| if bit() { [101, 99, 99, 101] } else { [99, 101, 101, 99] };
        (0..groups).flat_map(group).collect()
    }

    #[test]
    fn a_million_blocks_of_one_weak_hash_cost_a_bounded_time() {
        let mut bit = bits();
        let groups = BLOCK / 4;
        let source = colliding(groups * 1_000_000 + 100, &mut bit);
        let mut sums = source[..1_000_000].chunks_exact(BLOCK).map(|block| Rollsum::of(block).digest());
        let first = sums.next();
        assert!(sums.all(|sum| Some(sum) == first));
        let new = colliding(50_000, &mut bit);
        // Every fourth byte begins a window with the one weak hash, and hardly ever a block.
        let (report, quarter) = cost(&source[..1_000_000 * BLOCK], &new, WeakHash::Rollsum);
        // Chance finds a few.
        assert!(report.copied_bytes < new.len() as u64 / 50, "{report:?}");
        assert!(quarter > 20.0 && quarter < 70.0, "{quarter}");
        // And here every byte begins one with some block's: the blocks come from all four places in a group.
        let blocks = (0..100_000).flat_map(|block| &source[block * (BLOCK + 1)..][..BLOCK]);
        let old: Vec<u8> = blocks.copied().collect();
        let (_, every) = cost(&old, &new, WeakHash::Rollsum);
        assert!(every > 20.0 && every < 70.0, "{every}");
    }

    #[test]
    fn blocks_that_are_there_are_found_among_colliding_ones() {
        let mut bit = bits();
        let old = colliding(BLOCK / 4 * 10_000, &mut bit);
        // In each cell there is credit left for them: what is hashed in vain is little.
        let mut new = old[1_000..700_000].to_vec();
        new.splice(300_000..300_000, colliding(50, &mut bit));
        let (report, cost) = cost(&old, &new, WeakHash::Rollsum);
        assert!(report.literal_bytes < 600, "{report:?}");
        assert!(cost < 3.0, "{cost}");
    }
}
