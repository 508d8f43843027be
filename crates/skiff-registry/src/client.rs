use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use skiff_fs::Control;
use ureq::Agent;
use ureq::config::Config;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use crate::auth::Known;
use crate::session::Session;
use crate::{ClientOptions, RegistryError};

/// How soon after it is told to end an operation ends, whatever it waits for.
const TICK: Duration = Duration::from_millis(100);
/// A file of certificates has some 150; this is many times as much.
const AUTHORITIES_MAX: u64 = 16 << 20;

/// Talks to registries. Cheap to clone; clones share their connections and the tokens that registries gave.
#[derive(Clone)]
pub struct Client<'a> {
    pub(crate) shared: Arc<Shared>,
    control: Control<'a>,
}

/// What clones share.
pub(crate) struct Shared {
    pub(crate) options: ClientOptions,
    pub(crate) known: Known,
    config: Config,
    agent: Agent,
}

impl Client<'static> {
    /// Makes a client; nobody is asked anything yet.
    ///
    /// # Errors
    /// [`RegistryError::Setup`] where a file of certificates is not one, and [`RegistryError::Io`] where it cannot be read.
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        let config = Agent::config_builder()
            .tls_config(trust(&options.authorities)?)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(options.user_agent.clone())
            .timeout_connect(Some(options.timeouts.connect))
            .timeout_per_read(Some(options.timeouts.idle))
            .timeout_per_write(Some(options.timeouts.idle))
            .build();
        let agent = config.new_agent();
        let shared = Arc::new(Shared { options, known: Known::default(), config, agent });
        Ok(Self { shared, control: Control::default() })
    }
}

impl<'a> Client<'a> {
    /// The same client, whose operations are watched and ended through `control`. Progress counts bytes of blobs: those that are
    /// fetched or sent, and those that need not be.
    #[must_use]
    pub fn with_control<'c>(&self, control: Control<'c>) -> Client<'c> {
        Client { shared: Arc::clone(&self.shared), control }
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// Does something with registries, and ends it when the control or the timeout says so: a watcher breaks the connections
    /// then, so that nothing waits on.
    pub(crate) fn session<T>(
        &self,
        work: impl FnOnce(&Session<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let whole = self.shared.options.timeouts.whole.and_then(|whole| Instant::now().checked_add(whole));
        let deadline = self.control.deadline.into_iter().chain(whole).min();
        let control = Control { deadline, ..self.control };
        let session = |agent| Session { shared: &self.shared, agent, control };
        if control.cancel.is_none() && control.deadline.is_none() {
            return work(&session(self.shared.agent.clone()));
        }
        control.check()?;
        // One of its own, as breaking one's connections leaves it without use.
        let agent = self.shared.config.new_agent();
        let watched = agent.clone();
        std::thread::scope(|scope| {
            let (working, ended) = mpsc::channel::<()>();
            let watch = move || {
                while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    if control.check().is_err() {
                        return watched.shutdown();
                    }
                }
            };
            let watcher = std::thread::Builder::new().name("skiff-registry".into());
            let failed = RegistryError::io("starting a thread to watch", Path::new("the connection"));
            watcher.spawn_scoped(scope, watch).map_err(failed)?;
            let result = work(&session(agent));
            drop(working);
            match result {
                // What broke because the watcher broke it.
                Err(RegistryError::Network { .. }) => control.check().map_err(Into::into).and(result),
                result => result,
            }
        })
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.shared.options)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

/// How TLS is spoken here, for other clients in the same program: whom the system trusts is trusted, and the authorities in these files
/// of certificates, in PEM.
///
/// # Errors
/// [`RegistryError::Setup`] where a file of certificates is not one, and [`RegistryError::Io`] where it cannot be read.
pub fn trust(authorities: &[PathBuf]) -> Result<TlsConfig, RegistryError> {
    let mut certificates = system_certificates();
    for file in authorities {
        certificates.extend(read_certificates(file)?);
    }
    let tls = TlsConfig::builder().root_certs(RootCerts::from(certificates));
    Ok(tls.unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider())).build())
}

/// What the system trusts; what of it cannot be read is not trusted, and a connection that needs it says so.
fn system_certificates() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    found.into_iter().map(|certificate| Certificate::from_der(&certificate).to_owned()).collect()
}

fn read_certificates(file: &Path) -> Result<Vec<Certificate<'static>>, RegistryError> {
    use io::Read as _;

    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(RegistryError::io("opening", file))?;
    opened.take(AUTHORITIES_MAX).read_to_end(&mut bytes).map_err(RegistryError::io("reading", file))?;
    let refuse = |what: &dyn fmt::Display| RegistryError::Setup {
        what: format!("{} is not a file of certificates in PEM: {what}", file.display()),
    };
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| refuse(&error))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(refuse(&"it has none")) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_can_share_a_client() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&Client::new(ClientOptions::default()).expect("a client"));
    }
}
