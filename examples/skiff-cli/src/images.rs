//! Images that were named on the command line, opened, wherever they are.

use std::path::Path;

use skiff::ImageSource;
use skiff::fs::Control;
use skiff::image::{Image, OpenOptions};
use skiff::registry::{Client, ClientOptions, Credentials, Layout, Reference, Transport};
use tempfile::TempDir;

use crate::args::{OpenImages, Output, Registries};
use crate::failure::Failure;
use crate::progress::Bar;

/// How images are opened.
pub(crate) struct Images<'a> {
    pub(crate) args: &'a OpenImages,
    /// Where temporary files go, if that was said.
    pub(crate) spool: Option<&'a Path>,
    pub(crate) print: Output,
    pub(crate) control: Control<'a>,
}

impl Images<'_> {
    /// Opens images; what several of them have in common is fetched once. What was fetched to a temporary place is gone from its
    /// directory at once, and from the disk with the images.
    pub(crate) fn open<const N: usize>(&self, names: [&str; N]) -> Result<[Image; N], Failure> {
        let sources = names.map(str::parse::<ImageSource>);
        let mut fetching = None;
        let mut images = Vec::new();
        for source in sources {
            images.push(match source? {
                ImageSource::Local(image) => Image::open(&image, &self.options())?,
                ImageSource::Registry(reference) => {
                    let fetching = match &fetching {
                        Some(fetching) => fetching,
                        None => fetching.insert(self.fetching()?),
                    };
                    self.fetch(fetching, &reference)?
                }
            });
        }
        images.try_into().map_err(|_| Failure::new(Failure::DEFECT, "other images than were named"))
    }

    fn options(&self) -> OpenOptions<'_> {
        let mut options = OpenOptions::default().with_control(self.control);
        options.platform.clone_from(&self.args.platform.platform);
        options
    }

    fn fetching(&self) -> Result<Fetching, Failure> {
        let (layout, temporary) = match &self.args.cache.cache {
            Some(directory) => (Layout::create(directory)?, None),
            None => {
                let place = self.spool.map_or_else(std::env::temp_dir, Path::to_owned);
                let made = tempfile::Builder::new().prefix("skiff-").tempdir_in(&place);
                let directory = made.map_err(|error| Failure::io("making a directory in", &place, error))?;
                (Layout::create(directory.path())?, Some(directory))
            }
        };
        Ok(Fetching { client: client(&self.args.registries)?, layout, _temporary: temporary })
    }

    fn fetch(&self, fetching: &Fetching, reference: &Reference) -> Result<Image, Failure> {
        let bar = Bar::new(self.print, "fetching");
        let progress = |count| bar.advance(count);
        let control = Control { progress: Some(&progress), ..self.control };
        let client = fetching.client.with_control(control);
        let platform = self.args.platform.platform.as_ref();
        let resolved = fetching.client.with_control(self.control).resolve(reference, platform)?;
        bar.expect(resolved.bytes());
        let fetched = client.fetch_resolved(&resolved, platform, &fetching.layout)?;
        Ok(Image::open(&fetched.image, &self.options())?)
    }
}

/// What registries are asked with, and where what they give is put.
struct Fetching {
    client: Client<'static>,
    layout: Layout,
    _temporary: Option<TempDir>,
}

/// What asks registries.
pub(crate) fn client(args: &Registries) -> Result<Client<'static>, Failure> {
    let credentials = match &args.authfile {
        Some(file) => Credentials::read(file)?,
        None => Credentials::from_docker_config()?,
    };
    let mut options = ClientOptions::default().with_credentials(credentials);
    if args.plain_http {
        options = options.with_transport(Transport::Plain);
    }
    if let Some(file) = &args.ca {
        options = options.with_authority(file);
    }
    Ok(Client::new(options)?)
}
