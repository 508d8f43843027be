//! Images and deltas: files by name, in a directory or in any object store.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use futures_util::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, PutPayload, WriteMultipart};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_util::io::StreamReader;
use url::Url;

use crate::ServerError;
use crate::held::{Held, LARGEST};

/// Where images and deltas are kept.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The directory, where it is one: files get there by being renamed.
    directory: Option<PathBuf>,
    held: Arc<Held>,
    /// Held by several from before they keep an object until its record is noted, and by one from before records go until their
    /// objects have: or an object would go that was kept again meanwhile.
    keeping: Arc<RwLock<()>>,
}

/// Part of an object, to be read once.
pub(crate) type Body = Box<dyn AsyncRead + Send + Unpin>;

impl Objects {
    /// A directory, which is made if it is not there.
    pub(crate) fn in_directory(directory: &Path) -> Result<Self, ServerError> {
        fs::create_dir_all(directory).map_err(ServerError::io("making", directory))?;
        let store = LocalFileSystem::new_with_prefix(directory)?;
        Ok(Self {
            store: Arc::new(store),
            directory: Some(directory.into()),
            held: Arc::default(),
            keeping: Arc::default(),
        })
    }

    /// Whatever a URL names.
    pub(crate) fn at(url: &Url) -> Result<Self, ServerError> {
        let wrong =
            |error| ServerError::Options(format!("images and deltas cannot be kept at {url}: {error}"));
        let (store, prefix) = object_store::parse_url_opts(url, told(std::env::vars_os())).map_err(wrong)?;
        Ok(Self {
            store: Arc::new(PrefixStore::new(store, prefix)),
            directory: None,
            held: Arc::default(),
            keeping: Arc::default(),
        })
    }

    /// To be held while an object is kept and its record is noted.
    pub(crate) async fn keeping(&self) -> RwLockReadGuard<'_, ()> {
        self.keeping.read().await
    }

    /// To be held while records go and then their objects.
    pub(crate) async fn removing(&self) -> RwLockWriteGuard<'_, ()> {
        self.keeping.write().await
    }

    /// The names of all objects in a directory.
    pub(crate) async fn names(&self, directory: &str) -> Result<Vec<String>, ServerError> {
        let directory = path(directory)?;
        let found = self.store.list(Some(&directory)).map_ok(|object| object.location.to_string());
        Ok(found.try_collect().await?)
    }

    /// Where an object is on this machine, if it is.
    pub(crate) fn local(&self, name: &str) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(name))
    }

    /// How many bytes an object has; none where it is not there.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>, ServerError> {
        match self.store.head(&path(name)?).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a file under a name: whole, or not at all. The file goes.
    pub(crate) async fn keep(&self, name: &str, file: &Path) -> Result<(), ServerError> {
        let target = path(name)?;
        // What was under the name before may have been another.
        self.held.remove(name);
        if let Some(kept) = self.local(name) {
            let file = file.to_owned();
            return blocking(move || rename(&file, &kept)).await;
        }
        let mut upload = WriteMultipart::new(self.store.put_multipart(&target).await?);
        if let Err(error) = feed(&mut upload, file).await {
            // Or the store would keep what it has got, under no name.
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, name, "the beginning of an object is left where objects are kept");
            }
            return Err(error);
        }
        upload.finish().await?;
        tokio::fs::remove_file(file).await.map_err(ServerError::io("removing", file))
    }

    /// Keeps some bytes under a name.
    pub(crate) async fn keep_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<(), ServerError> {
        let target = path(name)?;
        let Some(kept) = self.local(name) else {
            self.store.put(&target, PutPayload::from(bytes)).await?;
            return Ok(());
        };
        blocking(move || {
            let directory = kept.parent().unwrap_or_else(|| Path::new("."));
            fs::create_dir_all(directory).map_err(ServerError::io("making", directory))?;
            let made = tempfile::NamedTempFile::new_in(directory);
            let mut file = made.map_err(ServerError::io("making a file in", directory))?;
            file.write_all(&bytes).map_err(ServerError::io("writing in", directory))?;
            rename(&file.into_temp_path(), &kept)
        })
        .await
    }

    /// All of an object, of so many bytes at most.
    pub(crate) async fn bytes(&self, name: &str, limit: u64) -> Result<Vec<u8>, ServerError> {
        let found = self.store.get(&path(name)?).await?;
        if found.meta.size > limit {
            let what = format!("it has {} bytes, and {limit} are taken", found.meta.size);
            return Err(ServerError::broken(name, what));
        }
        Ok(found.bytes().await?.into())
    }

    /// A part of an object, and the size of the whole; none where it is not there.
    pub(crate) async fn open(
        &self,
        name: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<(Body, u64)>, ServerError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = match self.store.get_opts(&path(name)?, options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (size, range) = (found.meta.size, found.range.clone());
        let body: Body = match found.payload {
            // Read in larger pieces than the store would.
            GetResultPayload::File(file, at) => {
                let mut file = tokio::fs::File::from_std(file);
                file.set_max_buf_size(READ);
                file.seek(std::io::SeekFrom::Start(range.start))
                    .await
                    .map_err(ServerError::io("reading", at))?;
                Box::new(file.take(range.end - range.start))
            }
            GetResultPayload::Stream(stream) => {
                Box::new(StreamReader::new(Box::pin(stream.map_err(std::io::Error::other))))
            }
        };
        Ok(Some((body, size)))
    }

    /// Brings an object to a file, whose digest is the caller's to check; whether it was there.
    pub(crate) async fn fetch(&self, name: &str, file: &Path) -> Result<bool, ServerError> {
        let Some((mut body, _)) = self.open(name, None).await? else { return Ok(false) };
        let directory = file.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(directory).map_err(ServerError::io("making", directory))?;
        let (part, temporary) = tempfile::NamedTempFile::new_in(directory)
            .map_err(ServerError::io("making a file in", directory))?
            .into_parts();
        let mut part = tokio::fs::File::from_std(part);
        tokio::io::copy(&mut body, &mut part).await.map_err(ServerError::io("writing", &temporary))?;
        part.sync_all().await.map_err(ServerError::io("writing", &temporary))?;
        temporary.persist(file).map_err(|error| ServerError::io("renaming to", file)(error.error))?;
        Ok(true)
    }

    /// All of a small object, from memory where it was asked for not long ago; none where it is not there.
    pub(crate) async fn small(&self, name: &str) -> Result<Option<Bytes>, ServerError> {
        if let Some(bytes) = self.held.get(name) {
            return Ok(Some(bytes));
        }
        let found = match self.store.get(&path(name)?).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Whatever the caller takes it for.
        if found.meta.size > LARGEST {
            let size = found.meta.size;
            return Err(ServerError::broken(name, format!("it has {size} bytes, which is not small")));
        }
        let bytes = found.bytes().await?;
        self.held.put(name, bytes.clone());
        Ok(Some(bytes))
    }

    /// Removes an object, if it is there.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), ServerError> {
        self.held.remove(name);
        match self.store.delete(&path(name)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How much of a file is read at a time when it is served.
pub(crate) const READ: usize = 256 << 10;

/// What variables of the environment say of stores, as options of these: of a variable such as `TOKEN`, nobody knows what it is for.
fn told(variables: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (String, String)> {
    let told =
        variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let of_stores = told.filter(|(name, _)| STORES.iter().any(|store| name.starts_with(store)));
    of_stores.map(|(name, value)| (name.to_ascii_lowercase(), value))
}

/// What the names of these variables begin with.
const STORES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// Sends all of a file.
async fn feed(upload: &mut WriteMultipart, file: &Path) -> Result<(), ServerError> {
    let mut source = tokio::fs::File::open(file).await.map_err(ServerError::io("opening", file))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        upload.wait_for_capacity(4).await?;
        match source.read(&mut buffer).await.map_err(ServerError::io("reading", file))? {
            0 => return Ok(()),
            count => upload.write(&buffer[..count]),
        }
    }
}

fn path(name: &str) -> Result<ObjectPath, ServerError> {
    ObjectPath::parse(name).map_err(|error| ServerError::Objects(error.into()))
}

/// Runs what waits for the disk or computes, beside what answers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ServerError::GoingDown),
    }
}

/// Moves a file to its place, durably.
fn rename(file: &Path, target: &Path) -> Result<(), ServerError> {
    let directory = target.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(directory).map_err(ServerError::io("making", directory))?;
    let opened = fs::File::open(file).map_err(ServerError::io("opening", file))?;
    opened.sync_all().map_err(ServerError::io("syncing", file))?;
    fs::rename(file, target).map_err(ServerError::io("renaming to", target))?;
    let opened = fs::File::open(directory).map_err(ServerError::io("opening", directory))?;
    opened.sync_all().map_err(ServerError::io("syncing", directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn variables_of_stores_are_options_and_no_others_are() {
        let pair = |name: &str, value: &[u8]| (OsString::from(name), OsString::from_vec(value.to_vec()));
        let variables = [
            pair("AWS_ACCESS_KEY_ID", b"key"),
            pair("TOKEN", b"of something else"),
            pair("AWS_REGION", b"\xff"),
            pair("GOOGLE_SERVICE_ACCOUNT", b"/file"),
        ];
        let told: Vec<(String, String)> = told(variables.into_iter()).collect();
        let expected = [("aws_access_key_id", "key"), ("google_service_account", "/file")];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
