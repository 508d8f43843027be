//! A frame's records, decoded by one thread while another one writes what comes out.
//!
//! The thread that called writes, so that a sink sees the same calls in the same order however many threads there are. The other
//! one decodes ahead, as far as [`HELD`] allows.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use skiff_patch::Rest;
use skiff_tree::ContentDigest;

use crate::contents::{Contents, Followed, Frame, Outlet, Stopped, Written};
use crate::record::{self, Records};
use crate::replay::Limits;
use crate::{Base, ReplayError, Sink};

/// What may wait to be written, in bytes: a part of what encoders declare for buffers.
const HELD: u64 = 1 << 20;

/// Follows the records of the frame at `offset`.
pub(crate) fn follow<S: Sink>(
    contents: &mut Contents,
    (base, limits): (&Base<'_>, &Limits),
    (payload, offset): (&[u8], u64),
    sink: &mut S,
) -> Result<(), ReplayError<S::Error>> {
    let Contents { prelude, known, codecs, followed, written } = contents;
    let frame = Frame { base, limits, codecs, skeleton: &prelude.skeleton, offset };
    let mut records = record::records(payload, known)
        .map_err(|error| frame.corrupt::<S::Error>(format!("records: {error}")))?;
    let has_processors = thread::available_parallelism().is_ok_and(|there| there > NonZeroUsize::MIN);
    if has_processors && let Some(done) = by_two(&frame, followed, &mut records, (written, sink)) {
        return done;
    }
    match each(&frame, followed, &mut records, &mut Directly { written, sink }) {
        Ok(()) => Ok(()),
        Err(Stopped::Failed(error)) => Err(error),
        Err(Stopped::Abandoned) => unreachable!("because nothing is abandoned by the thread that does it"),
    }
}

fn each<'f, S: Sink>(
    frame: &Frame<'f, '_>,
    followed: &mut Followed,
    records: &mut Records<'_>,
    outlet: &mut impl Outlet<S>,
) -> Result<(), Stopped<S::Error>>
where
    S::Content: 'f,
{
    let mut state = skiff_patch::State::new();
    for record in records {
        followed.record(frame, &mut state, &record, outlet)?;
    }
    Ok(())
}

/// None where there is no second thread to be had.
fn by_two<S: Sink>(
    frame: &Frame<'_, '_>,
    followed: &mut Followed,
    records: &mut Records<'_>,
    (written, sink): (&mut Written, &mut S),
) -> Option<Result<(), ReplayError<S::Error>>> {
    let queue = Queue::new();
    thread::scope(|scope| {
        let ahead = || {
            let _closing = Closing(&queue);
            each(frame, followed, records, &mut Waiting { queue: &queue })
        };
        let thread = thread::Builder::new().name("skiff-decode".into()).spawn_scoped(scope, ahead).ok()?;
        // However this ends, the other thread does not wait for it.
        let abandoning = Abandoning(&queue);
        let taken = take(&queue, frame.offset, (written, sink));
        drop(abandoning);
        let decoded = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What comes out first fails first.
        Some(taken.and(match decoded {
            Ok(()) | Err(Stopped::Abandoned) => Ok(()),
            Err(Stopped::Failed(error)) => Err(error),
        }))
    })
}

/// Writes what the other thread decodes, until that has ended.
fn take<S: Sink>(
    queue: &Queue<Step<S>>,
    offset: u64,
    (written, sink): (&mut Written, &mut S),
) -> Result<(), ReplayError<S::Error>> {
    let mut done = 0;
    while let Some((step, held)) = queue.next(done) {
        match step {
            Step::Bytes(number, bytes) => written.bytes(number, &bytes, sink)?,
            Step::Rest(number, rest) => written.rest((number, offset), rest, sink)?,
            Step::Whole(number) => written.whole(number, sink)?,
            // Whether there is still somebody who wants it makes no difference.
            Step::Open(number, opened) => drop(opened.send(sink.open(number))),
            Step::Digest(number, digest) => drop(digest.send(written.digest(number))),
        }
        done = held;
    }
    Ok(())
}

/// What is to be done with what came out.
enum Step<S: Sink> {
    Bytes(u32, Vec<u8>),
    Rest(u32, Rest),
    Whole(u32),
    Open(u32, SyncSender<Result<S::Content, S::Error>>),
    Digest(u32, SyncSender<ContentDigest>),
}

/// Does it at once.
struct Directly<'s, S> {
    written: &'s mut Written,
    sink: &'s mut S,
}

impl<S: Sink> Outlet<S> for Directly<'_, S> {
    fn bytes(&mut self, number: u32, bytes: &[u8]) -> Result<(), Stopped<S::Error>> {
        Ok(self.written.bytes(number, bytes, self.sink)?)
    }

    fn rest(&mut self, _: u32, rest: Rest) -> Result<Option<Rest>, Stopped<S::Error>> {
        Ok(Some(rest))
    }

    fn whole(&mut self, number: u32) -> Result<(), Stopped<S::Error>> {
        Ok(self.written.whole(number, self.sink)?)
    }

    fn open(&mut self, number: u32) -> Result<S::Content, Stopped<S::Error>> {
        Ok(self.sink.open(number).map_err(ReplayError::Sink)?)
    }

    fn digest(&mut self, number: u32) -> Result<ContentDigest, Stopped<S::Error>> {
        Ok(self.written.digest(number))
    }
}

/// Has the other thread do it.
struct Waiting<'q, S: Sink> {
    queue: &'q Queue<Step<S>>,
}

impl<S: Sink> Outlet<S> for Waiting<'_, S> {
    fn bytes(&mut self, number: u32, bytes: &[u8]) -> Result<(), Stopped<S::Error>> {
        self.queue.put(Step::Bytes(number, bytes.to_vec()), bytes.len() as u64)
    }

    fn rest(&mut self, number: u32, rest: Rest) -> Result<Option<Rest>, Stopped<S::Error>> {
        let size = rest.held();
        // Where the other thread has so much to do, this one would wait for it.
        let held = self.queue.lock().held;
        if held > HELD / 2 || held + size > HELD {
            return Ok(Some(rest));
        }
        self.queue.put(Step::Rest(number, rest), size).map(|()| None)
    }

    fn whole(&mut self, number: u32) -> Result<(), Stopped<S::Error>> {
        self.queue.put(Step::Whole(number), 0)
    }

    fn open(&mut self, number: u32) -> Result<S::Content, Stopped<S::Error>> {
        let (sender, opened) = sync_channel(1);
        self.queue.put(Step::Open(number, sender), 0)?;
        let opened = opened.recv().map_err(|_| Stopped::Abandoned)?;
        Ok(opened.map_err(ReplayError::Sink)?)
    }

    fn digest(&mut self, number: u32) -> Result<ContentDigest, Stopped<S::Error>> {
        let (sender, digest) = sync_channel(1);
        self.queue.put(Step::Digest(number, sender), 0)?;
        digest.recv().map_err(|_| Stopped::Abandoned)
    }
}

/// What waits, in order. An item counts, with its place in a list that may have as many places free, until the next one is asked for.
struct Queue<T> {
    state: Mutex<State<T>>,
    /// One thread puts and one takes: there is never more than one of them waiting.
    changed: Condvar,
}

struct State<T> {
    waiting: VecDeque<(T, u64)>,
    held: u64,
    is_closed: bool,
}

impl<T> Queue<T> {
    /// What an item takes beside what it says, in bytes: its place, one that is free, and what it has on the heap.
    const PLACE: u64 = 2 * size_of::<(T, u64)>() as u64 + 32;

    fn new() -> Self {
        let state = State { waiting: VecDeque::new(), held: 0, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room.
    fn put<E: std::error::Error>(&self, item: T, size: u64) -> Result<(), Stopped<E>> {
        let size = size + Self::PLACE;
        let is_full = |state: &mut State<T>| !state.is_closed && state.held + size > HELD;
        let waited = self.changed.wait_while(self.lock(), is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return Err(Stopped::Abandoned);
        }
        state.held += size;
        state.waiting.push_back((item, size));
        self.changed.notify_one();
        Ok(())
    }

    /// The next item and its size, once the one before it, of the size `done`, is done; none at the end.
    fn next(&self, done: u64) -> Option<(T, u64)> {
        let mut state = self.lock();
        state.held -= done;
        self.changed.notify_one();
        let is_empty = |state: &mut State<T>| !state.is_closed && state.waiting.is_empty();
        let waited = self.changed.wait_while(state, is_empty);
        waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }
}

/// Closes a queue when it goes, because nothing more is put into it. What waits is taken still.
struct Closing<'q, T>(&'q Queue<T>);

impl<T> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

/// Closes a queue when it goes, because nothing more is taken out of it. What waits is dropped, so that nobody waits for an answer.
struct Abandoning<'q, T>(&'q Queue<T>);

impl<T> Drop for Abandoning<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    /// Whether a put succeeded.
    fn put(queue: &Queue<u64>, item: u64, size: u64) -> bool {
        queue.put::<Error>(item, size).is_ok()
    }

    #[test]
    fn everything_comes_in_order_and_no_more_than_may_wait() {
        let queue = Queue::new();
        let sizes = |item: u64| item * 7_919 % (HELD / 3) + 1;
        let most = thread::scope(|scope| {
            scope.spawn(|| {
                let _closing = Closing(&queue);
                assert!((0..500).all(|item| put(&queue, item, sizes(item))));
            });
            let (mut done, mut most) = (0, 0);
            let mut expected = 0..500;
            while let Some((item, size)) = queue.next(done) {
                assert_eq!((Some(item), size), (expected.next(), sizes(item) + Queue::<u64>::PLACE));
                most = most.max(queue.lock().held);
                done = size;
            }
            assert_eq!(expected.next(), None);
            most
        });
        assert!((HELD / 3..=HELD).contains(&most), "{most}");
    }

    #[test]
    fn nobody_waits_for_a_thread_that_has_ended() {
        let queue = Queue::new();
        thread::scope(|scope| {
            let putting = scope.spawn(|| (0..).take_while(|&item| put(&queue, item, HELD / 4)).count());
            {
                let _abandoning = Abandoning(&queue);
                assert_eq!(queue.next(0).map(|(item, _)| item), Some(0));
            }
            assert!(putting.join().unwrap_or_default() <= 5);
        });
        assert!(!put(&queue, 0, 1));
    }

    #[test]
    fn nobody_waits_for_an_answer_from_a_thread_that_has_ended() {
        let queue = Queue::new();
        let (sender, answer) = sync_channel::<()>(1);
        assert!(queue.put::<Error>(sender, 0).is_ok());
        drop(Abandoning(&queue));
        assert!(answer.recv().is_err());
    }

    #[test]
    fn what_waits_without_bytes_counts_too() {
        let queue = Queue::new();
        let put = || queue.put::<Error>(0, 0).is_ok();
        thread::scope(|scope| {
            let putting = scope.spawn(|| (0..1_000_000).take_while(|_| put()).count());
            while !putting.is_finished() && queue.lock().held + Queue::<u64>::PLACE <= HELD {
                thread::yield_now();
            }
            assert!(queue.lock().held <= HELD);
            drop(Abandoning(&queue));
            assert!(putting.join().unwrap_or_default() as u64 <= HELD / Queue::<u64>::PLACE);
        });
    }
}
