//! Deltas that were made before a key was there to sign them: they are signed as they lie.

use std::fs::File;
use std::io::BufReader;

use skiff_format::{FormatError, Header, Limits, Signatures, replace_signatures};

use crate::ServerError;
use crate::deltas::{Deltas, Settings, Wanted, object_name};
use crate::encode::Encoded;
use crate::objects::blocking;
use crate::record::Found;

impl Settings {
    /// Whether a delta is there that lacks the signature of one of the keys.
    pub(crate) fn is_to_be_signed(&self, found: &Found) -> bool {
        match found {
            Found::Made { keys: signed, .. } => {
                self.keys.iter().any(|key| !signed.iter().any(|signed| signed.0 == *key.public().id()))
            }
            Found::None { .. } => false,
        }
    }
}

impl Deltas {
    /// Signs the delta that is kept, by the keys that there are now and no others; none where there is none that is to be signed and
    /// sound.
    pub(crate) async fn sign_kept(&self, wanted: &Wanted) -> Result<Option<Encoded>, ServerError> {
        let name = wanted.name();
        let is_kept = {
            let book = self.parts.books.read();
            book.deltas.get(&name).is_some_and(|record| self.settings.is_to_be_signed(&record.found))
        };
        let spool = self.parts.images.spool().to_owned();
        let kept = spool.join(format!("{name}.unsigned"));
        if !is_kept || !self.parts.objects.fetch(&object_name(&name), &kept).await? {
            return Ok(None);
        }
        let keys = self.settings.keys.clone();
        blocking(move || {
            let file = File::open(&kept).map_err(ServerError::io("opening", &kept))?;
            let signed = Encoded::write((&spool, &keys), |out| {
                let choose = |header: &Header| {
                    let mut signatures = Signatures::default();
                    keys.iter().try_for_each(|key| signatures.add(key.signature(header.digest())))?;
                    Ok::<_, FormatError>(signatures)
                };
                Ok(replace_signatures(BufReader::new(file), Limits::default(), out, choose))
            });
            // What is left there goes with the next start.
            let _ = std::fs::remove_file(&kept);
            match signed? {
                (signed, Ok(_)) => Ok(Some(signed)),
                (_, Err(FormatError::Io { source, .. })) => Err(ServerError::io("signing", kept)(source)),
                // It was damaged where it lay: it is made anew.
                (_, Err(error)) => {
                    tracing::error!(%error, delta = name, "a delta that is kept is damaged");
                    Ok(None)
                }
            }
        })
        .await
    }
}
