//! What nobody needs any more, swept away: images that no release names, signatures of what no device runs, deltas of which an end is
//! gone, and objects that no record names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use skiff_image::BlobDigest;
use skiff_protocol::ReleaseState;
use skiff_tree::ReleaseId;

use crate::ServerError;
use crate::book::{Book, ready, remove};
use crate::clock::now;
use crate::database::Change;
use crate::images::{blobs, tree_name};
use crate::objects::blocking;
use crate::record::{DELTAS, DeltaRecord, ImageRecord};
use crate::releases::Releases;
use crate::signatures::signature_name;

/// How long a signature is kept of a release that no device is recorded to run, in seconds: a device may be about to say so.
const SIGNATURE_KEPT: u64 = 24 * 60 * 60;

/// How long it is from one sweep to the next.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where objects are. What else may be there is none of ours.
const DIRECTORIES: [&str; 4] = ["blobs/sha256", "trees", "signatures", DELTAS];

impl Releases {
    /// Sweeps beside whatever else is done, and tells the log of what goes wrong: the next time does what this one did not.
    pub(crate) fn sweep_beside(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            match this.sweep().await {
                Ok(()) | Err(ServerError::GoingDown) => {}
                Err(error) => tracing::error!(%error, "sweeping away what nobody needs failed"),
            }
            // There may be less room for them than there was.
            if let Err(error) = this.deltas.collect("").await {
                tracing::error!(%error, "collecting deltas failed");
            }
            this.images.collect_copies_beside();
        });
    }

    /// Sweeps once a day, for as long as the server is there.
    pub(crate) fn sweep_daily(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(DAY).await;
                // Held only while it sweeps: nothing else of a server that has ended is to be kept from it.
                let Some(this) = this.upgrade() else { return };
                this.sweep_beside();
            }
        });
    }

    async fn sweep(&self) -> Result<(), ServerError> {
        // What is being taken in is noted only then.
        let _taking = self.taking.lock().await;
        let objects = &self.deltas.parts.objects;
        let _removing = objects.removing().await;
        let books = Arc::clone(&self.books);
        let kept = blocking(move || {
            books.change(|book| {
                let kept = Kept::of(book, now());
                Ok::<_, ServerError>((kept.removals(book), kept))
            })
        });
        let Kept { images, blobs, names, is_preparing, .. } = kept.await?;
        let layout = Arc::clone(&self.images);
        blocking(move || {
            layout.keep_only(&images, &blobs)?;
            // What is being prepared goes on where it was cut.
            if is_preparing { Ok(()) } else { layout.discard_parts() }
        })
        .await?;
        for directory in DIRECTORIES {
            for name in objects.names(directory).await? {
                if !names.contains(&name) {
                    objects.remove(&name).await?;
                    tracing::info!(name, "swept away");
                }
            }
        }
        Ok(())
    }
}

/// What is needed still.
struct Kept {
    images: HashSet<ReleaseId>,
    signatures: HashSet<ReleaseId>,
    blobs: HashSet<BlobDigest>,
    /// Of objects.
    names: HashSet<String>,
    /// Whether there are images to be taken in.
    is_preparing: bool,
}

impl Kept {
    fn of(book: &Book, now: u64) -> Self {
        // A device may be updated from what it runs, whichever fleet that was a release of.
        let running = book.devices.values().filter_map(|device| {
            let running = device.running()?;
            book.may_start_from(device, running).then_some(running)
        });
        let running: HashSet<ReleaseId> = running.collect();
        let made = book.jobs.values().flat_map(|job| [job.base.0, job.target.0]);
        let needed: HashSet<ReleaseId> =
            book.releases.values().filter_map(ready).chain(running.iter().copied()).chain(made).collect();
        let images: Vec<&ImageRecord> =
            book.images.values().filter(|image| needed.contains(&image.release.0)).collect();
        let signatures = book.signatures.values().filter(|signature| {
            needed.contains(&signature.release.0) || signature.at.saturating_add(SIGNATURE_KEPT) > now
        });
        let mut kept = Self {
            blobs: images.iter().flat_map(|image| blobs(image)).collect(),
            images: images.iter().map(|image| image.release.0).collect(),
            signatures: signatures.map(|signature| signature.release.0).collect(),
            names: HashSet::new(),
            is_preparing: book.releases.values().any(|release| release.state == ReleaseState::Preparing),
        };
        kept.names = kept.blobs.iter().map(BlobDigest::blob_name).collect();
        kept.names.extend(kept.images.iter().map(tree_name));
        kept.names.extend(kept.signatures.iter().map(signature_name));
        let deltas = book.deltas.values().filter(|delta| kept.has_ends(delta.base.0, delta.target.0));
        let deltas: Vec<String> = deltas.filter_map(DeltaRecord::object).collect();
        kept.names.extend(deltas);
        kept
    }

    /// Whether both releases are there that a delta is between.
    fn has_ends(&self, base: ReleaseId, target: ReleaseId) -> bool {
        (self.images.contains(&base) || self.signatures.contains(&base)) && self.images.contains(&target)
    }

    /// Takes all else out of the book.
    fn removals(&self, book: &Book) -> Vec<Change> {
        let images = book.images.values().filter(|image| !self.images.contains(&image.release.0));
        let signatures =
            book.signatures.values().filter(|signature| !self.signatures.contains(&signature.release.0));
        let deltas = book.deltas.values().filter(|delta| !self.has_ends(delta.base.0, delta.target.0));
        images.map(remove).chain(signatures.map(remove)).chain(deltas.map(remove)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Table;
    use crate::record::{Found, SignatureRecord};
    use skiff_protocol::{Problem, ProblemCode, Text};

    #[test]
    fn signatures_that_no_device_needs_are_kept_for_a_day() {
        let base = ReleaseId::of(b"base");
        let mut book = Book::default();
        book.signatures.insert(base, SignatureRecord { release: Text(base), bytes: 1, at: 1000, by: None });
        let found = Found::none(Problem::new(ProblemCode::PullCheaper, ""));
        let (name, target) = ("delta".to_owned(), Text(ReleaseId::of(b"target")));
        book.deltas.insert(name.clone(), DeltaRecord { name, base: Text(base), target, found, used: 0 });
        let gone = |now: u64| -> Vec<Table> {
            let changes = Kept::of(&book, now).removals(&book);
            let tables = changes.into_iter().map(|change| match change {
                Change::Remove { table, .. } | Change::Put { table, .. } => table,
            });
            tables.collect()
        };
        // The target of the delta is not there in the first place.
        assert_eq!(gone(1000 + SIGNATURE_KEPT - 1), [Table::Deltas]);
        assert_eq!(gone(1000 + SIGNATURE_KEPT), [Table::Signatures, Table::Deltas]);
        assert!(Kept::of(&book, 1000).names.contains(&signature_name(&base)));
    }
}
