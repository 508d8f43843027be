//! Making one delta.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sha2::{Digest as _, Sha256};
use skiff_diff::{Options, Release, Report};
use skiff_format::Header;
use skiff_fs::Control;
use skiff_image::{FlatImage, LayerInfo, pull_size};
use skiff_keys::{KeyId, PrivateKey};
use skiff_protocol::{Problem, ProblemCode, Stage};
use skiff_signature::TreeSignature;
use skiff_tree::ContentDigest;

use crate::ServerError;
use crate::deltas::{Settings, Wanted};
use crate::progress::Progress;

/// What a delta is made from.
pub(crate) enum Side {
    Image(Arc<FlatImage>),
    Signature(Box<TreeSignature>),
}

/// Everything that it takes to make a delta, for a thread of its own.
pub(crate) struct Work {
    pub(crate) wanted: Wanted,
    pub(crate) base: Side,
    pub(crate) target: Arc<FlatImage>,
    pub(crate) settings: Settings,
    pub(crate) spool: PathBuf,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) progress: Arc<Progress>,
}

/// A delta in a file that goes unless it is kept.
pub(crate) struct Encoded {
    pub(crate) bytes: u64,
    pub(crate) digest: String,
    pub(crate) keys: Vec<KeyId>,
    pub(crate) file: tempfile::TempPath,
}

impl Encoded {
    /// What `write` writes to a file in the spool, signed by these keys, and what it says of that.
    pub(crate) fn write<T>(
        (spool, keys): (&Path, &[PrivateKey]),
        write: impl FnOnce(&mut Hashing) -> Result<T, ServerError>,
    ) -> Result<(Self, T), ServerError> {
        let file =
            tempfile::NamedTempFile::new_in(spool).map_err(ServerError::io("making a file in", spool))?;
        let mut out = Hashing { inner: BufWriter::new(file), hasher: Sha256::new(), bytes: 0 };
        let said = write(&mut out)?;
        let (bytes, digest) =
            (out.bytes, ContentDigest::from_bytes(out.hasher.finalize().into()).to_string());
        let file = out
            .inner
            .into_inner()
            .map_err(|error| ServerError::io("writing in", spool)(error.into_error()))?;
        let keys = keys.iter().map(|key| *key.public().id()).collect();
        Ok((Self { bytes, digest, keys, file: file.into_temp_path() }, said))
    }
}

impl Work {
    /// Makes it.
    pub(crate) fn encode(&self) -> Result<(Encoded, Report), ServerError> {
        let Self { wanted, target, settings, spool, progress, .. } = self;
        if let Some(before_each) = &settings.before_each {
            before_each.0(wanted.base, wanted.target);
        }
        let base_tree = match &self.base {
            Side::Image(base) => &base.tree,
            Side::Signature(base) => base.tree(),
        };
        progress.enter(Stage::Comparing, target.tree.content_bytes_missing_from(base_tree));
        let advance = |bytes| progress.advance(bytes);
        let pulled: &[LayerInfo] = match &self.base {
            Side::Image(base) => &base.layers,
            Side::Signature(_) => &[],
        };
        let sign = |header: &Header| skiff_keys::signatures(header, &settings.keys);
        let options = Options {
            level: settings.level,
            memory: settings.memory,
            pull_bytes: Some(pull_size(&target.layers, pulled)),
            spool: Some(spool),
            max_decoder_memory: wanted.variant.max_decoder_memory(),
            ideas: wanted.variant.ideas(),
            sign: (!settings.keys.is_empty()).then_some(&sign),
            control: Control { cancel: Some(&self.cancel), progress: Some(&advance), ..Control::default() },
            ..Options::default()
        };
        Encoded::write((spool, &settings.keys), |out| {
            Ok(match &self.base {
                Side::Image(base) => skiff_diff::diff(&release(base), &release(target), &options, out)?,
                Side::Signature(base) => skiff_diff::diff_against(base, &release(target), &options, out)?,
            })
        })
    }
}

/// A file in the spool that is hashed as it is written.
pub(crate) struct Hashing {
    inner: BufWriter<tempfile::NamedTempFile>,
    hasher: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn release(image: &FlatImage) -> Release<'_> {
    Release {
        config: image.config.as_deref(),
        manifest: image.manifest.as_deref(),
        ..Release::new(&image.tree, &image.contents)
    }
}

/// Why a delta is of no use to the devices that it was made for, if it is.
pub(crate) fn useless(wanted: &Wanted, report: &Report) -> Option<Problem> {
    if let Some(codec) = report.codecs.iter().find(|used| !wanted.variant.has(used.codec)) {
        let detail = format!("the delta takes the codec {}, which the device lacks", codec.codec.name());
        return Some(Problem::new(ProblemCode::NotForDevice, detail));
    }
    if report.is_smaller_than_pull() == Some(false) {
        let (delta, pull) = (report.delta_bytes, report.pull_bytes.unwrap_or_default());
        let detail = format!("the delta takes {delta} bytes, and pulling the layers that are missing {pull}");
        return Some(Problem::new(ProblemCode::PullCheaper, detail));
    }
    None
}
