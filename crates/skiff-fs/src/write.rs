use std::io;
use std::num::NonZeroUsize;

use sha2::{Digest as _, Sha256};
use skiff_tree::{ContentDigest, ContentSource, Entry, EntryPath, FileContent, Inode, Kind, Node, Tree};

use crate::{Control, FsError, Ownership, Root, parallel};

const COPY_BUFFER: usize = 256 << 10;

/// How many entries a thread takes on at once: enough that most lie in a directory with the one before.
const BATCH: usize = 64;

/// How a tree is written.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WriteOptions<'a> {
    /// What of the metadata is applied. Default: everything.
    pub ownership: Ownership,
    /// Make files with so many threads, and no more than the machine has cores. Default: one, so that the same tree is
    /// always made in the same order.
    pub threads: NonZeroUsize,
    /// Watches and stops it; progress counts the bytes of files. Default: neither.
    pub control: Control<'a>,
}

impl Default for WriteOptions<'_> {
    fn default() -> Self {
        let threads = NonZeroUsize::MIN;
        Self { ownership: Ownership::default(), threads, control: Control::default() }
    }
}

impl<'a> WriteOptions<'a> {
    /// These options, with another ownership.
    #[must_use]
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// These options, with so many threads.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// These options, with as many threads as the machine runs at once.
    #[must_use]
    pub fn with_all_threads(self) -> Self {
        Self { threads: parallel::available(), ..self }
    }

    /// These options, watched and stopped by `control`.
    #[must_use]
    pub fn with_control(self, control: Control<'a>) -> Self {
        Self { control, ..self }
    }
}

/// Writes a whole tree into an empty directory, and checks every content against the tree on the way.
///
/// Nothing is synced; see [`Root::sync_file_system`]. What was written before an error is left there.
///
/// # Errors
/// [`FsError::Refused`] where the root is not empty or a symbolic link is put in the way; [`FsError::Io`] where writing or
/// reading a content fails; [`FsError::WrongContent`]; [`FsError::Unsupported`] for what the file system cannot hold;
/// [`FsError::Interrupted`].
pub fn write_tree(
    root: &Root,
    tree: &Tree,
    contents: &dyn ContentSource,
    options: &WriteOptions<'_>,
) -> Result<(), FsError> {
    if !root.list(&EntryPath::root())?.is_empty() {
        let what = "the directory is not empty; a tree is written into an empty one";
        return Err(FsError::Refused { path: root.path().into(), what });
    }
    // Directories before what lies in them, and links after what they lead to, whichever thread makes it.
    for entry in tree.entries().iter().skip(1).filter(|entry| entry.is_directory()) {
        options.control.check()?;
        root.make_directory(&entry.path)?;
    }
    let batches: Vec<&[Entry]> = tree.entries().chunks(BATCH).collect();
    // Each thread is in another directory: a root of its own remembers which.
    let writer = || Writer { root: root.again(), contents, options, buffer: vec![0; COPY_BUFFER] };
    parallel::for_each(options.threads, &batches, writer, |writer, batch| writer.write_batch(batch))?;
    for entry in tree.entries() {
        if let Node::HardLink { owner } = &entry.node
            && tree.inode(entry).is_some_and(|inode| options.ownership.makes(&inode.kind))
        {
            options.control.check()?;
            root.hard_link(owner, &entry.path)?;
        }
    }
    // Last, deepest first: what is made in a directory changes its time, and its mode may forbid making it.
    for entry in tree.entries().iter().rev() {
        if let Some(inode @ Inode { kind: Kind::Directory, .. }) = entry.as_inode() {
            options.control.check()?;
            root.set_metadata(&entry.path, inode, options.ownership)?;
        }
    }
    Ok(())
}

struct Writer<'a> {
    root: Root,
    contents: &'a dyn ContentSource,
    options: &'a WriteOptions<'a>,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    /// Makes all but directories and further links.
    fn write_batch(&mut self, batch: &[Entry]) -> Result<(), FsError> {
        let ownership = self.options.ownership;
        for entry in batch {
            let Some(inode) = entry.as_inode() else { continue };
            self.options.control.check()?;
            match &inode.kind {
                Kind::Directory => continue,
                kind if !ownership.makes(kind) => continue,
                Kind::File(expected) => self.write_file(&entry.path, *expected)?,
                kind => self.root.make_entry(&entry.path, kind, ownership)?,
            }
            self.root.set_metadata(&entry.path, inode, ownership)?;
        }
        Ok(())
    }

    fn write_file(&mut self, path: &EntryPath, expected: FileContent) -> Result<(), FsError> {
        let reading = "reading the content of";
        let file = self.root.create_file(path)?;
        let content = self.contents.open(path).map_err(self.root.failed(reading, path))?;
        let (mut hasher, mut size) = (Sha256::new(), 0_u64);
        // One byte more than expected is enough to know that it is wrong: no source fills the disk.
        while size <= expected.size {
            self.options.control.check()?;
            let read = content.read_at(&mut self.buffer, size);
            let bytes = match read.map(|count| self.buffer.get(..count)) {
                Ok(Some([])) => break,
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Err(self.root.failed(reading, path)(io::ErrorKind::InvalidData.into())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.root.failed(reading, path)(error)),
            };
            hasher.update(bytes);
            file.write_all_at(bytes, size)?;
            size += bytes.len() as u64;
            self.options.control.advance(bytes.len() as u64);
        }
        let found = FileContent { size, digest: ContentDigest::from_bytes(hasher.finalize().into()) };
        if found == expected {
            return Ok(());
        }
        Err(FsError::WrongContent { path: self.root.display(path), expected, found })
    }
}
