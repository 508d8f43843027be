//! A layer's bytes: read, decompressed and hashed, each on a thread of its own, for another to make sense of.

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread::{self, Scope, ScopedJoinHandle};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use skiff_fs::Control;
use xz2::bufread::XzDecoder;
use xz2::stream::{CONCATENATED, Error as XzError, Stream as XzStream};

use crate::input::Blob;
use crate::pipeline::{ChunkSender, Chunks, line};
use crate::{BlobDigest, Compression, DiffId, ImageError, Location, Part};

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
    ///
    /// One thread reads and hashes what is stored, one decompresses it, and one hashes what comes out. What is stored as it
    /// is has one digest, and one thread.
    pub(crate) fn read<T>(
        &self,
        control: Control<'_>,
        consume: impl FnOnce(&mut Chunks) -> Result<T, ImageError>,
    ) -> Result<(T, u64), ImageError> {
        thread::scope(|scope| {
            let (read, mut chunks) = line();
            let reading = self.spawn(scope, move || self.read_stored(control, &read))?;
            let decoding = if self.compression == Compression::None {
                None
            } else {
                let (decoded, to_hash) = line();
                let stored = std::mem::replace(&mut chunks, to_hash);
                let decoding = self.spawn(scope, move || self.decode(control, stored, &decoded))?;
                let (hashed, hashed_chunks) = line();
                let to_hash = std::mem::replace(&mut chunks, hashed_chunks);
                Some((decoding, self.spawn(scope, move || to_hash.hash(&hashed))?))
            };
            let consumed = match consume(&mut chunks) {
                // That the data is wrong may come of its not being the layer's: then the digests say so, those of everything.
                consumed @ (Ok(_) | Err(ImageError::Corrupt { .. } | ImageError::Unsupported { .. })) => {
                    chunks.drain();
                    consumed
                }
                // The rest has nothing to do with that, and counts however far the other threads have come.
                Err(other) => return Err(other),
            };
            drop(chunks);
            // Where reading failed, what was made of its cut-off bytes does not matter.
            let stored = join(reading)?;
            let content = match decoding {
                None => stored,
                Some((decoding, hashing)) => {
                    let (count, digest) = (join(decoding)?, join(hashing));
                    count.zip(digest).map(|(count, digest)| Whole { count, digest })
                }
            };
            if let Some((stored, content)) = stored.zip(content) {
                self.check_digests(
                    BlobDigest::from_bytes(stored.digest),
                    DiffId::from_bytes(content.digest),
                )?;
            }
            Ok((consumed?, content.map_or(0, |content| content.count)))
        })
    }

    fn spawn<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, T>, ImageError> {
        let failed =
            |source| ImageError::Io { op: "starting a thread to read", path: self.path.clone(), source };
        thread::Builder::new().name("skiff-image".into()).spawn_scoped(scope, work).map_err(failed)
    }

    /// Sends what is stored, to its end. None where nobody receives it that far: the receiver has failed, and has the error
    /// that counts.
    fn read_stored(&self, control: Control<'_>, sender: &ChunkSender) -> Result<Option<Whole>, ImageError> {
        let (mut hasher, mut count) = (Sha256::new(), 0_u64);
        loop {
            control.check()?;
            let mut chunk = sender.chunk();
            let length = self.blob.read_at(&mut chunk, count).map_err(|error| self.failed(error, count))?;
            if length == 0 {
                return Ok(Some(Whole { count, digest: hasher.finalize().into() }));
            }
            chunk.truncate(length);
            hasher.update(&chunk);
            count += length as u64;
            control.advance(length as u64);
            if self.compression == Compression::None {
                self.check_limit(count)?;
            }
            if !sender.send(chunk) {
                return Ok(None);
            }
        }
    }

    /// Sends what the stored bytes decompress to, and returns how many bytes those are. None where nobody receives them all.
    fn decode(
        &self,
        control: Control<'_>,
        stored: Chunks,
        sender: &ChunkSender,
    ) -> Result<Option<u64>, ImageError> {
        let (mut decoder, mut count) = (self.decoder(stored)?, 0_u64);
        loop {
            control.check()?;
            let mut chunk = sender.chunk();
            let length = decoder
                .fill(&mut chunk)
                .map_err(|(filled, error)| self.failed(error, count + filled as u64))?;
            if length == 0 {
                // So that the digest is that of everything.
                decoder.into_input().drain();
                return Ok(Some(count));
            }
            chunk.truncate(length);
            count = count.saturating_add(length as u64);
            self.check_limit(count)?;
            if !sender.send(chunk) {
                return Ok(None);
            }
        }
    }

    fn decoder(&self, input: Chunks) -> Result<Decoder, ImageError> {
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

    fn check_digests(&self, digest: BlobDigest, diff_id: DiffId) -> Result<(), ImageError> {
        if let Some(expected) = self.digest.filter(|&expected| expected != digest) {
            return Err(self.mismatch(&expected, &digest));
        }
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

/// Bytes that were read to their end.
#[derive(Debug, Clone, Copy)]
struct Whole {
    count: u64,
    digest: [u8; 32],
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

enum Decoder {
    Plain(Chunks),
    Gzip(Box<MultiGzDecoder<Chunks>>),
    Zstd(zstd::Decoder<'static, Chunks>),
    Xz(XzDecoder<Chunks>),
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

    fn into_input(self) -> Chunks {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(reader) => reader.into_inner(),
            Self::Zstd(reader) => reader.finish(),
            Self::Xz(reader) => reader.into_inner(),
        }
    }
}
