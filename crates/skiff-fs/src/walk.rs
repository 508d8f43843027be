//! Everything beneath a root, as it is found on the disk.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;

use sha2::{Digest as _, Sha256};
use skiff_tree::{ContentDigest, EntryPath, FileContent, Kind, Metadata, ReadAt as _};

use crate::listing::{Identity, Lister, Status, XattrReader};
use crate::storage::At;
use crate::{Control, FsError, OpenFile, Root, parallel};

/// Large enough that the calls cost nothing beside the hashing, small enough for a core's cache.
const READ_BUFFER: usize = 128 << 10;
/// So many small files are opened at once, so that the disk reads one while another is hashed.
const BATCH_FILES: usize = 16;
/// But not more bytes than that: the kernel's memory is a device's too.
const BATCH_BYTES: u64 = 1 << 20;

/// One path found on the disk.
pub(crate) struct Found {
    pub(crate) path: EntryPath,
    pub(crate) metadata: Metadata,
    /// None for a socket.
    pub(crate) kind: Option<Kind<u64>>,
    pub(crate) identity: Identity,
    /// The position of the first path of the same inode, where this is a further one.
    pub(crate) owner: Option<usize>,
    links: u64,
}

/// Lists everything beneath `root`, the root included, in canonical order. Directories wait in a list, not on the stack:
/// no depth overflows it.
pub(crate) fn walk(
    root: &Root,
    control: &Control<'_>,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<Found>, FsError> {
    let mut walker = Walker { xattrs: XattrReader::new(), wanted, found: Vec::new(), waiting: Vec::new() };
    let mut lister = Lister::new();
    walker.visit(root, EntryPath::root(), At { directory: root.as_fd(), name: b"." })?;
    while let Some(path) = walker.waiting.pop() {
        let directory = root.open_directory(&path)?;
        lister
            .for_each(directory.as_fd(), |name| {
                control.check().map_err(FsError::from)?;
                let at = At { directory: directory.as_fd(), name };
                Ok::<(), Failure>(walker.visit(root, path.join(name).map_err(FsError::from)?, at)?)
            })
            .map_err(|failure| match failure {
                Failure::Listing(error) => root.failed("listing", &path)(error),
                Failure::Visit(error) => error,
            })?;
    }
    let mut found = walker.found;
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    group(&mut found);
    Ok(found)
}

/// Hashes the files at these positions of `found`.
pub(crate) fn hash_files(
    root: &Root,
    found: &[Found],
    mut jobs: Vec<usize>,
    options: HashOptions<'_>,
) -> Result<Vec<(usize, FileContent)>, FsError> {
    // The largest first, so that no thread is left alone with one at the end; the many small ones in the disk's order.
    let size = |job: &usize| match found[*job].kind {
        Some(Kind::File(size)) => size,
        _ => 0,
    };
    jobs.sort_by_key(|job| std::cmp::Reverse(size(job) >> 22));
    let mut batches: Vec<&[usize]> = Vec::new();
    let mut rest = &jobs[..];
    while !rest.is_empty() {
        let mut bytes = 0_u64;
        let fits = |job: &&usize| {
            bytes = bytes.saturating_add(size(job));
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take(BATCH_FILES).take_while(fits).count().max(1);
        let (batch, others) = rest.split_at(count);
        batches.push(batch);
        rest = others;
    }
    let hashed = parallel::for_each(
        options.threads,
        &batches,
        || vec![0; READ_BUFFER],
        |buffer, batch| {
            let files = batch.iter().map(|&job| open(root, &found[job], &options));
            // All are opened before the first is read: meanwhile the disk reads the others.
            let files: Vec<OpenFile> = files.collect::<Result<_, _>>()?;
            let hashed = batch.iter().zip(&files);
            hashed.map(|(&job, file)| Ok((job, hash_file(file, buffer, &options.control)?))).collect()
        },
    );
    Ok(hashed?.into_iter().flat_map(|batch: Vec<_>| batch).collect())
}

fn open(root: &Root, entry: &Found, options: &HashOptions<'_>) -> Result<OpenFile, FsError> {
    let file = root.open_file(&entry.path)?;
    let status = Status::of(file.as_fd()).map_err(root.failed("looking at", &entry.path))?;
    if status.identity != entry.identity {
        let what = "it was replaced while the tree was being read";
        return Err(FsError::Refused { path: root.display(&entry.path), what });
    }
    if options.drop_cache {
        file.read_anew();
    }
    Ok(file)
}

/// How files are hashed.
pub(crate) struct HashOptions<'a> {
    pub(crate) threads: NonZeroUsize,
    pub(crate) drop_cache: bool,
    pub(crate) control: Control<'a>,
}

fn hash_file(file: &OpenFile, buffer: &mut [u8], control: &Control<'_>) -> Result<FileContent, FsError> {
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    loop {
        control.check()?;
        match file.read_at(buffer, size) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
                control.advance(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(FsError::Io { op: "reading", path: file.path().into(), source }),
        }
    }
    Ok(FileContent { size, digest: ContentDigest::from_bytes(hasher.finalize().into()) })
}

struct Walker<F> {
    xattrs: XattrReader,
    wanted: F,
    found: Vec<Found>,
    waiting: Vec<EntryPath>,
}

impl<F: Fn(&[u8]) -> bool> Walker<F> {
    fn visit(&mut self, root: &Root, path: EntryPath, at: At<'_>) -> Result<(), FsError> {
        let status = Status::at(at).map_err(root.failed("looking at", &path))?;
        let kind = status.kind(at).map_err(root.failed("reading link", &path))?;
        let op = "reading extended attributes (through /proc) of";
        let xattrs = self.xattrs.read(at, &self.wanted).map_err(root.failed(op, &path))?;
        if matches!(kind, Some(Kind::Directory)) {
            self.waiting.push(path.clone());
        }
        self.found.push(Found {
            path,
            metadata: status.metadata(xattrs),
            kind,
            identity: status.identity,
            owner: None,
            links: status.links,
        });
        Ok(())
    }
}

/// Finds the paths that share an inode. A file may have links outside the root too; those do not matter.
fn group(found: &mut [Found]) {
    let mut first = HashMap::new();
    for (index, entry) in found.iter_mut().enumerate() {
        if entry.links > 1 && !matches!(entry.kind, Some(Kind::Directory)) {
            match first.get(&entry.identity) {
                Some(&owner) => entry.owner = Some(owner),
                None => drop(first.insert(entry.identity, index)),
            }
        }
    }
}

enum Failure {
    Listing(io::Error),
    Visit(FsError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Listing(error)
    }
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self::Visit(error)
    }
}
