//! The files an image consists of: in a directory, or in a tar archive that is read in place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skiff_fs::Control;

use crate::archive::{MemberKind, Members, Origin};
use crate::input::Blob;
use crate::stream::Stream;
use crate::{Compression, ImageError, Limits, Location, OpenOptions, Part};

/// How many links in an archive lead from a name to a file.
const LINKS_MAX: usize = 8;

/// Named files.
#[derive(Debug)]
pub(crate) enum Files {
    Directory(PathBuf),
    Archive { path: PathBuf, blob: Blob, members: HashMap<Vec<u8>, ArchivedFile> },
}

/// What an archive has under a name.
#[derive(Debug, Clone)]
pub(crate) enum ArchivedFile {
    Content { offset: u64, size: u64 },
    Link(Vec<u8>),
}

impl Files {
    /// The members of an archive, found in one pass that skips their contents. A compressed archive is decompressed into a file
    /// without a name first.
    pub(crate) fn open_archive(path: &Path, options: &OpenOptions<'_>) -> Result<Self, ImageError> {
        let blob = uncompressed(path, options)?;
        let origin = Origin { part: Part::Archive, path: path.into() };
        let mut members = Members::new(blob.reader(), origin, options.limits);
        let mut found = HashMap::new();
        let (mut count, mut names) = (0, 0_u64);
        while let Some(member) = members.next_member()? {
            options.control.check()?;
            count += 1;
            if count > options.limits.archive_members {
                let (at, limit) = (members.location(), options.limits.archive_members);
                return Err(ImageError::LimitExceeded {
                    at,
                    what: "members in the archive",
                    wanted: count,
                    limit,
                });
            }
            let link = match &member.kind {
                MemberKind::HardLink(target) | MemberKind::Symlink(target) => target.len(),
                _ => 0,
            };
            names = names.saturating_add((member.name.len() + link) as u64);
            if names > options.limits.names {
                let (at, limit) = (members.location(), options.limits.names);
                let what = "bytes of names and links in the archive";
                return Err(ImageError::LimitExceeded { at, what, wanted: names, limit });
            }
            let name = normal(&member.name);
            let file = match member.kind {
                MemberKind::File => match member.offset {
                    Some(offset) => ArchivedFile::Content { offset, size: member.size },
                    None => {
                        return Err(
                            members.unsupported("it is a sparse file; write the archive without --sparse")
                        );
                    }
                },
                MemberKind::HardLink(target) => ArchivedFile::Link(normal(&target)),
                // `docker save` has linked equal layers of its images so.
                MemberKind::Symlink(target) => {
                    let parent = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
                    ArchivedFile::Link(normal(&[&name[..parent], &target].concat()))
                }
                _ => continue,
            };
            found.insert(name, file);
        }
        Ok(Self::Archive { path: path.into(), blob, members: found })
    }

    /// Opens a file; none where there is none of this name.
    pub(crate) fn open(&self, name: &str) -> Result<Option<Blob>, ImageError> {
        match self {
            Self::Directory(directory) => match Blob::open(&directory.join(name)) {
                Err(ImageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    Ok(None)
                }
                result => result.map(Some),
            },
            Self::Archive { blob, members, .. } => {
                let mut name = normal(name.as_bytes());
                for _ in 0..LINKS_MAX {
                    match members.get(&name) {
                        Some(ArchivedFile::Link(target)) => name = target.clone(),
                        Some(&ArchivedFile::Content { offset, size }) => {
                            return Ok(Some(Blob {
                                file: blob.file.clone(),
                                offset: blob.offset + offset,
                                size,
                            }));
                        }
                        None => break,
                    }
                }
                Ok(None)
            }
        }
    }

    /// Reads a document into memory.
    pub(crate) fn read(&self, name: &str, part: Part, limits: &Limits) -> Result<Vec<u8>, ImageError> {
        let missing = || ImageError::NotFound {
            what: format!("{name} in {}", self.path().display()),
            known: Vec::new(),
        };
        let blob = self.open(name)?.ok_or_else(missing)?;
        if blob.size > limits.document {
            let at = Location { part, entry: None, offset: 0 };
            return Err(ImageError::LimitExceeded {
                at,
                what: "bytes",
                wanted: blob.size,
                limit: limits.document,
            });
        }
        let mut bytes = Vec::new();
        let failed = |source| ImageError::Io { op: "reading", path: self.path().into(), source };
        blob.reader().read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// The directory or archive.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Archive { path, .. } => path,
        }
    }
}

/// An archive's bytes, decompressed where they have to be.
fn uncompressed(path: &Path, options: &OpenOptions<'_>) -> Result<Blob, ImageError> {
    let blob = Blob::open(path)?;
    let compression = Compression::of(&blob, Part::Archive, path)?;
    if compression == Compression::None {
        return Ok(blob);
    }
    let stream = Stream {
        blob,
        part: Part::Archive,
        path: path.into(),
        compression,
        digest: None,
        diff_id: None,
        limit: options.limits.layer_bytes,
        before: 0,
        decoder_memory: options.limits.decoder_memory,
    };
    let failed = |op| move |source| ImageError::Io { op, path: options.spool_directory.clone(), source };
    let mut spool: File =
        tempfile::tempfile_in(&options.spool_directory).map_err(failed("making a spool in"))?;
    // What it costs is little beside reading the layers, which is what progress is about.
    let control = Control { progress: None, ..options.control };
    let ((), size) = stream.read(control, |chunks| {
        use std::io::BufRead as _;
        loop {
            let chunk = chunks.fill_buf().map_err(failed("decompressing into"))?;
            if chunk.is_empty() {
                return Ok(());
            }
            spool.write_all(chunk).map_err(failed("writing a spool in"))?;
            let count = chunk.len();
            chunks.consume(count);
        }
    })?;
    Ok(Blob { file: Arc::new(spool), offset: 0, size })
}

/// A name without `.`, empty components and, as nothing above an archive can be meant, `..`.
fn normal(name: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            _ => components.push(component),
        }
    }
    components.join(&b'/')
}
