//! Deltas put into repositories, found there, and fetched.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use skiff_image::documents::Descriptor;
use skiff_image::{BlobDigest, Part};
use ureq::http::header::{ACCEPT, LINK};

use crate::delta::{ArtifactManifest, DELTA_TYPE, DeltaInfo, EMPTY, INDEX_TYPE, MANIFEST_TYPE, read_header};
use crate::download::{Place, Wanted};
use crate::layout::hex;
use crate::session::{Answered, Call, Session};
use crate::upload::{Blob, Content, Document};
use crate::{Client, RegistryError, Repository, Version, url};

/// How often the list under the referrers tag is written until it has what was put there.
const TAG_WRITES: u32 = 8;
const BUFFER: usize = 64 << 10;

/// A delta to put into a repository.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewDelta<'d> {
    /// The file.
    pub file: &'d Path,
    /// The manifest of the image that it leads to, which is in the same repository: what the delta is found by.
    pub target: &'d Descriptor,
    /// The digest of the manifest of the image that it leads from, where that is known.
    pub base_manifest: Option<BlobDigest>,
}

/// How a delta that was pushed is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListedBy {
    /// The registry lists it.
    Referrers,
    /// The registry does not list what refers to an image; the tag made of the image's digest names a list.
    Tag,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushedDelta {
    /// The artifact's manifest.
    pub manifest: Descriptor,
    /// What it says of the delta.
    pub info: DeltaInfo,
    /// How it is found.
    pub listed_by: ListedBy,
    /// Bytes of the delta, if it had to be sent.
    pub transferred: u64,
    /// Bytes of the delta, if the repository had it.
    pub reused: u64,
}

/// A delta in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundDelta {
    /// The artifact's manifest.
    pub manifest: Descriptor,
    /// What is said of the delta.
    pub info: DeltaInfo,
}

/// What became of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PulledDelta {
    /// Bytes that came from the registry.
    pub transferred: u64,
    /// Bytes that were there, from a pull that was cut.
    pub reused: u64,
}

impl<'d> NewDelta<'d> {
    /// A delta in a file, and the manifest of the image that it leads to.
    #[must_use]
    pub fn new(file: &'d Path, target: &'d Descriptor) -> Self {
        Self { file, target, base_manifest: None }
    }

    /// The same, from an image whose manifest has this digest.
    #[must_use]
    pub fn with_base_manifest(self, digest: BlobDigest) -> Self {
        Self { base_manifest: Some(digest), ..self }
    }
}

impl Client<'_> {
    /// Puts a delta into the repository of the image that it leads to, as an artifact that refers to it. Putting it there again
    /// changes nothing.
    ///
    /// # Errors
    /// Any [`RegistryError`]; [`RegistryError::WrongTarget`] where the delta leads to another image, and [`RegistryError::Delta`]
    /// where the file is no delta.
    pub fn push_delta(
        &self,
        repository: &Repository,
        delta: &NewDelta<'_>,
    ) -> Result<PushedDelta, RegistryError> {
        self.session(|session| session.push_delta(repository, delta))
    }

    /// Finds the deltas that lead to the image whose manifest has this digest, the smallest first. Which of them suits a device
    /// is for the caller to say.
    ///
    /// # Errors
    /// Any [`RegistryError`]; where there are none, that is no error.
    pub fn find_deltas(
        &self,
        repository: &Repository,
        target: &BlobDigest,
    ) -> Result<Vec<FoundDelta>, RegistryError> {
        self.session(|session| session.find_deltas(repository, target))
    }

    /// Fetches a delta to a file, by way of another one named like it with `.part` at its end, in which a pull that was cut goes
    /// on. The file is replaced once the delta is whole and is what was said of it; that it leads where it says only applying it
    /// shows.
    ///
    /// # Errors
    /// Any [`RegistryError`].
    pub fn pull_delta(
        &self,
        repository: &Repository,
        delta: &FoundDelta,
        to: &Path,
    ) -> Result<PulledDelta, RegistryError> {
        self.session(|session| session.pull_delta(repository, delta, to))
    }
}

impl Session<'_> {
    fn push_delta(
        &self,
        repository: &Repository,
        delta: &NewDelta<'_>,
    ) -> Result<PushedDelta, RegistryError> {
        let file = File::open(delta.file).map_err(RegistryError::io("opening", delta.file))?;
        let header = read_header(delta.file, &file)?;
        let target = delta.target.blob_digest(Part::Manifest);
        let target = target.map_err(RegistryError::image(repository.to_string()))?;
        let leads_to = header.target().manifest.map(|digest| BlobDigest::from_bytes(*digest.as_bytes()));
        if let Some(found) = leads_to.filter(|found| *found != target) {
            let (path, expected) = (delta.file.into(), target.to_string());
            return Err(RegistryError::WrongTarget { path, expected, found: found.to_string() });
        }
        let info = DeltaInfo { base_manifest: delta.base_manifest, ..DeltaInfo::of_header(&header) };
        let place = format!("{} in {repository}", delta.file.display());
        let digest = self.digest_file(&file, delta.file)?;
        let layer = Descriptor::new(DELTA_TYPE, digest, info.bytes);
        let blob = Blob { content: Content::File(&file), digest, size: info.bytes, place: place.clone() };
        let moved = self.upload(repository, &blob)?;
        let empty = Blob {
            content: Content::Bytes(EMPTY),
            digest: BlobDigest::of(EMPTY),
            size: EMPTY.len() as u64,
            place: format!("the empty config in {repository}"),
        };
        self.upload(repository, &empty)?;

        let subject = Descriptor::new(delta.target.media_type.clone(), target, delta.target.size);
        let manifest = ArtifactManifest::new(subject, layer, &info);
        let bytes = to_json(&manifest, &place)?;
        let digest = BlobDigest::of(&bytes);
        let version = digest.to_string();
        let document = Document { version: &version, media_type: MANIFEST_TYPE, bytes: &bytes };
        let is_listed = self.put_manifest(repository, &document, &place)?;
        let mut described = Descriptor::new(MANIFEST_TYPE, digest, bytes.len() as u64);
        described.artifact_type = Some(DELTA_TYPE.into());
        described.annotations = Some(manifest.annotations);
        let listed_by = if is_listed {
            ListedBy::Referrers
        } else {
            self.list_under_tag(repository, &target, &described)?;
            ListedBy::Tag
        };
        let (transferred, reused) = (moved.transferred, moved.reused);
        Ok(PushedDelta { manifest: described, info, listed_by, transferred, reused })
    }

    fn digest_file(&self, mut file: &File, path: &Path) -> Result<BlobDigest, RegistryError> {
        use std::io::Seek as _;

        file.rewind().map_err(RegistryError::io("reading", path))?;
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
        loop {
            self.control.check()?;
            match file.read(&mut buffer).map_err(RegistryError::io("reading", path))? {
                0 => return Ok(BlobDigest::from_bytes(hasher.finalize().into())),
                count => hasher.update(&buffer[..count]),
            }
        }
    }

    /// Adds to the list under the tag that the specification has for registries which keep none. Nothing keeps two from writing
    /// it at the same time: it is read again until it has what was added.
    fn list_under_tag(
        &self,
        repository: &Repository,
        target: &BlobDigest,
        described: &Descriptor,
    ) -> Result<(), RegistryError> {
        let tag = referrers_tag(target);
        let place = format!("docker://{repository}:{tag}");
        let entry = serde_json::to_value(described).map_err(|error| unencodable(&place, &error))?;
        for _ in 0..TAG_WRITES {
            let mut index = match self.list_at(repository, &tag)? {
                Some(index) => index,
                None => Map::from_iter([
                    ("schemaVersion".to_owned(), json!(2)),
                    ("mediaType".to_owned(), json!(INDEX_TYPE)),
                    ("manifests".to_owned(), json!([])),
                ]),
            };
            let Some(Value::Array(manifests)) = index.get_mut("manifests") else {
                return Err(RegistryError::corrupt(place, "it is not the list of an image's artifacts"));
            };
            if manifests.iter().any(|known| known["digest"] == entry["digest"]) {
                return Ok(());
            }
            manifests.push(entry.clone());
            let bytes = to_json(&index, &place)?;
            let document = Document { version: &tag, media_type: INDEX_TYPE, bytes: &bytes };
            self.put_manifest(repository, &document, &place)?;
        }
        Err(RegistryError::corrupt(place, format!("it does not keep what {TAG_WRITES} writes put there")))
    }

    fn find_deltas(
        &self,
        repository: &Repository,
        target: &BlobDigest,
    ) -> Result<Vec<FoundDelta>, RegistryError> {
        let place = format!("the deltas to docker://{repository}@{target}");
        let listed = match self.referrers(repository, target, &place)? {
            Some(listed) => listed,
            None => {
                let index = self.list_at(repository, &referrers_tag(target))?;
                index.map(|index| descriptors(index, &place)).transpose()?.unwrap_or_default()
            }
        };
        let limit = self.shared.options.limits.referrers;
        if listed.len() as u64 > limit {
            let wanted = listed.len() as u64;
            return Err(RegistryError::LimitExceeded { place, what: "artifacts", wanted, limit });
        }
        let mut found = Vec::new();
        for manifest in listed {
            // The registry may not have filtered, and the list under the tag has everything.
            if manifest.artifact_type.as_deref().is_some_and(|kind| kind != DELTA_TYPE) {
                continue;
            }
            let info = match manifest.annotations.as_ref().and_then(DeltaInfo::of_annotations) {
                Some(info) => Some(info),
                // Registries that list artifacts without what is said of them: then they are asked themselves.
                None => self.asked_info(repository, &manifest, target)?,
            };
            found.extend(info.map(|info| FoundDelta { manifest, info }));
        }
        let digest = |found: &FoundDelta| found.manifest.digest.clone();
        found.sort_by_cached_key(|found| (found.info.bytes, digest(found)));
        found.dedup_by_key(|found| digest(found));
        Ok(found)
    }

    /// The descriptors of what refers to a manifest; none where the registry does not list that.
    fn referrers(
        &self,
        repository: &Repository,
        target: &BlobDigest,
        place: &str,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let limits = &self.shared.options.limits;
        let first = self.url(repository, &format!("referrers/{target}"))?;
        let mut next = url::with_query(&first, "artifactType", DELTA_TYPE);
        let mut listed = Vec::new();
        for _ in 0..limits.pages {
            let Some(url) = next else { return Ok(Some(listed)) };
            let call = Call::get(repository, url.clone()).header(ACCEPT, INDEX_TYPE);
            let page = self.send(&call, place, |answered: Answered| match answered.status {
                // The specification has 404 for registries without such lists; some say that they do not understand.
                400 | 404 | 405 => Ok(None),
                200 => {
                    let next = answered.header(&LINK).and_then(next_page).map(str::to_owned);
                    Ok(Some((next, answered.document(place, limits.document)?)))
                }
                _ => Err(self.refused(answered, place).into()),
            })?;
            let Some((link, bytes)) = page else { return Ok(None) };
            let index = serde_json::from_slice(&bytes);
            let index =
                index.map_err(|error| RegistryError::corrupt(place, format!("it is no list: {error}")))?;
            listed.extend(descriptors(index, place)?);
            if listed.len() as u64 > limits.referrers {
                return Ok(Some(listed));
            }
            next = match link {
                None => None,
                Some(link) => {
                    let joined = url::join(&url, &link);
                    let joined = joined
                        .ok_or_else(|| RegistryError::corrupt(place, "its next page has no address"))?;
                    self.check_transport(&joined, place)?;
                    Some(joined)
                }
            };
        }
        let (limit, wanted) = (limits.pages.into(), u64::from(limits.pages) + 1);
        Err(RegistryError::LimitExceeded { place: place.into(), what: "pages or more", wanted, limit })
    }

    /// The list under a tag; none where there is none.
    fn list_at(
        &self,
        repository: &Repository,
        tag: &str,
    ) -> Result<Option<Map<String, Value>>, RegistryError> {
        let place = format!("docker://{repository}:{tag}");
        let url = self.url(repository, &format!("manifests/{tag}"))?;
        let call = Call::get(repository, url).header(ACCEPT, INDEX_TYPE);
        let limit = self.shared.options.limits.document;
        let bytes = self.send(&call, &place, |answered| match answered.status {
            404 => Ok(None),
            200 => Ok(Some(answered.document(&place, limit)?)),
            _ => Err(self.refused(answered, &place).into()),
        })?;
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        let parsed = bytes.map(parse).transpose();
        parsed.map_err(|error| RegistryError::corrupt(&place, format!("it is no list: {error}")))
    }

    /// What an artifact's manifest says; none where it is no delta to this target.
    fn asked_info(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
        target: &BlobDigest,
    ) -> Result<Option<DeltaInfo>, RegistryError> {
        let artifact = match self.artifact(repository, manifest) {
            Ok(artifact) => artifact,
            // It was deleted, or is another kind of thing.
            Err(
                RegistryError::NotFound { .. }
                | RegistryError::Unsupported { .. }
                | RegistryError::Image { .. },
            ) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let is_of_target = artifact.subject.is_some_and(|subject| subject.digest == target.to_string());
        Ok(DeltaInfo::of_annotations(&artifact.annotations).filter(|_| is_of_target))
    }

    /// The manifest of a delta.
    fn artifact(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
    ) -> Result<ArtifactManifest, RegistryError> {
        let digest =
            manifest.blob_digest(Part::Manifest).map_err(RegistryError::image(repository.to_string()))?;
        let place = format!("docker://{repository}@{digest}");
        let reference = repository.at(Version::Digest(digest))?;
        let bytes = self.manifest_bytes(&reference, Some(manifest))?;
        let artifact = serde_json::from_slice::<ArtifactManifest>(&bytes)
            .map_err(|error| RegistryError::unsupported(&place, format!("it is no delta: {error}")))?;
        if artifact.artifact_type != DELTA_TYPE {
            return Err(RegistryError::unsupported(place, "it is another kind of artifact than a delta"));
        }
        Ok(artifact)
    }

    fn pull_delta(
        &self,
        repository: &Repository,
        delta: &FoundDelta,
        to: &Path,
    ) -> Result<PulledDelta, RegistryError> {
        let artifact = self.artifact(repository, &delta.manifest)?;
        let place = format!("the delta docker://{repository}@{}", delta.manifest.digest);
        let [layer] = &artifact.layers[..] else {
            return Err(RegistryError::corrupt(place, "its manifest has other than one layer"));
        };
        if layer.size != delta.info.bytes {
            let what = format!("it has {} bytes, and {} were said", layer.size, delta.info.bytes);
            return Err(RegistryError::corrupt(place, what));
        }
        let digest = layer.blob_digest(Part::Layer(0)).map_err(RegistryError::image(&place))?;
        let wanted = Wanted { digest, size: layer.size, place: place.clone() };
        let file = DeltaPlace { place, said: &delta.info, to };
        let moved = self.download(repository, &wanted, &file)?;
        Ok(PulledDelta { transferred: moved.transferred, reused: moved.reused })
    }
}

/// Where a delta is put that is what was said of it.
struct DeltaPlace<'d> {
    place: String,
    said: &'d DeltaInfo,
    to: &'d Path,
}

impl Place for DeltaPlace<'_> {
    fn part(&self) -> PathBuf {
        let mut part = self.to.as_os_str().to_owned();
        part.push(".part");
        part.into()
    }

    fn to(&self) -> &Path {
        self.to
    }

    fn is_there(&self) -> bool {
        // What is there is another one's.
        false
    }

    fn check(&self, file: &File) -> Result<(), RegistryError> {
        let found = DeltaInfo::of_header(&read_header(&self.part(), file)?);
        if found == (DeltaInfo { base_manifest: None, ..self.said.clone() }) {
            return Ok(());
        }
        Err(RegistryError::corrupt(&self.place, "the delta is for other releases than was said"))
    }
}

/// The tag that the specification has for the list of what refers to a manifest.
fn referrers_tag(target: &BlobDigest) -> String {
    format!("sha256-{}", hex(target))
}

fn descriptors(index: Map<String, Value>, place: &str) -> Result<Vec<Descriptor>, RegistryError> {
    let manifests = index.into_iter().find_map(|(name, value)| (name == "manifests").then_some(value));
    serde_json::from_value(manifests.unwrap_or_else(|| json!([])))
        .map_err(|error| RegistryError::corrupt(place, format!("it is no list of manifests: {error}")))
}

/// The address of the next page in a header: `<ADDRESS>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|text| matches!(text.trim(), "rel=next" | "rel=\"next\""));
        is_next.then_some(address)
    })
}

fn to_json(value: &impl serde::Serialize, place: &str) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(value).map_err(|error| unencodable(place, &error))
}

fn unencodable(place: &str, error: &serde_json::Error) -> RegistryError {
    RegistryError::corrupt(place, format!("it cannot be written as JSON: {error}"))
}
