//! What goes by way of registries.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use skiff_format::{Event, FormatError, Limits, Reader, VERSION};
use skiff_image::{Image, ImageRef, OpenOptions, Platform};
use skiff_keys::PublicKey;
use skiff_patch::Codec;
use skiff_registry::{
    Client, DeltaInfo, FoundDelta, Layout, NewDelta, PulledDelta, PushedDelta, Reference, RegistryError,
};
use skiff_tree::ReleaseId;

use crate::Error;

/// Where an image is: on this machine, spelled as [`ImageRef`] is, or in a registry, spelled as [`Reference`] is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageSource {
    /// On this machine.
    Local(ImageRef),
    /// In a registry.
    Registry(Reference),
}

/// Which of the deltas to an image is wanted. By default, any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeltaChoice {
    /// Of an image for several platforms, which one is meant; unless set, the one for this machine.
    pub platform: Option<Platform>,
    /// One that applies to this release.
    pub base: Option<ReleaseId>,
    /// One that takes no more memory to decode, in bytes.
    pub max_decoder_memory: Option<u64>,
    /// One that one of these keys signed; where there are none, whoever did, if anybody. Deltas are found by what the registry says of
    /// that, and whether it is so is seen once one was [pulled](pull_delta).
    pub signed_by: Vec<PublicKey>,
}

/// What else is said of a delta that is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PushOptions {
    /// Of an image for several platforms, which one is meant; unless set, the one for this machine.
    pub platform: Option<Platform>,
    /// The image that the delta leads from, whose manifest's digest is then told.
    pub base: Option<Reference>,
}

/// Fetches an image from a registry into a layout, but for what is there, and opens it. The client's control watches the
/// fetch.
///
/// ```
/// use skiff::registry::{Client, ClientOptions, Layout, Transport};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use skiff_testkit::{Image, Layer, OciLayout, RegistryOptions, TestRegistry};
/// # let work = tempfile::tempdir()?;
/// # let registry = TestRegistry::start(RegistryOptions::default());
/// # let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text.repeat(900)));
/// # registry.put_layout("app", &OciLayout::new().image("1.0", image("ahoy ")).image("1.1", image("land ahoy ")));
/// # let images = format!("docker://{}/app", registry.address());
/// // `images` is such as "docker://registry.example/app"; this one speaks plain HTTP, which has to be asked for.
/// let client = Client::new(ClientOptions::default().with_transport(Transport::Plain))?;
/// let layout = Layout::create(work.path().join("images"))?;
/// let open = |image: &str| skiff::fetch_image(&client, &image.parse()?, &layout, &Default::default());
/// let (old, new) = (open(&format!("{images}:1.0"))?, open(&format!("{images}:1.1"))?);
///
/// // A server makes a delta, and puts it beside the image that it leads to.
/// let delta = work.path().join("update.skiff");
/// let pair = skiff::ImagePair::flatten(&old, &new, Default::default())?;
/// let report = pair.diff(&Default::default(), std::fs::File::create(&delta)?)?;
/// let target = format!("{images}:1.1").parse()?;
/// skiff::push_delta(&client, &delta, &target, &Default::default())?;
///
/// // A device finds the one from what it runs.
/// let mut choice = skiff::DeltaChoice::default();
/// choice.base = Some(report.base);
/// let (found, pulled) = skiff::pull_delta(&client, &target, &choice, &work.path().join("pulled.skiff"))?;
/// assert_eq!((found.info.target, pulled.transferred), (report.target, report.delta_bytes));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Registry`] where it cannot be fetched, [`Error::Image`] where it cannot be read.
pub fn fetch_image(
    client: &Client<'_>,
    reference: &Reference,
    layout: &Layout,
    options: &OpenOptions<'_>,
) -> Result<Image, Error> {
    let fetched = client.fetch(reference, options.platform.as_ref(), layout)?;
    Ok(Image::open(&fetched.image, options)?)
}

/// Puts a delta into the repository of the image that it leads to, where [`find_deltas`] finds it.
///
/// # Errors
/// [`Error::Registry`].
pub fn push_delta(
    client: &Client<'_>,
    delta: &Path,
    target: &Reference,
    options: &PushOptions,
) -> Result<PushedDelta, Error> {
    let platform = options.platform.as_ref();
    let resolved = client.resolve(target, platform)?;
    let mut new = NewDelta::new(delta, &resolved.manifest);
    if let Some(base) = &options.base {
        new = new.with_base_manifest(client.resolve(base, platform)?.digest);
    }
    Ok(client.push_delta(target.repository(), &new)?)
}

/// Finds the deltas that lead to an image in a registry and are such as is wanted, the smallest first.
///
/// # Errors
/// [`Error::Registry`]; where there are none, that is no error.
pub fn find_deltas(
    client: &Client<'_>,
    target: &Reference,
    choice: &DeltaChoice,
) -> Result<Vec<FoundDelta>, Error> {
    let resolved = client.resolve(target, choice.platform.as_ref())?;
    let mut found = client.find_deltas(target.repository(), &resolved.digest)?;
    found.retain(|found| choice.suits(&found.info));
    Ok(found)
}

/// Finds the smallest delta that leads to an image in a registry, is such as is wanted, and can be applied here, and fetches it to
/// a file. A pull that was cut goes on where it was.
///
/// # Errors
/// [`Error::Registry`]; [`RegistryError::NotFound`] where there is no such delta: pull the image then. [`Error::Trust`] where those that
/// are said to be signed by one of the keys that are asked for are not, and nothing is left of them.
pub fn pull_delta(
    client: &Client<'_>,
    target: &Reference,
    choice: &DeltaChoice,
    to: &Path,
) -> Result<(FoundDelta, PulledDelta), Error> {
    let mut refused = None;
    for found in find_deltas(client, target, choice)?.into_iter().filter(|found| can_apply(&found.info)) {
        let pulled = client.pull_delta(target.repository(), &found, to)?;
        match check_signature(to, &choice.signed_by) {
            Ok(()) => return Ok((found, pulled)),
            // Whoever may put a delta there may say that it is signed: that is not to hide one that is.
            Err(error @ Error::Trust(_)) => {
                std::fs::remove_file(to)
                    .map_err(|source| io("removing a delta that is not signed", source))?;
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| {
        let from = choice.base.map(|base| format!(" from release {base}")).unwrap_or_default();
        let signed = if choice.signed_by.is_empty() { "" } else { "is signed as required and " };
        let what = format!("delta{from} to {target} that {signed}can be applied here; pull the image");
        RegistryError::NotFound { what }.into()
    }))
}

/// Sees whether a delta is signed by one of these keys, where there are any.
fn check_signature(delta: &Path, keys: &[PublicKey]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let file = std::fs::File::open(delta).map_err(|source| io("opening the delta", source))?;
    match Reader::new(std::io::BufReader::new(file), Limits::default()).next_event()? {
        Some(Event::Header(header)) => skiff_keys::check(&header, keys).map(drop).map_err(Error::from),
        _ => Err(io("reading the delta", std::io::ErrorKind::UnexpectedEof.into())),
    }
}

fn io(op: &'static str, source: std::io::Error) -> Error {
    FormatError::Io { op, source }.into()
}

/// Whether this build has what it takes.
fn can_apply(info: &DeltaInfo) -> bool {
    info.format == VERSION && info.codecs.iter().all(|codec| Codec::from_id(codec.id, codec.version).is_ok())
}

impl DeltaChoice {
    /// Whether a delta of which this is said is such as is wanted, whatever its target's platform.
    #[must_use]
    pub fn suits(&self, info: &DeltaInfo) -> bool {
        self.base.is_none_or(|base| info.applies_to(base))
            && self.max_decoder_memory.is_none_or(|most| info.decoder_memory <= most)
            && (self.signed_by.is_empty() || self.signed_by.iter().any(|key| is_said_to_sign(info, key)))
    }
}

fn is_said_to_sign(info: &DeltaInfo, key: &PublicKey) -> bool {
    info.signed_by.iter().any(|said| said.as_bytes() == key.id().as_bytes())
}

impl FromStr for ImageSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("docker://") {
            Ok(Self::Registry(text.parse()?))
        } else {
            Ok(Self::Local(text.parse()?))
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(image) => image.fmt(f),
            Self::Registry(reference) => reference.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_how_they_begin() {
        for text in ["docker://registry.example/app:1", "oci:docker:1", "docker-archive:a.tar"] {
            let source: ImageSource = text.parse().expect("a source");
            assert_eq!(source.to_string(), text);
            assert_eq!(matches!(source, ImageSource::Registry(_)), text.starts_with("docker://"));
        }
        assert!(matches!("docker://app".parse::<ImageSource>(), Err(Error::Registry(_))));
        assert!(matches!("docker:app".parse::<ImageSource>(), Err(Error::Image(_))));
    }

    #[test]
    fn deltas_that_need_something_else_are_left() {
        let digest = skiff_format::Digest::of(b"");
        let target = skiff_format::TargetInfo { release: digest, tree: digest, config: None, manifest: None };
        let fields = skiff_format::HeaderFields {
            codecs: vec![],
            bases: vec![skiff_format::BaseInfo { release: digest, tree: digest }],
            target,
            facts: skiff_format::Facts { decoder_memory: 5, ..Default::default() },
        };
        let mut encoder = skiff_format::Encoder::new(std::io::Cursor::new(Vec::new()));
        let frame = skiff_format::compress(skiff_format::Section::Tree, b"x", &skiff_format::Compression::XZ);
        encoder.add(frame.expect("a frame")).expect("room");
        let mut delta = Vec::new();
        encoder.finish(&fields, &mut delta).expect("a delta");
        let mut decoder = skiff_format::Decoder::new(Default::default());
        let event = decoder.push(&mut &delta[..]).expect("a header");
        let Some(skiff_format::Event::Header(header)) = event else { panic!("no header") };
        let info = DeltaInfo::of_header(&header);
        assert!(can_apply(&info));
        let mut newer = info.clone();
        newer.format += 1;
        let mut unknown = info.clone();
        unknown.codecs.push(skiff_format::CodecInfo { id: 60_000, version: 0 });
        assert!(!can_apply(&newer) && !can_apply(&unknown));
        let release = |byte| Some(ReleaseId::from_bytes([byte; 32]));
        let suits = |base, max_decoder_memory| {
            DeltaChoice { base, max_decoder_memory, ..DeltaChoice::default() }.suits(&info)
        };
        assert!(suits(None, None) && suits(Some(info.bases[0]), Some(5)));
        assert!(!suits(release(9), None) && !suits(None, Some(4)));
        let key = |text: &str| text.parse::<PublicKey>().expect("a key");
        let [one, two] = [
            key(include_str!("../../../tests/golden/keys/one.key.pub")),
            key(include_str!("../../../tests/golden/keys/two.key.pub")),
        ];
        let mut signed = info.clone();
        signed.signed_by.push(skiff_format::Digest::from_bytes(*two.id().as_bytes()));
        let choice = DeltaChoice { signed_by: vec![one.clone(), two], ..DeltaChoice::default() };
        let other = DeltaChoice { signed_by: vec![one], ..DeltaChoice::default() };
        assert!(choice.suits(&signed) && !choice.suits(&info) && !other.suits(&signed));
    }
}
