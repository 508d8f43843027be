//! Deltas that were made before a key was there to sign them: they are signed as they lie.

use std::fs::File;
use std::io::{BufReader, Read};

use sha2::{Digest as _, Sha256};
use skiff_format::{FormatError, Header, Limits, Signatures, replace_signatures};
use skiff_protocol::ProblemCode;
use skiff_tree::ContentDigest;

use crate::ServerError;
use crate::deltas::{Deltas, Settings, Wanted};
use crate::encode::Encoded;
use crate::objects::blocking;
use crate::record::Found;

impl Settings {
    /// Whether a delta is there that lacks the signature of one of the keys; or whether there is none because the image takes less to
    /// pull, which is no reason where deltas are signed: those who want signatures do not pull.
    pub(crate) fn is_to_be_signed(&self, found: &Found) -> bool {
        match found {
            Found::Made { keys: signed, .. } => {
                self.keys.iter().any(|key| !signed.iter().any(|signed| signed.0 == *key.public().id()))
            }
            Found::None { problem, .. } => !self.keys.is_empty() && problem.code == ProblemCode::PullCheaper,
        }
    }
}

impl Deltas {
    /// Signs the delta that is kept, by the keys that there are now and no others; none where there is none that is to be signed, or
    /// where what lies there is not what was put there: whoever can write to the object store is not to have it signed.
    pub(crate) async fn sign_kept(&self, wanted: &Wanted) -> Result<Option<Encoded>, ServerError> {
        let name = wanted.name();
        let (object, kept_digest) = {
            let book = self.parts.books.read();
            let record = book.deltas.get(&name).filter(|record| self.settings.is_to_be_signed(&record.found));
            match record.map(|record| (record.object(), &record.found)) {
                Some((Some(object), Found::Made { digest, .. })) => (object, digest.clone()),
                _ => return Ok(None),
            }
        };
        let spool = self.parts.images.spool().to_owned();
        let kept = spool.join(format!("{name}.unsigned"));
        if !self.parts.objects.fetch(&object, &kept).await? {
            return Ok(None);
        }
        let keys = self.settings.keys.clone();
        blocking(move || {
            let file = File::open(&kept).map_err(ServerError::io("opening", &kept))?;
            let found = digest_of(&file).map_err(ServerError::io("reading", &kept))?;
            if found != kept_digest {
                let _ = std::fs::remove_file(&kept);
                tracing::error!(
                    delta = name,
                    found,
                    kept = kept_digest,
                    "a delta that is kept is another one"
                );
                return Ok(None);
            }
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

/// The SHA-256 of a file's content, as records have it.
fn digest_of(file: &File) -> std::io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    let mut file = BufReader::new(file);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(ContentDigest::from_bytes(hasher.finalize().into()).to_string()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
