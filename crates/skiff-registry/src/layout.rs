use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use skiff_fs::Control;
use skiff_image::documents::Descriptor;
use skiff_image::{BlobDigest, ImageRef, Selection};

use crate::RegistryError;
use crate::download::{Place, Wanted};

/// How long a wait for somebody else's lock goes on before it is looked whether it is still wanted.
const TICK: Duration = Duration::from_millis(50);
/// How much of an index is read; one of 10,000 images has a tenth of it.
const INDEX_MAX: u64 = 64 << 20;
/// What of the directory is ours alone.
const OWN: &str = ".skiff";
/// What the names of unfinished blobs end in.
const PART: &str = "part";

/// A directory that images are fetched into: an OCI layout, in which images share their blobs.
///
/// | path | is |
/// |---|---|
/// | `oci-layout`, `index.json` | as the OCI image specification has them; each image that was fetched has an entry |
/// | `blobs/sha256/HEX` | a blob whose digest held; it came to be there by one rename |
/// | `.skiff/HEX.part` | the beginning of a blob, until the rest is fetched, by whatever process |
/// | `.skiff/lock` | held while the index is changed |
///
/// Several processes may fetch into it at the same time; a blob that one is fetching the others wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// Opens a layout, which is made where there is none.
    ///
    /// # Errors
    /// [`RegistryError::Io`]; [`RegistryError::Setup`] where the directory has other things in it and is no layout.
    pub fn create(directory: impl Into<PathBuf>) -> Result<Self, RegistryError> {
        let layout = Self { directory: directory.into() };
        let directory = &layout.directory;
        fs::create_dir_all(directory).map_err(RegistryError::io("making", directory))?;
        let version = directory.join("oci-layout");
        if !version.exists() {
            let mut entries = fs::read_dir(directory).map_err(RegistryError::io("reading", directory))?;
            // Another process may be making it, too.
            let is_known = |name: &std::ffi::OsStr| name == OWN || name == "blobs" || name == "index.json";
            let foreign = entries.find_map(|entry| entry.ok().filter(|entry| !is_known(&entry.file_name())));
            if let Some(entry) = foreign.filter(|entry| entry.file_name() != "oci-layout") {
                let (directory, name) = (directory.display(), entry.file_name());
                let what =
                    format!("{directory} is no OCI layout, and has {name:?} in it; name another directory");
                return Err(RegistryError::Setup { what });
            }
        }
        for part in ["blobs/sha256", OWN] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(RegistryError::io("making", &path))?;
        }
        if !version.exists() {
            layout.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, Control::default())?;
        }
        if !directory.join("index.json").exists() {
            layout.change_index(Control::default(), |_| ())?;
        }
        Ok(layout)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a blob is, or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &BlobDigest) -> PathBuf {
        self.directory.join(digest.blob_name())
    }

    /// Whether a blob of this size is there. One of another size was damaged since, and is fetched anew.
    #[must_use]
    pub fn has_blob(&self, digest: &BlobDigest, size: u64) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Removes every blob that a function does not keep, and the images that these are manifests of from the index. Nobody may be
    /// fetching into the layout or reading from it what goes.
    ///
    /// # Errors
    /// [`RegistryError::Io`], [`RegistryError::Setup`] where the layout is broken, [`RegistryError::Interrupted`].
    pub fn retain(
        &self,
        mut keep: impl FnMut(&BlobDigest) -> bool,
        control: Control<'_>,
    ) -> Result<(), RegistryError> {
        // First the index, so that it names nothing that is not there.
        self.change_index(control, |manifests| {
            manifests.retain(|entry| {
                let digest: Option<BlobDigest> =
                    entry.get("digest").and_then(Value::as_str).and_then(|digest| digest.parse().ok());
                digest.is_none_or(|digest| keep(&digest))
            });
        })?;
        let blobs = self.directory.join("blobs/sha256");
        for entry in fs::read_dir(&blobs).map_err(RegistryError::io("reading", &blobs))? {
            control.check()?;
            let path = entry.map_err(RegistryError::io("reading", &blobs))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let digest: Option<BlobDigest> = name.and_then(|hex| format!("sha256:{hex}").parse().ok());
            if digest.is_some_and(|digest| !keep(&digest)) {
                fs::remove_file(&path).map_err(RegistryError::io("removing", &path))?;
            }
        }
        Ok(())
    }

    /// Removes the beginnings of blobs whose fetch was cut before a time: nobody may be fetching into the layout, and whoever fetches
    /// these again does it from the start.
    ///
    /// # Errors
    /// [`RegistryError::Io`], [`RegistryError::Interrupted`].
    pub fn discard_parts(&self, before: SystemTime, control: Control<'_>) -> Result<(), RegistryError> {
        let own = self.directory.join(OWN);
        for entry in fs::read_dir(&own).map_err(RegistryError::io("reading", &own))? {
            control.check()?;
            let entry = entry.map_err(RegistryError::io("reading", &own))?;
            let (path, about) = (entry.path(), entry.metadata());
            let written =
                about.and_then(|about| about.modified()).map_err(RegistryError::io("reading", &path))?;
            if written < before && path.extension().is_some_and(|extension| extension == PART) {
                fs::remove_file(&path).map_err(RegistryError::io("removing", &path))?;
            }
        }
        Ok(())
    }

    /// The bytes of a document that is there and is what its digest names.
    pub(crate) fn document(&self, digest: &BlobDigest, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.blob_path(digest)).ok()?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= limit && BlobDigest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Puts a document there.
    pub(crate) fn put_document(
        &self,
        digest: &BlobDigest,
        bytes: &[u8],
        control: Control<'_>,
    ) -> Result<(), RegistryError> {
        self.replace(&digest.blob_name(), bytes, control)
    }

    /// Names an image in the index, and returns what opens it.
    pub(crate) fn name_image(
        &self,
        manifest: &Descriptor,
        name: &str,
        control: Control<'_>,
    ) -> Result<ImageRef, RegistryError> {
        let entry = serde_json::to_value(manifest.clone().with_tag(name));
        let entry = entry.map_err(|error| self.broken(&error))?;
        self.change_index(control, |manifests| {
            if !manifests.contains(&entry) {
                manifests.push(entry);
            }
        })?;
        let image = Some(Selection::Name(name.into()));
        Ok(ImageRef::Oci { directory: self.directory.clone(), image })
    }

    fn change_index(
        &self,
        control: Control<'_>,
        change: impl FnOnce(&mut Vec<Value>),
    ) -> Result<(), RegistryError> {
        let _lock = self.lock(control)?;
        let path = self.directory.join("index.json");
        let mut index = match File::open(&path) {
            Ok(file) => {
                let read: Result<Map<String, Value>, _> = serde_json::from_reader(file.take(INDEX_MAX));
                read.map_err(|error| self.broken(&error))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(RegistryError::io("opening", &path)(error)),
        };
        index.entry("schemaVersion").or_insert(json!(2));
        index.entry("mediaType").or_insert(json!("application/vnd.oci.image.index.v1+json"));
        match index.entry("manifests").or_insert(json!([])) {
            Value::Array(manifests) => {
                let before = manifests.len();
                change(manifests);
                if manifests.len() == before && path.exists() {
                    return Ok(());
                }
            }
            _ => return Err(self.broken(&"its manifests are no list")),
        }
        let bytes = serde_json::to_vec(&index).map_err(|error| self.broken(&error))?;
        self.replace_locked("index.json", &bytes)
    }

    fn broken(&self, what: &dyn std::fmt::Display) -> RegistryError {
        let path = self.directory.join("index.json");
        RegistryError::Setup { what: format!("{} is not an index of images: {what}", path.display()) }
    }

    fn lock(&self, control: Control<'_>) -> Result<File, RegistryError> {
        let path = self.directory.join(OWN).join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(RegistryError::io("opening", &path))?;
        lock_file(&file, &path, control)?;
        Ok(file)
    }

    /// Makes a file with these bytes, or replaces it, in one step.
    fn replace(&self, name: &str, bytes: &[u8], control: Control<'_>) -> Result<(), RegistryError> {
        let _lock = self.lock(control)?;
        self.replace_locked(name, bytes)
    }

    fn replace_locked(&self, name: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        let new = self.directory.join(OWN).join("new");
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(RegistryError::io("writing", &new))?;
        put(&new, &self.directory.join(name))
    }
}

/// A blob's place in a layout.
pub(crate) struct BlobPlace<'l> {
    layout: &'l Layout,
    digest: BlobDigest,
    size: u64,
    path: PathBuf,
}

impl<'l> BlobPlace<'l> {
    pub(crate) fn new(layout: &'l Layout, wanted: &Wanted) -> Self {
        Self { layout, digest: wanted.digest, size: wanted.size, path: layout.blob_path(&wanted.digest) }
    }
}

impl Place for BlobPlace<'_> {
    fn part(&self) -> PathBuf {
        self.layout.directory.join(OWN).join(format!("{}.{PART}", hex(&self.digest)))
    }

    fn to(&self) -> &Path {
        &self.path
    }

    fn is_there(&self) -> bool {
        self.layout.has_blob(&self.digest, self.size)
    }

    fn check(&self, _: &File) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// Puts a file that was synced in its place, and makes sure that it is there after a power cut.
pub(crate) fn put(from: &Path, to: &Path) -> Result<(), RegistryError> {
    fs::rename(from, to).map_err(RegistryError::io("renaming to", to))?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(RegistryError::io("syncing", directory))
}

/// Waits until nobody else has the file locked.
pub(crate) fn lock_file(file: &File, path: &Path, control: Control<'_>) -> Result<(), RegistryError> {
    loop {
        control.check()?;
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(TICK),
            Err(TryLockError::Error(error)) => return Err(RegistryError::io("locking", path)(error)),
        }
    }
}

pub(crate) fn hex(digest: &BlobDigest) -> String {
    digest.to_string().split_off("sha256:".len())
}
