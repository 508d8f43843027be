//! Signing: the side that has the files.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use sha2::{Digest as _, Sha256};
use skiff_block::{BlockError, SAFE_STRONG_LEN, SignatureKind, SignatureParams, Stream, write_signature};
use skiff_fs::Control;
use skiff_tree::{
    ConfigDigest, ContentDigest, ContentReader, ContentSource, EntryPath, FileContent, ReleaseId, Tree,
    TreeError,
};
use skiff_wire::put_varint;

use crate::{MAGIC, SignatureError, VERSION};

/// What is signed: a release.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// Its tree.
    pub tree: &'a Tree,
    /// The contents of the tree's files.
    pub contents: &'a dyn ContentSource,
    /// The digest of its config, where it has one.
    pub config: Option<ConfigDigest>,
}

impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("config", &self.config).finish_non_exhaustive()
    }
}

/// How a tree is signed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// How many threads hash. Default: as many as the machine has cores.
    pub threads: NonZeroUsize,
    /// How long the blocks of a file are, given its length; both in bytes. Default: [`block_len`].
    pub block_len: fn(u64) -> u32,
    /// Watches and stops it; progress counts the bytes of files.
    pub control: Control<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { threads, block_len, control: Control::default() }
    }
}

impl<'a> Options<'a> {
    /// These options, with another number of threads.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// These options, with blocks of other lengths.
    #[must_use]
    pub fn with_block_len(self, block_len: fn(u64) -> u32) -> Self {
        Self { block_len, ..self }
    }

    /// These options, watched and stopped by `control`.
    #[must_use]
    pub fn with_control(self, control: Control<'a>) -> Self {
        Self { control, ..self }
    }
}

/// How long the blocks of a file of `size` bytes are in a tree's signature: the square root of its length, rounded down to a
/// multiple of 64, from 4096 bytes up.
///
/// Most files of an image do not change, and are signed in vain; so blocks are longer than for a file alone, where
/// [`skiff_block::recommended_block_len`] holds. What goes up and comes down together was least about here: see `doc/block.md`.
#[must_use]
pub fn block_len(size: u64) -> u32 {
    const SHORTEST: u64 = 4096;
    u32::try_from((size.isqrt() / 64 * 64).max(SHORTEST)).unwrap_or(u32::MAX)
}

/// What a tree signature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The release that was signed.
    pub release: ReleaseId,
    /// Bytes of the signature.
    pub signature_bytes: u64,
    /// Contents whose blocks are signed.
    pub signed: u64,
    /// Bytes of those contents.
    pub signed_bytes: u64,
}

/// Signs a release, and writes the signature to `out`. Each content that is signed is read once, and seen to be what the tree says. It takes some
/// megabytes of memory, and 80 bytes for each file.
///
/// Contents that are no longer than two blocks are not signed: where one of them changes, it is sent whole.
///
/// # Errors
/// [`SignatureError::Read`] where a file cannot be read, [`SignatureError::Changed`] where it is not what the tree says,
/// [`SignatureError::Io`], [`SignatureError::Interrupted`].
pub fn sign_tree(
    signed: &Signed<'_>,
    options: &Options<'_>,
    out: impl Write,
) -> Result<Report, SignatureError> {
    let mut out = Hashing { out, hasher: Sha256::new(), written: 0 };
    write_head(signed, &mut out).map_err(writing)?;
    let mut report = Report {
        release: ReleaseId::new(signed.tree.digest(), signed.config),
        signature_bytes: 0,
        signed: 0,
        signed_bytes: 0,
    };
    let (mut seen, mut next) = (HashSet::new(), 0);
    for (index, entry, content) in signed.tree.files() {
        options.control.check()?;
        let block_len = (options.block_len)(content.size);
        if content.size <= 2 * u64::from(block_len) || !seen.insert(content.digest) {
            continue;
        }
        let mut gap = Vec::new();
        put_varint(&mut gap, (index - next) as u64 + 1);
        next = index + 1;
        out.write_all(&gap).map_err(writing)?;
        sign_file(signed, options, (&entry.path, content, block_len), &mut out)?;
        report.signed += 1;
        report.signed_bytes += content.size;
    }
    out.write_all(&[0]).map_err(writing)?;
    let digest = out.hasher.clone().finalize();
    out.write_all(&digest).and_then(|()| out.flush()).map_err(writing)?;
    Ok(Report { signature_bytes: out.written, ..report })
}

fn write_head(signed: &Signed<'_>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&[0; 2])?;
    match signed.config {
        None => out.write_all(&[0])?,
        Some(digest) => {
            out.write_all(&[1])?;
            out.write_all(digest.as_bytes())?;
        }
    }
    let mut counted = Counted(0);
    signed.tree.encode(&mut counted).map_err(io::Error::other)?;
    let mut length = Vec::new();
    put_varint(&mut length, counted.0);
    out.write_all(&length)?;
    signed.tree.encode(out).map_err(|error| match error {
        TreeError::Io { source, .. } => source,
        other => io::Error::other(other),
    })
}

/// Counts what is written, and drops it.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sign_file(
    signed: &Signed<'_>,
    options: &Options<'_>,
    (path, content, block_len): (&EntryPath, FileContent, u32),
    out: &mut impl Write,
) -> Result<(), SignatureError> {
    let failed = |source| SignatureError::Read { path: path.clone(), source };
    let changed = || SignatureError::Changed { path: path.clone() };
    let opened = signed.contents.open(path).map_err(failed)?;
    if opened.size() != content.size {
        return Err(changed());
    }
    let params = SignatureParams::new(SignatureKind::default(), block_len, SAFE_STRONG_LEN);
    let params = params.map_err(|error| SignatureError::Io {
        op: "choosing the blocks of",
        source: io::Error::new(io::ErrorKind::InvalidInput, error.to_string()),
    })?;
    let mut hasher = Sha256::new();
    let reader = Watched {
        reader: ContentReader::new(opened).take(content.size),
        hasher: &mut hasher,
        control: options.control,
    };
    let report = write_signature(reader, &params, options.threads, out).map_err(|error| match error {
        BlockError::Io { stream: Stream::Output, source } => writing(source),
        BlockError::Io { source, .. } => {
            options.control.check().map_or_else(SignatureError::Interrupted, |()| failed(source))
        }
        other => failed(io::Error::other(other)),
    })?;
    let digest = ContentDigest::from_bytes(hasher.finalize().into());
    // A file that was cut off in the meantime has another digest, too.
    if report.old_bytes != content.size || digest != content.digest {
        return Err(changed());
    }
    Ok(())
}

fn writing(source: io::Error) -> SignatureError {
    SignatureError::Io { op: "writing", source }
}

/// A content that is hashed, counted and stopped as it is read.
struct Watched<'a, R> {
    reader: R,
    hasher: &'a mut Sha256,
    control: Control<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.control.check().map_err(io::Error::other)?;
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.control.advance(count as u64);
        Ok(count)
    }
}

/// Hashes and counts what is written.
struct Hashing<W> {
    out: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
