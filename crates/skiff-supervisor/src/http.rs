//! The way to the server by HTTP.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skiff_fs::Control;
use skiff_protocol::{ServerAddress, Token};
use skiff_registry::{Client, ClientOptions, Credentials, Layout, Login, Reference, Throttle, Transport};
use ureq::http::{self, HeaderMap};
use ureq::{Agent, SendBody};

use crate::fetch::{Answer, Fetch, FetchError, Method, Payload, Place, Pull, Pulled, Request};

/// No answer comes sooner than that, whatever is configured.
const SHORTEST: Duration = Duration::from_millis(100);

/// The server, asked by HTTP, and its images pulled by the distribution protocol.
///
/// ```
/// use skiff_protocol::{ServerAddress, Tls, Token};
/// use skiff_supervisor::HttpFetch;
///
/// let server = ServerAddress::parse("https://deltas.example", Tls::Required)?;
/// let fetch = HttpFetch::new(server, Token::parse("skiff_0123")?, &Default::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HttpFetch {
    server: ServerAddress,
    token: Token,
    client: Client<'static>,
    throttle: Option<Arc<Throttle>>,
    config: ureq::config::Config,
    /// The one that serves until everything is interrupted.
    agent: Mutex<Agent>,
}

/// How the server is asked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Files with certificates in PEM, of authorities that are trusted beside those that the system trusts. Default: none.
    pub authorities: Vec<PathBuf>,
    /// How long a connection may take to be made. Default: 20 s.
    pub connect_within: Duration,
    /// How many bytes may come in a second, of deltas and images. Default: as many as come.
    pub bytes_per_second: Option<u64>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { authorities: Vec::new(), connect_within: Duration::from_secs(20), bytes_per_second: None }
    }
}

impl HttpOptions {
    /// These options, with one more file of certificates.
    #[must_use]
    pub fn with_authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.authorities.push(file.into());
        self
    }

    /// These options, with no more bytes in a second.
    #[must_use]
    pub fn with_bytes_per_second(self, bytes: u64) -> Self {
        Self { bytes_per_second: Some(bytes), ..self }
    }
}

impl HttpFetch {
    /// The way to a server, with a device's token. Nobody is asked anything yet.
    ///
    /// # Errors
    /// [`FetchError::Registry`] where a file of certificates cannot be read or is none.
    pub fn new(server: ServerAddress, token: Token, options: &HttpOptions) -> Result<Self, FetchError> {
        let transport = if server.is_tls() { Transport::Tls } else { Transport::Plain };
        let throttle = options.bytes_per_second.map(|bytes| Arc::new(Throttle::new(bytes)));
        let login = Login::Bearer { token: token.reveal().into() };
        let mut client = ClientOptions::default()
            .with_transport(transport)
            .with_credentials(Credentials::default().with_login(server.authority(), login));
        client.authorities.clone_from(&options.authorities);
        client.throttle.clone_from(&throttle);
        let config = Agent::config_builder()
            .tls_config(skiff_registry::trust(&options.authorities)?)
            .http_status_as_error(false)
            // A token is for one server alone.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("skiff-supervisor/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(options.connect_within))
            .build();
        let agent = Mutex::new(config.new_agent());
        Ok(Self { server, token, client: Client::new(client)?, throttle, config, agent })
    }

    fn agent(&self) -> Agent {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Fetch for HttpFetch {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, FetchError> {
        let (url, is_server) = match request.at {
            Place::Server(path) => (self.server.url(path), true),
            Place::Elsewhere(url) if self.server.is_tls() && !url.starts_with("https://") => {
                let what = format!("the server leads to {url}, where there is no TLS");
                return Err(FetchError::Setup { what });
            }
            Place::Elsewhere(url) => (url.to_owned(), false),
        };
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Put => http::Method::PUT,
        };
        let mut built =
            http::Request::builder().method(method).uri(&url).header("accept-encoding", "identity");
        if is_server {
            built = built.header("authorization", format!("Bearer {}", self.token.reveal()));
        }
        for (name, value) in &request.headers {
            built = built.header(*name, value);
        }
        let agent = self.agent();
        let timed = (request.answer_within, request.stalled_after);
        let answer = match request.body {
            Payload::None => run(&agent, built.body(()), timed),
            Payload::Json(bytes) => {
                run(&agent, built.header("content-type", "application/json").body(bytes), timed)
            }
            Payload::File(mut file) => {
                let size = file.metadata().map_err(unreachable(&url))?.len();
                let built = built.header("content-length", size);
                run(
                    &agent,
                    built
                        .header("content-type", "application/octet-stream")
                        .body(SendBody::from_reader(&mut file)),
                    timed,
                )
            }
        };
        let (head, body) = answer.map_err(|error| failed(error, url, request.answer_within))?.into_parts();
        let body = Throttled { body: body.into_reader(), throttle: self.throttle.clone() };
        Ok(Answer::new(head.status.as_u16(), headers(&head.headers), Box::new(body)))
    }

    fn pull(&self, image: &Pull<'_>) -> Result<Pulled, FetchError> {
        let place = format!("docker://{}/{}@{}", self.server.authority(), image.repository, image.manifest);
        let reference: Reference = place.parse()?;
        let layout = Layout::create(image.directory)?;
        let fetched = self.client.with_control(image.control).fetch(&reference, None, &layout)?;
        Ok(Pulled::new(fetched.image, fetched.transferred))
    }

    fn interrupt(&self) {
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *agent, self.config.new_agent()).shutdown();
    }
}

/// A body that comes no faster than was granted.
struct Throttled {
    body: ureq::BodyReader<'static>,
    throttle: Option<Arc<Throttle>>,
}

impl Read for Throttled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(throttle) = &self.throttle else { return self.body.read(buffer) };
        // A quarter of a second at a time, so that whoever ends it need not wait for long.
        let most = usize::try_from(throttle.bytes_per_second() / 4).unwrap_or(usize::MAX).max(1);
        let most = most.min(buffer.len());
        let count = self.body.read(&mut buffer[..most])?;
        throttle.spend(count as u64, &Control::default()).map_err(io::Error::other)?;
        Ok(count)
    }
}

fn run<S: ureq::AsSendBody>(
    agent: &Agent,
    request: Result<http::Request<S>, http::Error>,
    (answer_within, stalled_after): (Duration, Duration),
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    // That of reading counts for the head as well, and none at all is refused.
    let stalled_after = stalled_after.max(SHORTEST);
    let configured = agent
        .configure_request(request?)
        .timeout_recv_response(Some(answer_within.max(SHORTEST)))
        .timeout_per_read(Some(stalled_after))
        .timeout_per_write(Some(stalled_after))
        .build();
    agent.run(configured)
}

fn headers(found: &HeaderMap) -> Vec<(String, String)> {
    let text = found.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    text.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn unreachable(place: &str) -> impl FnOnce(io::Error) -> FetchError {
    let place = place.to_owned();
    move |source| FetchError::Unreachable { place, source }
}

fn failed(error: ureq::Error, place: String, within: Duration) -> FetchError {
    match error {
        ureq::Error::Timeout(_) => FetchError::TimedOut { place, within },
        error => unreachable(&place)(error.into_io()),
    }
}

impl fmt::Debug for HttpFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetch").field("server", &self.server).finish_non_exhaustive()
    }
}
