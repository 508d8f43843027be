use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::{RegistryError, Repository};

/// How much of a file of credentials is read.
const FILE_MAX: u64 = 1 << 20;
/// What docker calls Docker Hub in its file.
const HUB_IN_FILES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Who asks, for each registry apart: no registry is told what another one is to know.
///
/// ```
/// use skiff_registry::{Credentials, Login};
///
/// let login = Login::Basic { user: "robot".into(), password: "secret".into() };
/// let credentials = Credentials::default().with_login("registry.example", login);
/// // Secrets are not shown.
/// assert!(!format!("{credentials:?}").contains("secret"));
/// ```
#[derive(Clone, Default)]
pub struct Credentials {
    /// By host, or host and the beginning of a name.
    logins: BTreeMap<String, Login>,
}

/// What one registry is told of who asks.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// A name and a password, sent to the registry, or to where it says that its tokens come from.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry takes as it is.
    Bearer {
        /// The token.
        token: String,
    },
}

/// What of docker's `config.json` and of containers' `auth.json` matters here: they are alike.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, FileEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FileEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "registrytoken")]
    registry_token: Option<String>,
}

impl Credentials {
    /// Those that `docker login` or `skopeo login --authfile` stored: in the file that the environment's `REGISTRY_AUTH_FILE`
    /// names, or in `config.json` in the directory that `DOCKER_CONFIG` names, or in `~/.docker/config.json`. None where there
    /// is no such file. Programs that keep credentials (`credsStore`, `credHelpers`) are not called.
    ///
    /// # Errors
    /// [`RegistryError::Io`] where the file cannot be read, and where the one that `REGISTRY_AUTH_FILE` names is not there;
    /// [`RegistryError::Setup`] where it is not what it should be.
    pub fn from_docker_config() -> Result<Self, RegistryError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match auth_file(set) {
            Some((path, Needed::Yes)) => Self::read(&path),
            Some((path, Needed::No)) => match Self::read(&path) {
                Err(RegistryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Ok(Self::default())
                }
                read => read,
            },
            None => Ok(Self::default()),
        }
    }

    /// Those in a file as `docker login` writes it.
    ///
    /// # Errors
    /// [`RegistryError::Io`] where it cannot be read, [`RegistryError::Setup`] where it is not what it should be.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(RegistryError::io("opening", path))?;
        file.take(FILE_MAX).read_to_end(&mut bytes).map_err(RegistryError::io("reading", path))?;
        let refuse = |what: &dyn fmt::Display| RegistryError::Setup {
            what: format!("{} is not a file of credentials: {what}", path.display()),
        };
        let file: ConfigFile = serde_json::from_slice(&bytes).map_err(|error| refuse(&error))?;
        let mut credentials = Self::default();
        for (key, entry) in file.auths {
            let login = entry.login().map_err(|what| refuse(&format_args!("{key:?}: {what}")))?;
            if let Some(login) = login {
                credentials.logins.insert(normal(&key), login);
            }
        }
        Ok(credentials)
    }

    /// These credentials, with those for one registry: `HOST[:PORT]`, or that and the beginning of a name.
    #[must_use]
    pub fn with_login(mut self, host: &str, login: Login) -> Self {
        self.logins.insert(normal(host), login);
        self
    }

    /// Those for a repository: of what is known of its name and those above it, the longest.
    pub(crate) fn for_repository(&self, repository: &Repository) -> Option<&Login> {
        let whole = repository.to_string();
        let mut place = &whole[..];
        loop {
            if let Some(login) = self.logins.get(place) {
                return Some(login);
            }
            place = &place[..place.rfind('/')?];
        }
    }
}

enum Needed {
    Yes,
    No,
}

fn auth_file(set: impl Fn(&str) -> Option<OsString>) -> Option<(PathBuf, Needed)> {
    if let Some(file) = set("REGISTRY_AUTH_FILE") {
        return Some((file.into(), Needed::Yes));
    }
    let directory = set("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(set("HOME")?).join(".docker")))?;
    Some((directory.join("config.json"), Needed::No))
}

/// A registry as references have it, whatever a file calls it: docker writes `https://index.docker.io/v1/`.
fn normal(key: &str) -> String {
    let is_url = key.starts_with("http://") || key.starts_with("https://");
    let place = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, rest) = place.split_once('/').map_or((place, None), |(host, rest)| (host, Some(rest)));
    let host = host.to_ascii_lowercase();
    let host = if HUB_IN_FILES.contains(&&host[..]) { "docker.io".to_owned() } else { host };
    match rest {
        // What follows in a URL is the version of the registry's interface.
        Some(name) if !is_url => format!("{host}/{name}"),
        _ => host,
    }
}

impl FileEntry {
    fn login(self) -> Result<Option<Login>, &'static str> {
        if let Some(token) = self.registry_token.filter(|token| !token.is_empty()) {
            return Ok(Some(Login::Bearer { token }));
        }
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| "its auth is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "its auth is not UTF-8")?;
            let (user, password) = text.split_once(':').ok_or("its auth has no \":\"")?;
            // Docker pads passwords with zeros.
            let password = password.trim_end_matches('\0');
            return Ok(Some(Login::Basic { user: user.into(), password: password.into() }));
        }
        Ok(self.username.zip(self.password).map(|(user, password)| Login::Basic { user, password }))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.logins).finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic {{ user: {user:?}, .. }}"),
            Self::Bearer { .. } => f.write_str("Bearer { .. }"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Login {
        Login::Basic { user: user.into(), password: password.into() }
    }

    fn find<'c>(credentials: &'c Credentials, host: &str, name: &str) -> Option<&'c Login> {
        credentials.for_repository(&Repository::new(host, name).unwrap())
    }

    #[test]
    fn files_of_docker_and_of_containers() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let hub = STANDARD.encode("hubuser:hub:pass");
        let padded = STANDARD.encode("robot:secret\0\0");
        let text = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{hub}"}}, "Registry.example:5000": {{"auth": "{padded}"}},
                "registry.example:5000/team": {{"username": "team", "password": "t"}},
                "kept.example": {{}}, "token.example": {{"registrytoken": "abc"}}}}, "credsStore": "desktop"}}"#
        );
        std::fs::write(&file, text).unwrap();
        let credentials = Credentials::read(&file).unwrap();
        assert_eq!(find(&credentials, "docker.io", "alpine"), Some(&basic("hubuser", "hub:pass")));
        assert_eq!(find(&credentials, "registry.example:5000", "app"), Some(&basic("robot", "secret")));
        assert_eq!(find(&credentials, "registry.example:5000", "team/app"), Some(&basic("team", "t")));
        assert_eq!(find(&credentials, "registry.example:5000", "teams/app"), Some(&basic("robot", "secret")));
        assert_eq!(find(&credentials, "registry.example", "app"), None);
        assert_eq!(find(&credentials, "kept.example", "app"), None);
        let token = Login::Bearer { token: "abc".into() };
        assert_eq!(find(&credentials, "token.example", "app"), Some(&token));
        let debug = format!("{credentials:?}");
        assert!(debug.contains("robot") && !debug.contains("secret") && !debug.contains("abc"), "{debug}");
    }

    #[test]
    fn what_is_no_file_of_credentials_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        for (text, what) in [
            ("", "EOF"),
            (r#"{"auths": {"a.example": {"auth": "%"}}}"#, "base64"),
            (r#"{"auths": {"a.example": {"auth": "YQ=="}}}"#, "no \":\""),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Credentials::read(&file).unwrap_err();
            assert!(matches!(error, RegistryError::Setup { .. }), "{error}");
            assert!(error.to_string().contains(what) && error.to_string().contains("config.json"), "{error}");
        }
        assert!(matches!(Credentials::read(&directory.path().join("none")), Err(RegistryError::Io { .. })));
    }

    #[test]
    fn the_environment_says_where_the_file_is() {
        let file = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            auth_file(find).map(|(path, needed)| (path, matches!(needed, Needed::Yes)))
        };
        assert_eq!(file(&[]), None);
        assert_eq!(file(&[("HOME", "/h")]), Some(("/h/.docker/config.json".into(), false)));
        assert_eq!(file(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]), Some(("/d/config.json".into(), false)));
        assert_eq!(file(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a")]), Some(("/a".into(), true)));
    }
}
