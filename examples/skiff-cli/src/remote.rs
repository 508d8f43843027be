//! Asking a delta server.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use skiff_protocol::{Problem, ServerAddress, Tls, Token};
use ureq::http::{Request, Response};
use ureq::{Agent, AsSendBody, Body};

use crate::args::AtServer;
use crate::failure::Failure;

/// A delta server, and the token that it is asked with.
pub(crate) struct Remote {
    agent: Agent,
    address: ServerAddress,
    token: Token,
}

/// The longest answer that is read, in bytes: that of 100,000 devices has a half of it.
const ANSWER: u64 = 128 << 20;
const CONNECT: Duration = Duration::from_secs(20);
/// How long the server may take to answer; an image that is sent may take longer.
const IDLE: Duration = Duration::from_secs(60);

impl Remote {
    pub(crate) fn new(at: &AtServer) -> Result<Self, Failure> {
        let tls = if at.plain_http { Tls::Optional } else { Tls::Required };
        let address = ServerAddress::parse(&at.server, tls)
            .map_err(|error| Failure::usage(format!("{error} (--plain-http does)")))?;
        let config = Agent::config_builder()
            .tls_config(skiff::registry::trust(at.ca.as_slice())?)
            .http_status_as_error(false)
            // A token is for one server alone.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(IDLE))
            .timeout_per_write(Some(IDLE))
            .build();
        Ok(Self { agent: config.new_agent(), address, token: token(at.token_file.as_deref())? })
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(path, &self.send("GET", path, None::<(&str, &str)>)?)
    }

    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.read(path, &self.with_json("POST", path, body)?)
    }

    /// Asks for what needs no body.
    pub(crate) fn act<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T, Failure> {
        self.read(path, &self.send(method, path, None::<(&str, &str)>)?)
    }

    pub(crate) fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.read(path, &self.with_json("PUT", path, body)?)
    }

    /// The same, where nothing is answered.
    pub(crate) fn set(&self, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.with_json("PUT", path, body).map(drop)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send("DELETE", path, None::<(&str, &str)>).map(drop)
    }

    /// Sends a file.
    pub(crate) fn upload<T: DeserializeOwned>(&self, path: &str, file: &Path) -> Result<T, Failure> {
        let opened = File::open(file).map_err(|error| Failure::io("opening", file, error))?;
        self.read(path, &self.send("POST", path, Some(("application/x-tar", opened)))?)
    }

    fn with_json(&self, method: &str, path: &str, body: &impl Serialize) -> Result<Vec<u8>, Failure> {
        let body = serde_json::to_string(body).map_err(|error| Failure::new(Failure::DEFECT, error))?;
        self.send(method, path, Some(("application/json", body.as_str())))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, impl AsSendBody)>,
    ) -> Result<Vec<u8>, Failure> {
        let url = self.address.url(path);
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(Failure::IO, format!("{method} {url}: {error}"));
        let request = Request::builder().method(method).uri(&url);
        let request = request.header("authorization", format!("Bearer {}", self.token.reveal()));
        let answer = match body {
            Some((kind, body)) => {
                let request = request.header("content-type", kind).body(body);
                self.agent.run(request.map_err(|error| failed(&error))?)
            }
            None => self.agent.run(request.body(()).map_err(|error| failed(&error))?),
        };
        let mut answer: Response<Body> = answer.map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        answer.body_mut().as_reader().take(ANSWER).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if answer.status().is_success() {
            return Ok(bytes);
        }
        let problem: Option<Problem> = serde_json::from_slice(&bytes).ok();
        Err(match problem {
            Some(problem) => Failure::new(of_status(problem.status), format!("{url}: {problem}")),
            None => failed(&format!("it answers {}", answer.status())),
        })
    }

    fn read<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, Failure> {
        let failed = |error| {
            Failure::corrupt(format!(
                "{}: its answer is none that is known here: {error}",
                self.address.url(path)
            ))
        };
        serde_json::from_slice(bytes).map_err(failed)
    }
}

fn of_status(status: u16) -> u8 {
    match status {
        408 | 429 | 500.. => Failure::IO,
        _ => Failure::USAGE,
    }
}

fn token(file: Option<&Path>) -> Result<Token, Failure> {
    let token = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| Failure::io("reading", file, error))?,
        None => std::env::var("SKIFF_TOKEN")
            .map_err(|_| Failure::usage("no token: name a file with --token-file, or set SKIFF_TOKEN"))?,
    };
    Token::parse(&token).map_err(|error| Failure::usage(error.to_string()))
}
