//! Signatures of releases that are not known here: taken from who runs these, checked, and kept as long as there is room for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skiff_protocol::{Name, Problem, ProblemCode, Text};
use skiff_signature::{Limits, TreeSignature};
use skiff_tree::ReleaseId;
use tokio::sync::Semaphore;

use crate::book::{Book, Books, remove};
use crate::clock::now;
use crate::objects::{Objects, blocking};
use crate::record::{Record as _, SignatureRecord};
use crate::{Options, ServerError};

/// Takes and keeps signatures.
#[derive(Debug)]
pub(crate) struct Signatures {
    books: Arc<Books>,
    objects: Objects,
    quota: Quota,
    /// How many each device is sending.
    sending: Mutex<HashMap<Name, usize>>,
    readers: Semaphore,
    /// One is kept and noted at a time: of two of one release, what is noted would be the one and what is kept the other.
    noting: tokio::sync::Mutex<()>,
}

/// What of one device's is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) count: usize,
    pub(crate) bytes: u64,
}

impl Quota {
    pub(crate) fn of(options: &Options) -> Self {
        Self { count: options.signatures_per_device.max(1), bytes: options.signature_bytes_per_device }
    }
}

/// How many a device may be sending: one, and one whose connection was lost without the server's having noticed.
const SENDING: usize = 2;
/// How many are read at the same time: each is in memory then, all of it.
const READERS: usize = 2;

/// A place for a signature that is being sent, until this is dropped.
pub(crate) struct Sending {
    signatures: Arc<Signatures>,
    by: Option<Name>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Some(by) = &self.by else { return };
        let mut sending = self.signatures.sending();
        if let Some(count) = sending.get_mut(by) {
            *count -= 1;
            if *count == 0 {
                sending.remove(by);
            }
        }
    }
}

/// Where a signature is kept.
pub(crate) fn signature_name(release: &ReleaseId) -> String {
    format!("signatures/{release}")
}

impl Signatures {
    pub(crate) fn new(books: Arc<Books>, objects: Objects, quota: Quota) -> Self {
        let (sending, noting) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { books, objects, quota, sending, readers: Semaphore::new(READERS), noting }
    }

    fn sending(&self) -> MutexGuard<'_, HashMap<Name, usize>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to send one from.
    pub(crate) fn place(self: &Arc<Self>, by: Option<Name>) -> Result<Sending, Problem> {
        if let Some(by) = &by {
            let mut sending = self.sending();
            let count = sending.entry(by.clone()).or_default();
            if *count >= SENDING {
                let detail = format!("the device is sending {SENDING} signatures already");
                return Err(Problem::new(ProblemCode::Busy, detail));
            }
            *count += 1;
        }
        Ok(Sending { signatures: Arc::clone(self), by })
    }

    /// Takes what was sent as the signature of a release, from a device where one sent it: that may have deltas from the release then.
    pub(crate) async fn take(
        &self,
        release: ReleaseId,
        file: tempfile::TempPath,
        sending: Sending,
    ) -> Result<(), ServerError> {
        let (file, bytes) = {
            let _reader = self.readers.acquire().await.map_err(|_| ServerError::GoingDown)?;
            blocking(move || read(release, file)).await?
        };
        let by = sending.by.clone();
        let _noting = self.noting.lock().await;
        let is_known = || self.books.read().is_known(release);
        if let Some(by) = by.clone().filter(|_| !is_known()) {
            self.make_room(by, bytes).await?;
        }
        let _keeping = self.objects.keeping().await;
        let is_known = is_known();
        if !is_known {
            self.objects.keep(&signature_name(&release), &file).await?;
        }
        let books = Arc::clone(&self.books);
        blocking(move || {
            books.change(|book| {
                let device = by.as_ref().and_then(|by| book.devices.get(by)).cloned();
                let device = device.map(|device| device.with_base(release).put());
                let signature = SignatureRecord { release: Text(release), bytes, at: now(), by };
                let signature = (!is_known).then(|| signature.put());
                Ok::<_, ServerError>((signature.into_iter().chain(device).collect(), ()))
            })
        })
        .await
    }

    /// Removes those that a device sent longest ago, until there is room for one more.
    async fn make_room(&self, by: Name, bytes: u64) -> Result<(), ServerError> {
        let _removing = self.objects.removing().await;
        let (books, quota) = (Arc::clone(&self.books), self.quota);
        let over = blocking(move || {
            books.change(|book| {
                let over = over(book, &by, quota.less(bytes));
                Ok::<_, ServerError>((over.iter().map(remove).collect(), over))
            })
        });
        for signature in over.await? {
            let name = signature_name(&signature.release.0);
            self.objects.remove(&name).await?;
            tracing::info!(name, "made room for another signature of the same device");
        }
        Ok(())
    }
}

impl Quota {
    /// What is left beside one more.
    fn less(self, bytes: u64) -> Self {
        Self { count: self.count.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// What a device sent longest ago and there is no room for.
fn over(book: &Book, by: &Name, quota: Quota) -> Vec<SignatureRecord> {
    let own = book.signatures.values().filter(|signature| signature.by.as_ref() == Some(by));
    let mut own: Vec<&SignatureRecord> = own.collect();
    own.sort_by_key(|signature| std::cmp::Reverse(signature.at));
    let (mut count, mut sum) = (0, 0_u64);
    let is_over = |signature: &&SignatureRecord| {
        count += 1;
        sum = sum.saturating_add(signature.bytes);
        count > quota.count || sum > quota.bytes
    };
    own.into_iter().filter(is_over).cloned().collect()
}

/// Reads a signature, all of it: it has to be that of the release.
fn read(release: ReleaseId, file: tempfile::TempPath) -> Result<(tempfile::TempPath, u64), ServerError> {
    let opened = std::fs::File::open(&file).map_err(ServerError::io("opening", &*file))?;
    let bytes = opened.metadata().map_err(ServerError::io("reading", &*file))?.len();
    let signature = TreeSignature::read(std::io::BufReader::new(opened), &Limits::default())?;
    let signed = signature.release_id();
    if signed != release {
        let detail = format!("it is a signature of {signed}");
        return Err(Problem::new(ProblemCode::Unprocessable, detail).into());
    }
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_sent_longest_ago_makes_room() {
        let (pump, valve): (Name, Name) = ("pump-1".parse().unwrap(), "valve-1".parse().unwrap());
        let mut book = Book::default();
        for (at, by) in [(1, &pump), (2, &pump), (3, &pump), (0, &valve)] {
            let release = ReleaseId::of(&[at]);
            let (at, by) = (u64::from(at), Some(by.clone()));
            book.signatures.insert(release, SignatureRecord { release: Text(release), bytes: 10, at, by });
        }
        let at = |count, bytes| -> Vec<u64> {
            over(&book, &pump, Quota { count, bytes }).iter().map(|signature| signature.at).collect()
        };
        assert_eq!(at(3, 30), [0; 0]);
        assert_eq!(at(2, 30), [1]);
        assert_eq!(at(3, 19), [2, 1]);
        assert_eq!(at(0, 0), [3, 2, 1]);
        assert_eq!(at(3, Quota { count: 0, bytes: 25 }.less(5).bytes), [1]);
    }
}
