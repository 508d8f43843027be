//! Sources that are compressed files themselves, read as a whole.

use std::io::{self, Read, Seek};

use crate::{PatchError, Source};

/// What opening a source takes beside its plain text, in bytes: the decompressor's window and state, and buffers of the file.
pub(crate) const INFLATE_MEMORY: u64 = 256 << 10;

/// What `open` finds in the whole of a source. It fails in the source's name where reading fails, else because the source is
/// not what it was said to be, as `wrong` tells.
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
struct Watched<R> {
    reader: R,
    failed: Option<io::Error>,
}

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
