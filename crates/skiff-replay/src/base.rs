//! The base's files, checked before a codec reads from them.

use std::collections::HashSet;
use std::io;

use sha2::{Digest as _, Sha256};
use skiff_tree::{ContentDigest, ContentSource, Entry, FileContent, ReadAt, ReleaseId, Tree};

use crate::ReplayError;
use crate::contents::Frame;

/// A base file up to this size is held in memory while a codec reads from it: seeking about in it costs nothing then.
const HELD_BYTES: u64 = 4 << 20;
/// But a larger one than this only for so many times as many bytes of output: else a delta of a million records that write
/// a byte each would have the base read a million times.
const HELD_FOR_ANYTHING: u64 = 64 << 10;
const HELD_PER_OUTPUT: u64 = 16;
/// How much is read at once to hash a content.
const HASH_BUFFER: usize = 256 << 10;

/// What the replay stands on.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// The base's release: a delta for another one is refused.
    pub release: ReleaseId,
    /// The base's tree.
    pub tree: &'a Tree,
    /// The contents of the base's files.
    pub contents: &'a dyn ContentSource,
    /// What is known of them.
    pub trust: Trust,
}

/// What is known of a base's contents before they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Nothing: every file is checked against its digest before a codec reads from it. What devices want.
    #[default]
    Checked,
    /// They are taken as they are. For an encoder that has no more of the base than a signature: what comes out is proved all the same.
    Assumed,
}

/// Opens a file of the base, and checks its content the first time.
pub(crate) fn open_base<'s, E: std::error::Error>(
    frame: &Frame<'s, '_>,
    checked: &mut HashSet<u32>,
    index: u32,
    (held, output_len): (&mut u64, u64),
) -> Result<Box<dyn ReadAt + 's>, ReplayError<E>> {
    let entries = frame.base.tree.entries();
    let file = usize::try_from(index).ok().and_then(|index| entries.get(index));
    let (entry, known) = file
        .and_then(|entry| Some((entry, *entry.as_file()?)))
        .ok_or_else(|| frame.corrupt(format!("entry {index} of the base is not a file")))?;
    let failed = |source| ReplayError::Base { path: entry.path.clone(), source };
    let content = frame.base.contents.open(&entry.path).map_err(failed)?;
    if content.size() != known.size {
        return Err(damaged(entry, known, ContentDigest::of(b"")));
    }
    let trust = frame.base.trust;
    let is_checked = |checked: &HashSet<u32>| trust == Trust::Assumed || checked.contains(&index);
    let worth = output_len.saturating_mul(HELD_PER_OUTPUT).max(HELD_FOR_ANYTHING);
    if known.size <= HELD_BYTES.saturating_sub(*held).min(worth) {
        let bytes = skiff_tree::read_all(&content).map_err(failed)?;
        if !is_checked(checked) {
            check_content(entry, known, ContentDigest::of(&bytes))?;
            checked.insert(index);
        }
        *held += known.size;
        return Ok(Box::new(bytes));
    }
    if !is_checked(checked) {
        let mut hasher = Sha256::new();
        hash_into(&content, known.size, &mut hasher).map_err(failed)?;
        check_content(entry, known, ContentDigest::from_bytes(hasher.finalize().into()))?;
        checked.insert(index);
    }
    Ok(content)
}

fn check_content<E: std::error::Error>(
    entry: &Entry,
    known: FileContent,
    found: ContentDigest,
) -> Result<(), ReplayError<E>> {
    if found == known.digest { Ok(()) } else { Err(damaged(entry, known, found)) }
}

fn damaged<E: std::error::Error>(entry: &Entry, known: FileContent, found: ContentDigest) -> ReplayError<E> {
    ReplayError::BaseDamaged { path: entry.path.clone(), expected: known.digest, found }
}

pub(crate) fn hash_into(
    content: &dyn ReadAt,
    length: u64,
    hasher: &mut impl sha2::digest::Update,
) -> io::Result<()> {
    let mut buffer = vec![0; HASH_BUFFER.min(usize::try_from(length).unwrap_or(usize::MAX))];
    let mut offset = 0;
    while offset < length {
        let most = usize::try_from(length - offset).unwrap_or(usize::MAX).min(buffer.len());
        let count = content.read_at(&mut buffer[..most], offset)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
    Ok(())
}
