//! Deltas that are kept: as many as there is room for, and as long as they are there.

use std::sync::Arc;

use crate::ServerError;
use crate::book::{Book, Books, remove};
use crate::deltas::Deltas;
use crate::objects::blocking;
use crate::record::DeltaRecord;

/// Forgets what another version of the encoder could not make smaller than a pull, or at all.
pub(crate) fn forget_outdated(books: &Books) -> Result<(), ServerError> {
    books.change(|book| {
        let outdated = book.deltas.values().filter(|delta| delta.found.is_outdated());
        Ok::<_, ServerError>((outdated.map(remove).collect(), ()))
    })
}

fn kept_bytes(book: &Book) -> u64 {
    book.deltas.values().map(DeltaRecord::bytes).sum()
}

impl Deltas {
    /// Tells how much is kept.
    pub(crate) fn measure(&self) {
        let bytes = kept_bytes(&self.parts.books.read());
        self.parts.metrics.kept_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Forgets a delta that is noted and not there.
    pub(crate) async fn forget(&self, record: DeltaRecord) -> Result<(), ServerError> {
        let _removing = self.parts.objects.removing().await;
        let Some(object) = record.object() else { return Ok(()) };
        if self.parts.objects.size(&object).await?.is_some() {
            return Ok(());
        }
        let books = Arc::clone(&self.parts.books);
        blocking(move || {
            books.change(|book| {
                // One that was signed since it was looked at is another object, which is there.
                let noted = book.deltas.get(&record.name).filter(|noted| noted.object() == Some(object));
                Ok::<_, ServerError>((noted.map(remove).into_iter().collect(), ()))
            })
        })
        .await?;
        self.measure();
        Ok(())
    }

    /// Removes the deltas that were asked for longest ago, until the others keep to the limit; never the one named.
    pub(crate) async fn collect(self: &Arc<Self>, newest: &str) -> Result<(), ServerError> {
        let (this, newest) = (Arc::clone(self), newest.to_owned());
        // Nobody keeps a delta under one of the names meanwhile, which would go then.
        let _removing = self.parts.objects.removing().await;
        let removed = blocking(move || {
            this.parts.books.change(|book| {
                let over = over(book, &newest, this.settings.kept_bytes);
                Ok::<_, ServerError>((over.iter().map(remove).collect(), over))
            })
        });
        let removed = removed.await?;
        self.measure();
        for object in removed.iter().filter_map(DeltaRecord::object) {
            match self.parts.objects.remove(&object).await {
                Ok(()) => tracing::info!(object, "collected a delta"),
                Err(error) => tracing::error!(%error, object, "a delta lies there that is not noted"),
            }
        }
        Ok(())
    }
}

/// What was asked for longest ago and there is no room for.
fn over(book: &Book, newest: &str, limit: u64) -> Vec<DeltaRecord> {
    let mut sum = kept_bytes(book);
    let mut oldest: Vec<&DeltaRecord> =
        book.deltas.values().filter(|record| record.bytes() > 0 && record.name != newest).collect();
    oldest.sort_by_key(|record| record.used);
    let over = oldest.into_iter().take_while(|record| {
        let is_over = sum > limit;
        sum -= if is_over { record.bytes() } else { 0 };
        is_over
    });
    over.cloned().collect()
}
