//! The server, and whoever administrates it.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_server::{Connections, Options, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::Result;

/// A server on loopback, in threads of its own.
pub(crate) struct Service {
    url: String,
    token: String,
    down: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub(crate) fn start(data: &Path, images: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut options = Options::new(data);
        options.image_directory = Some(images.to_owned());
        let (server, token, listener) = runtime.block_on(async {
            let server = Server::open(options).await?;
            let token = server.new_administrator().await?;
            Ok::<_, Box<dyn std::error::Error>>((server, token, TcpListener::bind("127.0.0.1:0").await?))
        })?;
        let url = format!("http://{}", listener.local_addr()?);
        let (down, told) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let serving = async move {
                let (router, ending) = (server.router(), server.clone());
                let down = async move {
                    let _ = told.await;
                    ending.shut_down();
                };
                skiff_server::serve(listener, router, Connections::default(), down).await
            };
            if let Err(error) = runtime.block_on(serving) {
                eprintln!("the server ended: {error}");
            }
            runtime.shutdown_timeout(Duration::from_secs(5));
        });
        Ok(Self { url, token, down: Some(down), thread: Some(thread) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A device of the fleet, and what it proves with who it is.
    pub(crate) fn device(&self, name: &str, takes_deltas: bool) -> Result<String> {
        let made = self.call("POST", "/v1/fleets/sensors/devices", Some(json!({ "name": name })))?;
        let path = format!("/v1/devices/{name}/configuration/SKIFF_SUPERVISOR_DELTA");
        self.call("PUT", &path, Some(json!({ "value": if takes_deltas { "1" } else { "0" } })))?;
        Ok(made["token"].as_str().ok_or("the server gave no token")?.to_owned())
    }

    pub(crate) fn fleet(&self) -> Result<()> {
        self.call("POST", "/v1/fleets", Some(json!({ "name": "sensors" }))).map(drop)
    }

    /// Releases an image to the fleet.
    pub(crate) fn release(&self, number: u32) -> Result<()> {
        let image = format!("oci:images:sensor-{number}");
        let begun = self.call("POST", "/v1/fleets/sensors/releases", Some(json!({ "image": image })))?;
        let path = format!("/v1/fleets/sensors/releases/{}", begun["number"]);
        loop {
            let state = self.call("GET", &path, None)?["state"].take();
            match state["state"].as_str() {
                Some("ready") => return Ok(()),
                Some("failed") => return Err(format!("the release failed: {state}").into()),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let body = body.map_or(String::new(), |body| body.to_string());
        let agent = ureq::Agent::new_with_defaults();
        let mut answer = match method {
            "GET" => agent.run(request.body(())?)?,
            _ => agent.run(request.header("content-type", "application/json").body(body)?)?,
        };
        let text = answer.body_mut().read_to_string()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.down.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
