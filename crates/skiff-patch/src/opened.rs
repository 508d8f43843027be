//! Sources that are compressed files themselves, read as a whole.

#[cfg(any(feature = "gzip", feature = "png"))]
use std::io::{self, Read, Seek};

use crate::PatchError;
#[cfg(any(feature = "gzip", feature = "png"))]
use crate::Source;

/// What opening a source takes beside its plain text, in bytes: the decompressor's window and state, and buffers of the file.
#[cfg(any(feature = "gzip", feature = "png"))]
pub(crate) const INFLATE_MEMORY: u64 = 256 << 10;

/// What is read and made on the way to an output is bounded by what comes of it, or many tiny payloads would keep a device busy for
/// hours. No archive compresses further, as a whole.
const BYTES_PER_BYTE: u64 = 64;
const BYTES_LEAST: u64 = 64 << 10;

/// How much a payload may open, or make to compress it, for an output of so many bytes.
pub(crate) fn most(output_len: u64) -> u64 {
    output_len.saturating_mul(BYTES_PER_BYTE).saturating_add(BYTES_LEAST)
}

/// Whether each of these lengths is no more than that.
pub(crate) fn allow(output_len: u64, lengths: &[u64]) -> Result<(), PatchError> {
    if lengths.iter().all(|&length| length <= most(output_len)) {
        Ok(())
    } else {
        Err(PatchError::corrupt(0, "it opens far more than comes of it"))
    }
}

/// What `open` finds in the whole of a source. It fails in the source's name where reading fails, else because the source is
/// not what it was said to be, as `wrong` tells.
#[cfg(any(feature = "gzip", feature = "png"))]
pub(crate) fn open<S: Read + Seek, T>(
    source: &mut Source<S>,
    wrong: &'static str,
    open: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> Result<T, PatchError> {
    let mut file = Watched { reader: source.whole().map_err(PatchError::source)?, failed: None };
    let result = open(&mut file);
    match file.failed {
        Some(error) => Err(PatchError::source(error)),
        None => result.map_err(|_| PatchError::corrupt(0, wrong)),
    }
}

/// Tells errors of the source from those of what reads it.
#[cfg(any(feature = "gzip", feature = "png"))]
struct Watched<R> {
    reader: R,
    failed: Option<io::Error>,
}

#[cfg(any(feature = "gzip", feature = "png"))]
impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}
