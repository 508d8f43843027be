//! Blobs and manifests, put into a repository.

use std::fs::File;

use skiff_image::BlobDigest;
use ureq::http::header::{CONNECTION, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use ureq::http::{HeaderName, Method, Uri};

use crate::download::Moved;
use crate::retry::{Attempts, Failure};
use crate::session::{Answered, Call, Payload, Session};
use crate::{RegistryError, Repository, url};

/// The least that goes with one request, unless the registry wants more or the caller less.
const CHUNK_MIN: u64 = 16 << 10;
/// What a registry says of the chunks that it takes.
const CHUNK_MIN_HEADER: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// What a registry says that has put a manifest among those that refer to its subject.
const SUBJECT_HEADER: HeaderName = HeaderName::from_static("oci-subject");

/// A blob to put there.
pub(crate) struct Blob<'b> {
    pub(crate) content: Content<'b>,
    pub(crate) digest: BlobDigest,
    pub(crate) size: u64,
    /// For messages.
    pub(crate) place: String,
}

#[derive(Clone, Copy)]
pub(crate) enum Content<'b> {
    Bytes(&'b [u8]),
    File(&'b File),
}

/// A manifest or an index to put there.
pub(crate) struct Document<'d> {
    pub(crate) version: &'d str,
    pub(crate) media_type: &'d str,
    pub(crate) bytes: &'d [u8],
}

/// An upload that goes on.
struct Upload {
    location: Uri,
    /// How many bytes the registry has.
    received: u64,
    /// The least that the registry takes at once.
    chunk_min: u64,
}

impl<'b> Content<'b> {
    fn part(self, offset: u64, size: u64) -> Payload<'b> {
        match self {
            Self::File(file) => Payload::Part { file, offset, size },
            Self::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let to = usize::try_from(offset + size).unwrap_or(usize::MAX).min(bytes.len());
                Payload::Bytes(&bytes[from..to])
            }
        }
    }
}

impl Session<'_> {
    /// Puts a blob there, unless it is there.
    ///
    /// It goes in chunks, each over a connection that does nothing else and is closed after it. After a cut the registry is
    /// asked how much it has, and what it has not is sent. Docker's registry (2.8) cannot tell after a cut in the middle of a
    /// chunk and has lost the upload, which then begins again, in smaller chunks: those that connections last for.
    pub(crate) fn upload(&self, repository: &Repository, blob: &Blob<'_>) -> Result<Moved, RegistryError> {
        if self.has_blob(repository, blob)? {
            self.control.advance(blob.size);
            return Ok(Moved { transferred: 0, reused: blob.size });
        }
        let mut attempts = self.attempts(&blob.place);
        let mut chunk = self.shared.options.upload_chunk.max(1);
        let (mut upload, mut furthest) = (None::<Upload>, 0);
        let sent = Moved { transferred: blob.size, reused: 0 };
        loop {
            match self.step(repository, blob, &mut upload, chunk) {
                Ok(Step::Further) => {}
                Ok(Step::Done) => return Ok(sent),
                Err(failure) => {
                    attempts.failed(failure)?;
                    chunk = self.after_cut(repository, blob, (&mut upload, &mut attempts), chunk)?;
                    // Its last answer may have been lost.
                    if upload.is_none() && self.has_blob(repository, blob)? {
                        return Ok(sent);
                    }
                }
            }
            let received = upload.as_ref().map_or(0, |upload| upload.received);
            if received > furthest {
                self.control.advance(received - furthest);
                furthest = received;
                attempts.progressed();
            }
        }
    }

    /// Finds out what the registry has, and returns the chunks to go on with.
    fn after_cut(
        &self,
        repository: &Repository,
        blob: &Blob<'_>,
        (upload, attempts): (&mut Option<Upload>, &mut Attempts<'_>),
        chunk: u64,
    ) -> Result<u64, RegistryError> {
        let Some(before) = upload.take() else { return Ok(chunk) };
        *upload = self.status(repository, blob, &before)?;
        let sent = chunk.min(blob.size - before.received);
        let least = CHUNK_MIN.max(before.chunk_min).min(sent);
        let has_more = upload.as_ref().is_some_and(|upload| upload.received > before.received);
        if has_more || sent == least {
            return Ok(chunk);
        }
        // What gets further is smaller chunks; there are only so many halves.
        attempts.progressed();
        Ok((sent / 2).max(least))
    }

    /// Begins, sends a chunk, or ends.
    fn step(
        &self,
        repository: &Repository,
        blob: &Blob<'_>,
        upload: &mut Option<Upload>,
        chunk: u64,
    ) -> Result<Step, Failure> {
        match upload {
            None => {
                *upload = Some(self.begin(repository, blob)?);
                Ok(Step::Further)
            }
            Some(going) if going.received < blob.size => {
                let size = chunk.max(going.chunk_min).min(blob.size - going.received);
                self.send_chunk(repository, blob, going, size)?;
                Ok(Step::Further)
            }
            Some(going) => {
                self.end(repository, blob, going)?;
                Ok(Step::Done)
            }
        }
    }

    fn has_blob(&self, repository: &Repository, blob: &Blob<'_>) -> Result<bool, RegistryError> {
        let url = self.url(repository, &format!("blobs/{}", blob.digest))?;
        let call = Call::get(repository, url).pushing(Method::HEAD);
        self.send(&call, &blob.place, |answered| match answered.status {
            404 => Ok(false),
            _ if answered.is_success() => Ok(true),
            _ => Err(self.refused(answered, &blob.place).into()),
        })
    }

    fn begin(&self, repository: &Repository, blob: &Blob<'_>) -> Result<Upload, Failure> {
        let url = self.url(repository, "blobs/uploads/")?;
        let call = Call::get(repository, url).pushing(Method::POST).payload(Payload::Bytes(b""));
        let answered = self.once(&call, &blob.place)?;
        if answered.status != 202 {
            return Err(self.refused_or_missing(answered, &blob.place).into());
        }
        let least = answered.header(&CHUNK_MIN_HEADER).and_then(|text| text.parse().ok());
        let location = self.location(&answered, blob)?;
        Ok(Upload { location, received: 0, chunk_min: least.unwrap_or(1).max(1) })
    }

    fn send_chunk(
        &self,
        repository: &Repository,
        blob: &Blob<'_>,
        upload: &mut Upload,
        size: u64,
    ) -> Result<(), Failure> {
        let start = upload.received;
        let call = Call::get(repository, upload.location.clone())
            .pushing(Method::PATCH)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_RANGE, format!("{start}-{}", start + size - 1))
            .header(CONNECTION, "close")
            .payload(blob.content.part(start, size));
        let answered = self.once(&call, &blob.place)?;
        match answered.status {
            202 => {
                upload.location = self.location(&answered, blob)?;
                upload.received = self.received(&answered, blob, size.min(1))?.unwrap_or(start + size);
                Ok(())
            }
            // Of what was sent before, something did not come, or came though its answer did not; or nothing is known of it.
            404 | 416 => {
                Err(Failure::broken(std::io::ErrorKind::InvalidInput, "the upload is not where it was"))
            }
            _ => Err(self.refused(answered, &blob.place).into()),
        }
    }

    /// How far an upload is; none where the registry does not know it any more.
    fn status(
        &self,
        repository: &Repository,
        blob: &Blob<'_>,
        upload: &Upload,
    ) -> Result<Option<Upload>, RegistryError> {
        let call = Call::get(repository, upload.location.clone()).pushing(Method::GET);
        self.send(&call, &blob.place, |answered| {
            if answered.status != 204 {
                return Ok(None);
            }
            // One that says nothing else goes on where it was.
            let location = self.location(&answered, blob).unwrap_or_else(|_| upload.location.clone());
            let received = self.received(&answered, blob, 0)?.unwrap_or(0);
            Ok(Some(Upload { location, received, chunk_min: upload.chunk_min }))
        })
    }

    fn end(&self, repository: &Repository, blob: &Blob<'_>, upload: &Upload) -> Result<(), Failure> {
        let url = url::with_query(&upload.location, "digest", &blob.digest.to_string());
        let url = url.ok_or_else(|| RegistryError::corrupt(&blob.place, "its upload has no address"))?;
        let call = Call::get(repository, url).pushing(Method::PUT).payload(Payload::Bytes(b""));
        let answered = self.once(&call, &blob.place)?;
        match answered.status {
            201 | 204 => Ok(()),
            404 | 416 => {
                Err(Failure::broken(std::io::ErrorKind::InvalidInput, "the upload is not where it was"))
            }
            _ => Err(self.refused(answered, &blob.place).into()),
        }
    }

    fn location(&self, answered: &Answered, blob: &Blob<'_>) -> Result<Uri, RegistryError> {
        let location = answered.header(&LOCATION).and_then(|location| url::join(&answered.url, location));
        let location = location
            .ok_or_else(|| RegistryError::corrupt(&blob.place, "it does not say where the upload goes on"))?;
        self.check_transport(&location, &blob.place)?;
        Ok(location)
    }

    /// How much the registry says it has: `0-LAST`. Docker's says `0-0` of one byte and of none, which then are `few`.
    fn received(&self, answered: &Answered, blob: &Blob<'_>, few: u64) -> Result<Option<u64>, RegistryError> {
        let Some(range) = answered.header(&RANGE) else { return Ok(None) };
        let last = range.trim_start_matches("bytes=").split_once('-').and_then(|(_, last)| last.parse().ok());
        match last {
            Some(0) => Ok(Some(few)),
            Some(last) if last < blob.size => Ok(Some(last + 1)),
            _ => {
                let what = format!("it says that it has {range:?} of {} bytes", blob.size);
                Err(RegistryError::corrupt(&blob.place, what))
            }
        }
    }

    /// Puts a manifest there, and returns whether the registry lists it for its subject.
    pub(crate) fn put_manifest(
        &self,
        repository: &Repository,
        document: &Document<'_>,
        place: &str,
    ) -> Result<bool, RegistryError> {
        let url = self.url(repository, &format!("manifests/{}", document.version))?;
        let call = Call::get(repository, url)
            .pushing(Method::PUT)
            .header(CONTENT_TYPE, document.media_type)
            .payload(Payload::Bytes(document.bytes));
        self.send(&call, place, |answered| match answered.status {
            201 | 202 | 204 => Ok(answered.header(&SUBJECT_HEADER).is_some()),
            _ => Err(self.refused_or_missing(answered, place).into()),
        })
    }
}

enum Step {
    Further,
    Done,
}
