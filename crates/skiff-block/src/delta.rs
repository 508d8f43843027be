//! From a signature and a new file to a delta.

use std::io::{self, Read, Seek, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

use crate::assemble::Assembler;
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
/// It takes, beside the table, two and a half times the length of a block and some 30 MiB. Progress and cancelling are the
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
///
/// # Errors
/// [`BlockError::Io`].
pub fn delta_with_old(
    table: &Table,
    old: impl Read + Seek,
    new: impl Read,
    threads: NonZeroUsize,
    out: impl Write,
) -> Result<DeltaReport, BlockError> {
    let writer = DeltaWriter::new(out)?;
    let (writer, report) = find(table, Some(old), new, threads, writer)?;
    Ok(DeltaReport { delta_bytes: writer.finish()?.1, ..report })
}

/// As [`delta`], or with the old file as [`delta_with_old`], handing the commands to a sink instead of writing them.
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
    match table.params().kind().weak {
        WeakHash::Rollsum => run::<Rollsum, _, _>(table, new, threads, Assembler::new(table, old, sink)),
        WeakHash::RabinKarp => run::<RabinKarp, _, _>(table, new, threads, Assembler::new(table, old, sink)),
    }
}

fn run<W: Weak, O: Read + Seek, S: Sink<Error = BlockError>>(
    table: &Table,
    mut new: impl Read,
    threads: NonZeroUsize,
    mut assembler: Assembler<'_, O, S>,
) -> Result<(S, DeltaReport), BlockError> {
    let block_len = table.params().block_len() as usize;
    let batch = BATCH.max(block_len);
    let (mut bytes, mut next) = (Vec::new(), Vec::new());
    let mut credit = Credit::new(block_len as u64);
    let mut origin = 0;
    read_up_to(&mut new, &mut bytes, batch + block_len)?;
    let mut is_end = bytes.len() < batch + block_len;
    loop {
        let window = Window { table, bytes: &bytes, origin };
        // Of the last bytes in memory it is not known yet whether they begin a block or are the new file's end.
        let end = origin + (bytes.len() - if is_end { 0 } else { block_len }) as u64;
        let path = thread::scope(|scope| {
            let search = move || search::<W>(&window, origin..end, credit, threads);
            let search =
                thread::Builder::new().spawn_scoped(scope, search).map_err(BlockError::io(Stream::New))?;
            // Reading goes on beside searching.
            let read = read_up_to(&mut new, &mut next, if is_end { 0 } else { batch });
            let path = search.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            read.map(|()| path)
        })?;
        let mut position = origin;
        for found in &path.found {
            assembler.literal(slice(&bytes, origin, position..found.at))?;
            assembler.block(found)?;
            position = found.end();
        }
        assembler.literal(slice(&bytes, origin, position..path.end))?;
        if is_end {
            break;
        }
        bytes.drain(..(path.end - origin) as usize);
        is_end = next.len() < batch;
        bytes.append(&mut next);
        (origin, credit) = (path.end, path.credit);
    }
    let (sink, report) = assembler.finish()?;
    Ok((sink, DeltaReport { new_bytes: report.literal_bytes + report.copied_bytes, ..report }))
}

fn slice(bytes: &[u8], origin: u64, range: Range<u64>) -> &[u8] {
    &bytes[(range.start - origin) as usize..(range.end - origin) as usize]
}

fn read_up_to(input: &mut impl Read, bytes: &mut Vec<u8>, wanted: usize) -> Result<(), BlockError> {
    bytes.clear();
    input.take(wanted as u64).read_to_end(bytes).map_err(BlockError::io(Stream::New))?;
    Ok(())
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
    let border = |part: u64| range.start + (range.end - range.start) / parts * part;
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
        }
    }
    Ok(joined)
}
