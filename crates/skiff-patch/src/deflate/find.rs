//! Finding out who made a deflate stream.

use std::io::{self, Write};

#[cfg(any(feature = "gzip", feature = "zip"))]
use flate2::{Decompress, FlushDecompress, Status};

use super::{Compressor, compress};

/// Who of `compressors` makes `deflated` of `plain`: the first that does.
pub(crate) fn find(
    plain: &[u8],
    deflated: &[u8],
    mut compressors: impl Iterator<Item = Compressor>,
) -> Option<Compressor> {
    compressors.find(|&compressor| makes(compressor, plain, deflated))
}

/// Whether `compressor` makes `deflated` of `plain`.
fn makes(compressor: Compressor, plain: &[u8], deflated: &[u8]) -> bool {
    let mut rest = Expected(deflated);
    compress(plain.to_vec(), compressor, &mut rest).is_ok() && rest.is_met()
}

/// The plain text of a deflate stream that takes up all of `deflated`, if it is not longer than that.
#[cfg(any(feature = "gzip", feature = "zip"))]
pub(crate) fn inflate(deflated: &[u8], longest: u64) -> Option<Vec<u8>> {
    let mut decompress = Decompress::new(false);
    let mut plain = Vec::new();
    loop {
        let (read, written) = (decompress.total_in(), decompress.total_out());
        // Inflating goes on until what is reserved is full: of a huge file no more than is needed to decline it.
        plain.reserve(
            deflated.len().clamp(
                32 << 10,
                usize::try_from(longest).unwrap_or(usize::MAX).saturating_add(1).max(32 << 10),
            ),
        );
        let input = deflated.get(usize::try_from(read).ok()?..)?;
        let status = decompress.decompress_vec(input, &mut plain, FlushDecompress::None).ok()?;
        if plain.len() as u64 > longest {
            return None;
        }
        match status {
            Status::StreamEnd => return (decompress.total_in() == deflated.len() as u64).then_some(plain),
            _ if (read, written) == (decompress.total_in(), decompress.total_out()) => return None,
            _ => {}
        }
    }
}

/// Takes these bytes and no others.
pub(crate) struct Expected<'a>(&'a [u8]);

impl<'a> Expected<'a> {
    #[cfg(any(feature = "zip", feature = "png"))]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all of them came.
    pub(crate) fn is_met(&self) -> bool {
        self.0.is_empty()
    }
}

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
