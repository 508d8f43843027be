//! Bytes on their way from one thread to the next.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use sha2::{Digest as _, Sha256};

use crate::input::{Input, read_buffered};

/// Large enough that handing one over costs nothing, small enough for a core's cache.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait between two threads.
const WAITING: usize = 4;

/// Both ends of a line of chunks. What the one sends, the other receives, in order; used chunks go back.
pub(crate) fn line() -> (ChunkSender, Chunks) {
    let (sender, receiver) = sync_channel(WAITING);
    let (give_back, returned) = channel();
    let chunks = Chunks { receiver, give_back, chunk: Vec::new(), taken: 0 };
    (ChunkSender { sender, returned }, chunks)
}

/// Sends chunks, and waits while too many are not received.
pub(crate) struct ChunkSender {
    sender: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
}

impl ChunkSender {
    /// Room for bytes, which need not be zero: a chunk that was used already, if one has come back.
    pub(crate) fn chunk(&self) -> Vec<u8> {
        let mut chunk = self.returned.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        chunk
    }

    /// Sends bytes; false where nobody will receive them.
    #[must_use]
    pub(crate) fn send(&self, chunk: Vec<u8>) -> bool {
        self.sender.send(chunk).is_ok()
    }
}

/// Reads chunks as one stream.
pub(crate) struct Chunks {
    receiver: Receiver<Vec<u8>>,
    give_back: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    taken: usize,
}

impl Chunks {
    /// Reads what is left and lets go of it.
    pub(crate) fn drain(&mut self) {
        while !self.is_at_end() {
            self.taken = self.chunk.len();
        }
    }

    /// Hashes all chunks and hands them on. None where nobody receives them to the end.
    pub(crate) fn hash(self, onward: &ChunkSender) -> Option<[u8; 32]> {
        let mut hasher = Sha256::new();
        while let Ok(chunk) = self.receiver.recv() {
            hasher.update(&chunk);
            if !onward.send(chunk) {
                return None;
            }
            while let Ok(used) = onward.returned.try_recv() {
                // Nobody takes it back where the sender is done.
                let _ = self.give_back.send(used);
            }
        }
        Some(hasher.finalize().into())
    }

    /// Takes the next chunk where the last one is used up; whether there was none.
    fn is_at_end(&mut self) -> bool {
        if self.taken < self.chunk.len() {
            return false;
        }
        let Ok(next) = self.receiver.recv() else { return true };
        // Nobody takes it back where the sender is done.
        let _ = self.give_back.send(std::mem::replace(&mut self.chunk, next));
        self.taken = 0;
        self.chunk.is_empty()
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.is_at_end();
        Ok(&self.chunk[self.taken..])
    }

    fn consume(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.chunk.len());
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

impl Input for Chunks {}
