//! A layer's bytes: read, decompressed and hashed on one thread, for another to make sense of.

use std::io::{self, BufRead, Read};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use skiff_fs::Control;
use xz2::bufread::XzDecoder;
use xz2::stream::{CONCATENATED, Error as XzError, Stream as XzStream};

use crate::input::{Blob, BlobReader, Hashing, Input, read_buffered};
use crate::{BlobDigest, Compression, DiffId, ImageError, Location, Part};

/// Large enough that handing one over costs nothing, small enough for a core's cache.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait.
const WAITING: usize = 4;
/// What zstd lets one set its largest window to, as a power of two (`ZSTD_WINDOWLOG_ABSOLUTEMIN`, `ZSTD_WINDOWLOG_MAX_32`).
const ZSTD_WINDOW_LOGS: (u32, u32) = (10, 30);
/// The name of `ZSTD_error_frameParameter_windowTooLarge`.
const ZSTD_WINDOW_TOO_LARGE: &str = "requires too much memory";

/// A layer, or something else that is stored as one, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) blob: Blob,
    pub(crate) part: Part,
    /// For messages.
    pub(crate) path: PathBuf,
    pub(crate) compression: Compression,
    /// The digest of what is stored, where it is known.
    pub(crate) digest: Option<BlobDigest>,
    /// The digest of what was stored, where it is known.
    pub(crate) diff_id: Option<DiffId>,
    /// How many bytes there may be, uncompressed, and how many of them are taken already.
    pub(crate) limit: u64,
    pub(crate) before: u64,
    /// How many bytes of memory its decompressor may take.
    pub(crate) decoder_memory: u64,
}

impl Stream {
    /// Hands the uncompressed bytes to `consume` while they are read, and checks the digests to their very end, whether
    /// `consume` reads that far or not. Returns what it returned, and how many bytes there were.
    pub(crate) fn read<T>(
        &self,
        control: Control<'_>,
        consume: impl FnOnce(&mut Chunks) -> Result<T, ImageError>,
    ) -> Result<(T, u64), ImageError> {
        let (sender, receiver) = sync_channel(WAITING);
        let (give_back, returned) = channel();
        let producer = Producer { stream: self, control, sender, returned };
        thread::scope(|scope| {
            let failed =
                |source| ImageError::Io { op: "starting a thread to read", path: self.path.clone(), source };
            let producer =
                thread::Builder::new().spawn_scoped(scope, move || producer.run()).map_err(failed)?;
            let mut chunks = Chunks { receiver, give_back, chunk: Vec::new(), taken: 0 };
            let consumed = consume(&mut chunks);
            if consumed.is_ok() {
                // So that the digests are those of everything.
                while !chunks.is_at_end() {
                    chunks.taken = chunks.chunk.len();
                }
            }
            drop(chunks);
            // Where reading failed, what was made of its cut-off bytes does not matter.
            let count = producer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            Ok((consumed?, count))
        })
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
    /// Takes the next chunk where the last one is used up; whether there was none.
    fn is_at_end(&mut self) -> bool {
        if self.taken < self.chunk.len() {
            return false;
        }
        let Ok(next) = self.receiver.recv() else { return true };
        // Nobody takes it back where the producer is done.
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

struct Producer<'a> {
    stream: &'a Stream,
    control: Control<'a>,
    sender: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
}

impl Producer<'_> {
    /// Sends all chunks, then checks the digests. Returns how many bytes there were.
    fn run(self) -> Result<u64, ImageError> {
        let mut decoder = self.stream.decoder()?;
        let (mut hasher, mut count, mut reported) = (Sha256::new(), 0_u64, 0);
        loop {
            self.control.check()?;
            let mut chunk = self.returned.try_recv().unwrap_or_default();
            chunk.resize(CHUNK, 0);
            let length = decoder
                .fill(&mut chunk)
                .map_err(|(filled, error)| self.stream.failed(error, count + filled as u64))?;
            let consumed = decoder.input().count();
            self.control.advance(consumed - reported);
            reported = consumed;
            if length == 0 {
                self.stream.check_digests(hasher.finalize().into(), decoder)?;
                return Ok(count);
            }
            chunk.truncate(length);
            hasher.update(&chunk);
            count = count.saturating_add(length as u64);
            self.stream.check_limit(count)?;
            // Where nobody receives, the receiver has failed, and has the error that counts.
            if self.sender.send(chunk).is_err() {
                return Ok(count);
            }
        }
    }
}

impl Stream {
    fn decoder(&self) -> Result<Decoder, ImageError> {
        let input = Hashing::new(self.blob.reader());
        Ok(match self.compression {
            Compression::None => Decoder::Plain(input),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let failed = |error| self.failed(error, 0);
                let mut decoder = zstd::Decoder::with_buffer(input).map_err(failed)?;
                let window_log =
                    self.decoder_memory.max(1).ilog2().clamp(ZSTD_WINDOW_LOGS.0, ZSTD_WINDOW_LOGS.1);
                decoder.window_log_max(window_log).map_err(failed)?;
                Decoder::Zstd(decoder)
            }
            Compression::Xz => {
                let decoder = XzStream::new_stream_decoder(self.decoder_memory.max(1), CONCATENATED);
                let decoder = decoder.map_err(|error| self.failed(error.into(), 0))?;
                Decoder::Xz(XzDecoder::new_stream(input, decoder))
            }
        })
    }

    fn check_limit(&self, count: u64) -> Result<(), ImageError> {
        let wanted = self.before.saturating_add(count);
        if wanted <= self.limit {
            return Ok(());
        }
        let at = Location { part: self.part, entry: None, offset: count };
        Err(ImageError::LimitExceeded { at, what: "bytes, uncompressed", wanted, limit: self.limit })
    }

    fn check_digests(&self, diff_id: [u8; 32], decoder: Decoder) -> Result<(), ImageError> {
        let mut input = decoder.into_input();
        io::copy(&mut input, &mut io::sink()).map_err(|error| self.failed(error, 0))?;
        let digest = BlobDigest::from_bytes(input.finish());
        if let Some(expected) = self.digest.filter(|&expected| expected != digest) {
            return Err(self.mismatch(&expected, &digest));
        }
        let diff_id = DiffId::from_bytes(diff_id);
        match self.diff_id.filter(|&expected| expected != diff_id) {
            Some(expected) => Err(self.mismatch(&expected, &diff_id)),
            None => Ok(()),
        }
    }

    fn mismatch<D: std::fmt::Display>(&self, expected: &D, found: &D) -> ImageError {
        let (expected, found) = (expected.to_string(), found.to_string());
        ImageError::DigestMismatch { what: self.part.to_string(), expected, found }
    }

    /// What the system says is the disk's fault; the rest is the decompressor's opinion of the data.
    fn failed(&self, source: io::Error, offset: u64) -> ImageError {
        if source.raw_os_error().is_some() {
            return ImageError::Io { op: "reading", path: self.path.clone(), source };
        }
        let at = Location { part: self.part, entry: None, offset };
        if wants_memory(&source) {
            // How much it wants it does not say.
            let (limit, wanted) = (self.decoder_memory, self.decoder_memory.saturating_add(1));
            let what = "bytes of memory or more for its decompressor";
            return ImageError::LimitExceeded { at, what, wanted, limit };
        }
        let what = format!("its {} data is damaged or cut off: {source}", self.compression);
        ImageError::Corrupt { at, what }
    }
}

/// Whether a decompressor gave up because it may not take the memory that the data asks for.
fn wants_memory(error: &io::Error) -> bool {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<XzError>()) {
        Some(error) => *error == XzError::MemLimit,
        // zstd's errors have names only.
        None => error.to_string().contains(ZSTD_WINDOW_TOO_LARGE),
    }
}

enum Decoder {
    Plain(Hashing<BlobReader>),
    Gzip(Box<MultiGzDecoder<Hashing<BlobReader>>>),
    Zstd(zstd::Decoder<'static, Hashing<BlobReader>>),
    Xz(XzDecoder<Hashing<BlobReader>>),
}

impl Decoder {
    /// Reads until the buffer is full or nothing is left. An error comes with how much was read before it.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, (usize, io::Error)> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let result = match self {
                Self::Plain(reader) => reader.read(rest),
                Self::Gzip(reader) => reader.read(rest),
                Self::Zstd(reader) => reader.read(rest),
                Self::Xz(reader) => reader.read(rest),
            };
            match result {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((filled, error)),
            }
        }
        Ok(filled)
    }

    fn input(&self) -> &Hashing<BlobReader> {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(reader) => reader.get_ref(),
            Self::Zstd(reader) => reader.get_ref(),
            Self::Xz(reader) => reader.get_ref(),
        }
    }

    fn into_input(self) -> Hashing<BlobReader> {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(reader) => reader.into_inner(),
            Self::Zstd(reader) => reader.finish(),
            Self::Xz(reader) => reader.into_inner(),
        }
    }
}
