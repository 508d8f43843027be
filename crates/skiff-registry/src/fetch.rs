//! Images, fetched.

use std::collections::HashSet;

use skiff_image::documents::{Chosen, Descriptor, Document, INDEXES_MAX, check_platform, choose};
use skiff_image::{BlobDigest, ImageRef, Part, Platform};
use ureq::http::header::{ACCEPT, CONTENT_TYPE};

use crate::download::{Moved, Wanted};
use crate::error::shown;
use crate::layout::BlobPlace;
use crate::session::{Answered, Call, Session};
use crate::{Client, Layout, Reference, RegistryError, Repository, Version};

/// What is asked for where a manifest is: what images have, OCI's and docker's.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
/// What nobody has written since 2017: it names layers in no order that a digest protects.
const OLD_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v1";

/// What an image consists of, before its layers are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// Its manifest, of the platform that was asked for, by digest.
    pub reference: Reference,
    /// The digest of the manifest.
    pub digest: BlobDigest,
    /// The manifest's media type, digest and size.
    pub manifest: Descriptor,
    /// The manifest's bytes, as the digest has them.
    pub manifest_bytes: Vec<u8>,
    /// The image's config.
    pub config: Descriptor,
    /// Its layers, from the bottom up.
    pub layers: Vec<Descriptor>,
    /// Whether an index said that it is for the platform, so that its config need not be asked.
    is_for_platform: bool,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The digest of the image's manifest, of the platform that was asked for.
    pub manifest: BlobDigest,
    /// What opens the image.
    pub image: ImageRef,
    /// Bytes that came from the registry.
    pub transferred: u64,
    /// Bytes that were in the layout already.
    pub reused: u64,
}

impl Resolved {
    /// Bytes of the manifest, the config and the layers, each once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut known = HashSet::new();
        let blobs = self.layers.iter().chain([&self.config]).filter(|blob| known.insert(&blob.digest));
        blobs.fold(self.manifest.size, |sum, blob| sum.saturating_add(blob.size))
    }
}

impl Client<'_> {
    /// Finds out what a tag or digest names. Of an image for several platforms, the one for `platform` is taken, chosen as
    /// [`Image::open`](skiff_image::Image::open) does.
    ///
    /// # Errors
    /// Any [`RegistryError`]; [`RegistryError::NotFound`] where there is no such image, and [`RegistryError::Image`] where there is
    /// none for the platform.
    pub fn resolve(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Resolved, RegistryError> {
        self.session(|session| session.resolve(reference, platform, None).map(|(resolved, _)| resolved))
    }

    /// Fetches an image into a layout: its manifest, its config and its layers, but for what is there. Of an image for several
    /// platforms, the one for `platform` is fetched, chosen as [`Image::open`](skiff_image::Image::open) does.
    ///
    /// Every blob's digest and size are checked. What was interrupted goes on where it was, in this process or another.
    ///
    /// # Errors
    /// Any [`RegistryError`]; its [`class`](RegistryError::class) says what to do about it.
    pub fn fetch(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        layout: &Layout,
    ) -> Result<Fetched, RegistryError> {
        self.session(|session| {
            let (resolved, moved) = session.resolve(reference, platform, Some(layout))?;
            session.fetch(&resolved, platform, (layout, moved))
        })
    }

    /// Fetches an image as [`fetch`](Self::fetch) does, of which it was found out already what it consists of: for whoever wants to
    /// know before how much that is. `platform` is the one it was resolved for.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch).
    pub fn fetch_resolved(
        &self,
        resolved: &Resolved,
        platform: Option<&Platform>,
        layout: &Layout,
    ) -> Result<Fetched, RegistryError> {
        self.session(|session| {
            let size = resolved.manifest_bytes.len() as u64;
            layout.put_document(&resolved.digest, &resolved.manifest_bytes, session.control)?;
            session.control.advance(size);
            session.fetch(resolved, platform, (layout, Moved { transferred: size, reused: 0 }))
        })
    }
}

/// The bytes of a document and what the registry says they are.
struct Fetchable {
    bytes: Vec<u8>,
    media_type: String,
}

impl Session<'_> {
    /// Follows indexes to a manifest. What is in the layout is not fetched, and what is fetched is put there.
    pub(crate) fn resolve(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        layout: Option<&Layout>,
    ) -> Result<(Resolved, Moved), RegistryError> {
        let repository = reference.repository();
        let (mut reference, mut is_for_platform, mut moved) = (reference.clone(), false, Moved::default());
        let mut named_as = None;
        for _ in 0..=INDEXES_MAX {
            let place = reference.to_string();
            let (document, digest) = self.manifest(&reference, named_as.as_ref(), layout, &mut moved)?;
            let of_image = || RegistryError::image(&place);
            match Document::parse(&document.bytes, &document.media_type).map_err(of_image())? {
                Document::Index(manifests) => {
                    let chosen = choose(manifests, platform, &place).map_err(of_image())?;
                    Chosen { is_for_platform, .. } = chosen;
                    let digest = chosen.descriptor.blob_digest(Part::Manifest).map_err(of_image())?;
                    reference = repository.at_digest(digest);
                    named_as = Some(chosen.descriptor);
                }
                Document::Image { config, layers } => {
                    let manifest = Descriptor::new(document.media_type, digest, document.bytes.len() as u64);
                    let resolved = Resolved {
                        reference: repository.at_digest(digest),
                        digest,
                        manifest,
                        manifest_bytes: document.bytes,
                        config,
                        layers,
                        is_for_platform,
                    };
                    self.check_limits(&resolved, &place)?;
                    return Ok((resolved, moved));
                }
                _ => return Err(RegistryError::unsupported(place, "it is no image")),
            }
        }
        let what = format!("more than {INDEXES_MAX} indexes lead on to others");
        Err(RegistryError::corrupt(reference.to_string(), what))
    }

    fn check_limits(&self, resolved: &Resolved, place: &str) -> Result<(), RegistryError> {
        let limits = &self.shared.options.limits;
        let check = |what, wanted, limit| match wanted > limit {
            true => Err(RegistryError::LimitExceeded { place: place.into(), what, wanted, limit }),
            false => Ok(()),
        };
        check("layers", resolved.layers.len() as u64, limits.layers)?;
        check("bytes of config", resolved.config.size, limits.document)?;
        check("bytes", resolved.bytes(), limits.image)
    }

    fn fetch(
        &self,
        resolved: &Resolved,
        platform: Option<&Platform>,
        (layout, mut moved): (&Layout, Moved),
    ) -> Result<Fetched, RegistryError> {
        let place = resolved.reference.to_string();
        let repository = resolved.reference.repository();
        let blobs = [(Part::Config, &resolved.config)].into_iter();
        let layers = resolved.layers.iter().enumerate().map(|(index, layer)| (Part::Layer(index), layer));
        let mut known = HashSet::new();
        for (part, descriptor) in blobs.chain(layers) {
            let digest = descriptor.blob_digest(part).map_err(RegistryError::image(&place))?;
            if !known.insert(digest) {
                continue;
            }
            let wanted =
                Wanted { digest, size: descriptor.size, place: format!("{part} ({digest}) of {place}") };
            let blob = self.blob(repository, &wanted, layout)?;
            moved.transferred += blob.transferred;
            moved.reused += blob.reused;
            if part == Part::Config && !resolved.is_for_platform {
                // Before the layers are fetched for nothing.
                let limit = self.shared.options.limits.document;
                let config = layout.document(&digest, limit).unwrap_or_default();
                check_platform(&config, platform, &place).map_err(RegistryError::image(&place))?;
            }
        }
        let name = place.trim_start_matches("docker://");
        let image = layout.name_image(&resolved.manifest, name, self.control)?;
        Ok(Fetched { manifest: resolved.digest, image, transferred: moved.transferred, reused: moved.reused })
    }

    fn blob(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        layout: &Layout,
    ) -> Result<Moved, RegistryError> {
        if layout.has_blob(&wanted.digest, wanted.size) {
            self.control.advance(wanted.size);
            return Ok(Moved { transferred: 0, reused: wanted.size });
        }
        self.download(repository, wanted, &BlobPlace::new(layout, wanted))
    }

    /// The bytes of a manifest that is named by its digest.
    pub(crate) fn manifest_bytes(
        &self,
        reference: &Reference,
        named_as: Option<&Descriptor>,
    ) -> Result<Vec<u8>, RegistryError> {
        Ok(self.manifest(reference, named_as, None, &mut Moved::default())?.0.bytes)
    }

    /// A manifest or an index: from the layout, where it is named by digest and is there, or else from the registry.
    fn manifest(
        &self,
        reference: &Reference,
        named_as: Option<&Descriptor>,
        layout: Option<&Layout>,
        moved: &mut Moved,
    ) -> Result<(Fetchable, BlobDigest), RegistryError> {
        let limit = self.shared.options.limits.document;
        let media_type = named_as.map(|named| named.media_type.clone()).unwrap_or_default();
        if let (Version::Digest(digest), Some(layout)) = (reference.version(), layout)
            && let Some(bytes) = layout.document(digest, limit)
        {
            moved.reused += bytes.len() as u64;
            self.control.advance(bytes.len() as u64);
            let media_type = own_media_type(&bytes).unwrap_or(media_type);
            return Ok((Fetchable { bytes, media_type }, *digest));
        }
        let place = reference.to_string();
        let url = self.url(reference.repository(), &format!("manifests/{}", reference.version()))?;
        let call = Call::get(reference.repository(), url).header(ACCEPT, MANIFESTS);
        let read = |answered: Answered| {
            if !answered.is_success() {
                return Err(self.refused_or_missing(answered, &place).into());
            }
            let kind = answered.header(&CONTENT_TYPE).and_then(|kind| kind.split(';').next());
            let media_type = kind.unwrap_or_default().trim().to_owned();
            Ok(Fetchable { bytes: answered.document(&place, limit)?, media_type })
        };
        let mut document = self.send(&call, &place, read)?;
        let found = BlobDigest::of(&document.bytes);
        if let Version::Digest(expected) = reference.version()
            && *expected != found
        {
            let (expected, found) = (expected.to_string(), found.to_string());
            return Err(RegistryError::DigestMismatch { what: place, expected, found });
        }
        if let Some(named) = named_as.filter(|named| named.size != document.bytes.len() as u64) {
            let what = format!("it has {} bytes, and is named with {}", document.bytes.len(), named.size);
            return Err(RegistryError::corrupt(place, what));
        }
        if document.media_type.starts_with(OLD_MANIFEST) {
            let what = "its manifest is of docker's first format; push the image again with a newer tool";
            return Err(RegistryError::unsupported(place, what));
        }
        document.media_type = settled_media_type(document.media_type, media_type, &document.bytes);
        moved.transferred += document.bytes.len() as u64;
        self.control.advance(document.bytes.len() as u64);
        if let Some(layout) = layout {
            layout.put_document(&found, &document.bytes, self.control)?;
        }
        Ok((document, found))
    }
}

/// What a document is called: as the index does that names it, or the registry, where that is a name of manifests, or else
/// as it calls itself.
fn settled_media_type(header: String, named_as: String, bytes: &[u8]) -> String {
    if !named_as.is_empty() {
        named_as
    } else if MANIFESTS.split(", ").any(|known| known == header) {
        header
    } else {
        own_media_type(bytes).unwrap_or_default()
    }
}

fn own_media_type(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
    }
    let named: Named = serde_json::from_slice(bytes).ok()?;
    named.media_type.map(|text| shown(&text))
}
