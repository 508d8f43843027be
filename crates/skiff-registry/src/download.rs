//! A blob, fetched into a file that is kept while it is not whole.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use skiff_fs::Control;
use skiff_image::BlobDigest;
use ureq::http::header::{CONTENT_RANGE, RANGE};

use crate::layout::{lock_file, put};
use crate::retry::{Failure, Passing};
use crate::session::{Answered, Call, Session};
use crate::{RegistryError, Repository};

const BUFFER: usize = 64 << 10;

/// A blob that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) digest: BlobDigest,
    pub(crate) size: u64,
    /// For messages.
    pub(crate) place: String,
}

/// Where a blob is put once it is whole.
pub(crate) trait Place {
    /// The file that it is in until then: beside [`to`](Self::to), on the same file system.
    fn part(&self) -> PathBuf;

    fn to(&self) -> &Path;

    /// Whether it is there already: somebody else may have fetched it while we waited for them.
    fn is_there(&self) -> bool;

    /// Whether what has the digest is what was meant by it.
    fn check(&self, file: &File) -> Result<(), RegistryError>;
}

/// How many bytes came over the wire, and how many were there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moved {
    pub(crate) transferred: u64,
    pub(crate) reused: u64,
}

impl Session<'_> {
    /// Fetches a blob to its place, by way of another file, in which whatever process fetches it next goes on.
    ///
    /// A range is asked for without `If-Range`: the digest names the bytes, whoever sends them, and what does not make it is
    /// fetched again from its start.
    pub(crate) fn download(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        place: &dyn Place,
    ) -> Result<Moved, RegistryError> {
        let limit = self.shared.options.limits.blob;
        if wanted.size > limit {
            let (place, wanted) = (wanted.place.clone(), wanted.size);
            return Err(RegistryError::LimitExceeded { place, what: "bytes", wanted, limit });
        }
        let Some(mut part) = Part::open(place, self.control)? else {
            // Somebody else has fetched it while we waited.
            self.control.advance(wanted.size);
            return Ok(Moved { transferred: 0, reused: wanted.size });
        };
        if part.size > wanted.size {
            part.restart()?;
        }
        let mut moved = Moved { transferred: 0, reused: part.size };
        self.control.advance(part.size);
        loop {
            let was_resumed = part.size > 0;
            let transferred = self.fill(repository, wanted, &mut part)?;
            moved.transferred += transferred;
            let found = part.digest();
            if found == wanted.digest {
                part.check(place)?;
                part.finish(place.to())?;
                return Ok(moved);
            }
            part.restart()?;
            moved.reused = 0;
            if !was_resumed {
                part.abandon();
                let (expected, found) = (wanted.digest.to_string(), found.to_string());
                return Err(RegistryError::DigestMismatch { what: wanted.place.clone(), expected, found });
            }
        }
    }

    /// Fetches until the part has all bytes, and returns how many came.
    fn fill(&self, repository: &Repository, wanted: &Wanted, part: &mut Part) -> Result<u64, RegistryError> {
        let url = self.url(repository, &format!("blobs/{}", wanted.digest))?;
        let mut attempts = self.attempts(&wanted.place);
        let (mut transferred, mut furthest) = (0, part.size);
        while part.size < wanted.size {
            let mut call = Call::get(repository, url.clone());
            if part.size > 0 {
                call = call.header(RANGE, format!("bytes={}-", part.size));
            }
            let received = self.once(&call, &wanted.place).and_then(|answered| {
                let answered = self.position(answered, wanted, part)?;
                self.receive(answered, wanted, part, &mut transferred)
            });
            // What counts is how far it is, not that it starts over and over.
            if part.size > furthest {
                furthest = part.size;
                attempts.progressed();
            }
            if let Err(failure) = received {
                attempts.failed(failure)?;
            }
        }
        Ok(transferred)
    }

    /// Makes the part end where the answer goes on.
    fn position(&self, answered: Answered, wanted: &Wanted, part: &mut Part) -> Result<Answered, Failure> {
        let start = match answered.status {
            200 => 0,
            206 => {
                let range = answered.header(&CONTENT_RANGE).and_then(content_range);
                match range {
                    Some((start, total))
                        if start == part.size && total.is_none_or(|total| total == wanted.size) =>
                    {
                        start
                    }
                    _ => {
                        return Err(RegistryError::corrupt(
                            &wanted.place,
                            "it sends another range than the one asked for",
                        )
                        .into());
                    }
                }
            }
            // It has less than what is here already.
            416 => {
                part.restart()?;
                return Err(Failure::broken(io::ErrorKind::InvalidData, "the range is refused"));
            }
            _ => return Err(self.refused_or_missing(answered, &wanted.place).into()),
        };
        if start == 0 && part.size > 0 {
            part.restart()?;
        }
        match answered.length() {
            Some(length) if length != wanted.size - start => {
                let what =
                    format!("it sends {} bytes in place of {}", start.saturating_add(length), wanted.size);
                Err(RegistryError::corrupt(&wanted.place, what).into())
            }
            _ => Ok(answered),
        }
    }

    fn receive(
        &self,
        answered: Answered,
        wanted: &Wanted,
        part: &mut Part,
        transferred: &mut u64,
    ) -> Result<(), Failure> {
        let mut reader = answered.body.into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            self.control.check().map_err(RegistryError::Interrupted)?;
            let count = match reader.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Passing(Passing::Connection(error))),
            };
            *transferred += count as u64;
            if count as u64 > wanted.size - part.size {
                let what = format!("it sends more than the {} bytes it should be", wanted.size);
                return Err(RegistryError::corrupt(&wanted.place, what).into());
            }
            if count == 0 {
                return if part.size == wanted.size {
                    Ok(())
                } else {
                    Err(Failure::broken(io::ErrorKind::UnexpectedEof, "the connection ended too early"))
                };
            }
            part.append(&buffer[..count])?;
            self.control.advance(count as u64);
            if let Some(throttle) = &self.shared.options.throttle {
                throttle.spend(count as u64, &self.control).map_err(RegistryError::Interrupted)?;
            }
        }
    }
}

/// A file that holds the beginning of a blob, for us alone.
struct Part {
    path: PathBuf,
    file: File,
    size: u64,
    hasher: Sha256,
}

impl Part {
    /// Opens it and hashes what it has. None where what it is to become is there by now.
    fn open(place: &dyn Place, control: Control<'_>) -> Result<Option<Self>, RegistryError> {
        use std::os::unix::fs::MetadataExt as _;

        let path = &place.part();
        let file = loop {
            let opened = File::options().create(true).truncate(false).read(true).write(true).open(path);
            let file = opened.map_err(RegistryError::io("opening", path))?;
            lock_file(&file, path, control)?;
            let held = file.metadata().map_err(RegistryError::io("looking at", path))?;
            match fs::symlink_metadata(path) {
                Ok(found) if (found.dev(), found.ino()) == (held.dev(), held.ino()) => break file,
                // Whoever had it locked has renamed it.
                _ => {}
            }
        };
        if place.is_there() {
            let _ = fs::remove_file(path);
            return Ok(None);
        }
        let mut part = Self { path: path.into(), file, size: 0, hasher: Sha256::new() };
        let mut buffer = vec![0; BUFFER];
        loop {
            control.check()?;
            let count = part.file.read(&mut buffer).map_err(RegistryError::io("reading", path))?;
            if count == 0 {
                return Ok(Some(part));
            }
            part.hasher.update(&buffer[..count]);
            part.size += count as u64;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.file.write_all(bytes).map_err(RegistryError::io("writing", &self.path))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), RegistryError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(RegistryError::io("emptying", &self.path))?;
        self.size = 0;
        self.hasher = Sha256::new();
        Ok(())
    }

    fn digest(&self) -> BlobDigest {
        BlobDigest::from_bytes(self.hasher.clone().finalize().into())
    }

    /// Shows it to its place, from its start. What that refuses is of no use to the next one either.
    fn check(&mut self, place: &dyn Place) -> Result<(), RegistryError> {
        self.file.rewind().map_err(RegistryError::io("reading", &self.path))?;
        let checked = place.check(&self.file);
        if checked.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        checked
    }

    fn finish(self, to: &Path) -> Result<(), RegistryError> {
        self.file.sync_all().map_err(RegistryError::io("syncing", &self.path))?;
        put(&self.path, to)
    }

    /// Nothing in it is of use.
    fn abandon(self) {
        // Where it stays, it is empty.
        let _ = fs::remove_file(&self.path);
    }
}

/// `bytes START-END/TOTAL`, the total being `*` where it is not told.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}
