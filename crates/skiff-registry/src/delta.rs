//! Deltas as artifacts: how they are described.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use skiff_format::{CodecInfo, Decoder, Digest, Event, FormatError, Header, VERSION};
use skiff_image::BlobDigest;
use skiff_image::documents::Descriptor;
use skiff_tree::ReleaseId;

use crate::RegistryError;

/// What kind of artifact a delta is, and what its one layer is.
pub const DELTA_TYPE: &str = "application/vnd.skiff.delta.v1";

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// What the specification has for an artifact that needs no config: `{}`.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const EMPTY: &[u8] = b"{}";

/// The names of what a delta's manifest says of it.
mod names {
    pub(super) const BASE: &str = "io.github.skiff-update.delta.base";
    pub(super) const BASE_MANIFEST: &str = "io.github.skiff-update.delta.base-manifest";
    pub(super) const TARGET: &str = "io.github.skiff-update.delta.target";
    pub(super) const BYTES: &str = "io.github.skiff-update.delta.bytes";
    pub(super) const NEW_BYTES: &str = "io.github.skiff-update.delta.new-bytes";
    pub(super) const DECODER_MEMORY: &str = "io.github.skiff-update.delta.decoder-memory";
    pub(super) const FORMAT: &str = "io.github.skiff-update.delta.format";
    pub(super) const CODECS: &str = "io.github.skiff-update.delta.codecs";
    pub(super) const SIGNED_BY: &str = "io.github.skiff-update.delta.signed-by";
}

/// What a device wants to know of a delta to choose it. It is said beside the delta, and is no more to be trusted than the delta
/// is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeltaInfo {
    /// The releases that it applies to.
    pub bases: Vec<ReleaseId>,
    /// The digest of the base's manifest, where whoever made the delta knew it.
    pub base_manifest: Option<BlobDigest>,
    /// The release that it leads to.
    pub target: ReleaseId,
    /// Bytes of the delta.
    pub bytes: u64,
    /// Bytes that the device has to write.
    pub new_bytes: u64,
    /// Bytes of memory that decoding takes at most.
    pub decoder_memory: u64,
    /// The version of the delta's format.
    pub format: u16,
    /// The codecs that it takes to decode it, ascending.
    pub codecs: Vec<CodecInfo>,
    /// The ids of the keys that it says signed it, in the order of its signatures.
    pub signed_by: Vec<Digest>,
}

/// The manifest of an artifact.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ArtifactManifest {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType", default)]
    media_type: String,
    #[serde(rename = "artifactType", default)]
    pub(crate) artifact_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default)]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl DeltaInfo {
    /// What a delta's header says.
    #[must_use]
    pub fn of_header(header: &Header) -> Self {
        let release = |digest: &skiff_format::Digest| ReleaseId::from_bytes(*digest.as_bytes());
        Self {
            bases: header.bases().iter().map(|base| release(&base.release)).collect(),
            base_manifest: None,
            target: release(&header.target().release),
            bytes: header.delta_size(),
            new_bytes: header.facts().new_bytes,
            decoder_memory: header.facts().decoder_memory,
            format: VERSION,
            codecs: header.codecs().to_vec(),
            signed_by: header.signatures().all().iter().map(|signature| signature.key).collect(),
        }
    }

    /// What is said of a delta where it is kept. None where that is no delta, or not said as [`annotations`](Self::annotations)
    /// says it.
    #[must_use]
    pub fn of_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let find = |name| annotations.get(name).map(String::as_str);
        let number = |name| find(name)?.parse::<u64>().ok();
        let codec = |text: &str| {
            let (id, version) = text.split_once('.')?;
            Some(CodecInfo { id: id.parse().ok()?, version: version.parse().ok()? })
        };
        let list = |text: &'_ str| {
            text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let bases: Vec<ReleaseId> =
            list(find(names::BASE)?).iter().map(|base| base.parse().ok()).collect::<Option<_>>()?;
        // It is not said of what nobody signed.
        let signed_by = find(names::SIGNED_BY).map_or(Vec::new(), list);
        let base_manifest = match find(names::BASE_MANIFEST) {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        Some(Self {
            bases,
            base_manifest,
            target: find(names::TARGET)?.parse().ok()?,
            bytes: number(names::BYTES)?,
            new_bytes: number(names::NEW_BYTES)?,
            decoder_memory: number(names::DECODER_MEMORY)?,
            format: find(names::FORMAT)?.parse().ok()?,
            codecs: list(find(names::CODECS)?).iter().map(|text| codec(text)).collect::<Option<_>>()?,
            signed_by: signed_by.iter().map(|key| key.parse().ok()).collect::<Option<_>>()?,
        })
    }

    /// The same as a manifest says it: texts by name.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let join = |items: Vec<String>| items.join(",");
        let codec = |codec: &CodecInfo| format!("{}.{}", codec.id, codec.version);
        let signed_by = join(self.signed_by.iter().map(ToString::to_string).collect());
        let said = [
            (names::BASE, Some(join(self.bases.iter().map(ToString::to_string).collect()))),
            (names::BASE_MANIFEST, self.base_manifest.map(|digest| digest.to_string())),
            (names::TARGET, Some(self.target.to_string())),
            (names::BYTES, Some(self.bytes.to_string())),
            (names::NEW_BYTES, Some(self.new_bytes.to_string())),
            (names::DECODER_MEMORY, Some(self.decoder_memory.to_string())),
            (names::FORMAT, Some(self.format.to_string())),
            (names::CODECS, Some(join(self.codecs.iter().map(codec).collect()))),
            (names::SIGNED_BY, Some(signed_by).filter(|keys| !keys.is_empty())),
        ];
        said.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))).collect()
    }

    /// Whether it applies to a release.
    #[must_use]
    pub fn applies_to(&self, release: ReleaseId) -> bool {
        self.bases.contains(&release)
    }
}

impl ArtifactManifest {
    pub(crate) fn new(subject: Descriptor, layer: Descriptor, info: &DeltaInfo) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST_TYPE.into(),
            artifact_type: DELTA_TYPE.into(),
            config: Descriptor::new(EMPTY_TYPE, BlobDigest::of(EMPTY), EMPTY.len() as u64),
            layers: vec![layer],
            subject: Some(subject),
            annotations: info.annotations(),
        }
    }
}

/// The header of a delta that is in a file, as long as it says.
pub(crate) fn read_header(path: &Path, mut file: &File) -> Result<Header, RegistryError> {
    let failed = |source| RegistryError::Delta { path: path.into(), source };
    let mut decoder = Decoder::new(skiff_format::Limits::default());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let wanted = decoder.missing().clamp(1, buffer.len());
        let count = file.read(&mut buffer[..wanted]).map_err(RegistryError::io("reading", path))?;
        if count == 0 {
            let ends = FormatError::Corrupt { offset: 0, what: "it ends within its header".into() };
            return Err(failed(decoder.finish().err().unwrap_or(ends)));
        }
        if let Some(Event::Header(header)) = decoder.push(&mut &buffer[..count]).map_err(failed)? {
            let found = file.metadata().map_err(RegistryError::io("looking at", path))?.len();
            if found == header.delta_size() {
                return Ok(*header);
            }
            let what = format!("it has {found} bytes, and should have {}", header.delta_size());
            return Err(failed(FormatError::Corrupt { offset: found.min(header.delta_size()), what }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> DeltaInfo {
        let release = |byte| ReleaseId::from_bytes([byte; 32]);
        DeltaInfo {
            bases: vec![release(1), release(2)],
            base_manifest: Some(BlobDigest::of(b"base")),
            target: release(3),
            bytes: 4,
            new_bytes: 5,
            decoder_memory: 6,
            format: 0,
            codecs: vec![CodecInfo { id: 1, version: 0 }, CodecInfo { id: 7, version: 2 }],
            signed_by: vec![Digest::of(b"one key"), Digest::of(b"another")],
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        let without = DeltaInfo { base_manifest: None, codecs: Vec::new(), signed_by: Vec::new(), ..info() };
        for info in [info(), without] {
            assert_eq!(DeltaInfo::of_annotations(&info.annotations()), Some(info));
        }
    }

    #[test]
    fn what_is_not_said_well_is_no_delta() {
        let whole = info().annotations();
        for name in whole.keys() {
            let mut annotations = whole.clone();
            annotations.insert(name.clone(), "x.y".into());
            assert_eq!(DeltaInfo::of_annotations(&annotations), None, "{name}");
            annotations.remove(name);
            let is_needed = name != names::BASE_MANIFEST && name != names::SIGNED_BY;
            assert_eq!(DeltaInfo::of_annotations(&annotations).is_none(), is_needed, "{name}");
        }
    }
}
