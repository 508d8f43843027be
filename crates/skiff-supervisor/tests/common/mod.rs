//! A device, its releases, and a server that does what a test tells it to.

// Every test binary uses its own part, and a helper that fails is a test that fails.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use skiff_apply::{Store, StoreOptions};
use skiff_protocol::{Report, ServerAddress, Tls, Token};
use skiff_supervisor::{
    Checked, Event, Health, HttpFetch, HttpOptions, LocalVariables, Observer, Options, Parts, RunState,
    Runnable, Runner, RunnerError, Supervisor,
};
use skiff_testkit::{HttpAnswer, HttpRequest, Image, Layer, OciLayout, RegistryOptions, TestRegistry, noise};
use skiff_tree::ReleaseId;

/// Two releases, the delta between them, and where a device may lie.
pub struct World {
    pub directory: tempfile::TempDir,
    pub old: ReleaseId,
    pub new: ReleaseId,
    pub delta: Vec<u8>,
    pub layout: OciLayout,
    /// The digest of the new image's manifest.
    pub manifest: String,
}

/// What takes time to make, and is the same for every test.
#[derive(Clone)]
struct Made {
    old: ReleaseId,
    new: ReleaseId,
    delta: Vec<u8>,
}

fn layout(new_bytes: usize) -> OciLayout {
    let image = |version: u32, own: &[u8]| {
        let layer = Layer::new()
            .file("etc/version", version.to_string())
            .file("app/kept", noise(1, 300_000))
            .file("app/own", own);
        Image::new().layer(layer).command(&["/app/run", &version.to_string()])
    };
    OciLayout::new().image("1", image(1, b"one")).image("2", image(2, &noise(2, new_bytes)))
}

impl World {
    /// Releases whose delta has at least so many bytes.
    pub fn new(new_bytes: usize) -> Self {
        static MADE: Mutex<BTreeMap<usize, Made>> = Mutex::new(BTreeMap::new());

        let directory = tempfile::tempdir().unwrap();
        let layout = layout(new_bytes);
        let images = directory.path().join("images");
        layout.write_directory(&images);
        let of = |tag: &str| format!("oci:{}:{tag}", images.display()).parse().unwrap();
        let make = || {
            let options = skiff::diff::Options { level: skiff::diff::Level::Fast, ..Default::default() };
            let mut delta = Cursor::new(Vec::new());
            let report = skiff::diff(&of("1"), &of("2"), &options, &mut delta).unwrap();
            Made { old: report.base, new: report.target, delta: delta.into_inner() }
        };
        let Made { old, new, delta } = lock(&MADE).entry(new_bytes).or_insert_with(make).clone();
        let index: Value = serde_json::from_slice(&layout.files()["index.json"]).unwrap();
        let manifest = index["manifests"][1]["digest"].as_str().unwrap().to_owned();
        let world = Self { old, new, delta, layout, manifest, directory };
        skiff::install(world.store_path(), &of("1"), &skiff::apply::Options::rootless()).unwrap();
        Store::open(world.store_path(), &StoreOptions::default()).unwrap().confirm().unwrap();
        world
    }

    pub fn store_path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub fn store(&self) -> Store {
        Store::open(self.store_path(), &StoreOptions::default()).unwrap()
    }

    pub fn current(&self) -> ReleaseId {
        self.store().current().unwrap().unwrap().id
    }

    /// How a device of these tests works: at once.
    pub fn options(&self) -> Options {
        let mut options = Options::new(self.directory.path().join("state"));
        options.ownership = skiff_fs::Ownership::Record;
        options.health = Health::settled_after(Duration::ZERO);
        options.pause = (Duration::from_millis(50), Duration::from_millis(100));
        options.poll = Duration::ZERO;
        options.report_every = Duration::from_millis(20);
        options.stop_grace = Duration::from_secs(1);
        options
    }
}

/// What a server answers to a request for a delta.
pub type Script = Box<dyn Fn(&HttpRequest) -> Option<HttpAnswer> + Send>;

/// A server that is scripted.
pub struct Server {
    pub registry: TestRegistry,
    state: Arc<Mutex<ServerState>>,
}

pub struct ServerState {
    pub release: ReleaseId,
    pub manifest: String,
    pub variables: BTreeMap<String, String>,
    pub delta: Vec<u8>,
    pub etag: String,
    /// What is answered to the next requests for deltas, one after the other; then, what `always` says.
    pub next: VecDeque<HttpAnswer>,
    pub always: Option<Script>,
    pub asked: Vec<HttpRequest>,
    pub reports: Vec<Report>,
    pub signatures: usize,
    pub has_image: bool,
    pub image_bytes: u64,
    /// Whether a target that has not changed is waited for.
    pub waits: bool,
}

impl Server {
    pub fn new(world: &World) -> Self {
        let variables = [
            ("SKIFF_SUPERVISOR_DELTA", "1"),
            ("SKIFF_SUPERVISOR_DELTA_RETRY_COUNT", "3"),
            ("SKIFF_SUPERVISOR_DELTA_RETRY_INTERVAL", "1"),
        ];
        let state = ServerState {
            release: world.new,
            manifest: world.manifest.clone(),
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            delta: world.delta.clone(),
            etag: "\"one\"".into(),
            next: VecDeque::new(),
            always: None,
            asked: Vec::new(),
            reports: Vec::new(),
            signatures: 0,
            has_image: true,
            image_bytes: 1000,
            waits: false,
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let registry = TestRegistry::scripted(RegistryOptions::default(), move |request, _| {
            lock(&shared).answer(request)
        });
        registry.put_layout("pumps", &world.layout);
        Self { registry, state }
    }

    pub fn state(&self) -> MutexGuard<'_, ServerState> {
        lock(&self.state)
    }

    pub fn set(&self, variable: &str, value: &str) {
        self.state().variables.insert(format!("SKIFF_SUPERVISOR_DELTA{variable}"), value.into());
    }

    pub fn address(&self) -> String {
        self.registry.address()
    }

    /// How many requests for the delta came.
    pub fn deltas_asked(&self) -> usize {
        self.state().asked.len()
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A refusal as the server has it.
pub fn problem(status: u16, code: &str) -> HttpAnswer {
    let body = json!({"code": code, "title": "a title", "status": status, "detail": "a detail"});
    HttpAnswer::new(status).header("content-type", "application/problem+json").body(body.to_string())
}

impl ServerState {
    fn answer(&mut self, request: &HttpRequest) -> Option<HttpAnswer> {
        if request.path.starts_with("/v1/") {
            assert_eq!(request.header("authorization"), Some("Bearer secret"), "{request:?}");
        }
        match (&request.method[..], &request.path[..]) {
            ("GET", "/v1/device/target") => Some(self.target(request)),
            ("PUT", "/v1/device/status") => {
                self.reports.push(serde_json::from_slice(&request.body).unwrap());
                Some(HttpAnswer::new(204))
            }
            ("PUT", path) if path.starts_with("/v1/signatures/") => {
                skiff::signature::TreeSignature::read(&request.body[..], &Default::default()).unwrap();
                self.signatures += 1;
                Some(HttpAnswer::new(204))
            }
            ("GET", path) if path.starts_with("/v1/deltas/") => {
                self.asked.push(request.clone());
                if let Some(next) = self.next.pop_front() {
                    return Some(next);
                }
                let scripted = self.always.as_ref().and_then(|always| always(request));
                Some(scripted.unwrap_or_else(|| self.delta(request)))
            }
            _ if !self.has_image => Some(HttpAnswer::new(500)),
            _ => None,
        }
    }

    fn target(&self, request: &HttpRequest) -> HttpAnswer {
        let body = json!({
            "device": "pump-1", "fleet": "pumps", "release": self.release.to_string(),
            "image": {"repository": "pumps", "manifest": self.manifest, "bytes": self.image_bytes},
            "configuration": self.variables,
        });
        let etag = format!("\"{}\"", skiff_testkit::sha256_hex(body.to_string().as_bytes()));
        if request.header("if-none-match") == Some(&etag) {
            if self.waits {
                // Longer than an answer may take otherwise.
                return HttpAnswer::new(304).header("etag", etag).delay(Duration::from_secs(3));
            }
            // As if it had waited.
            return HttpAnswer::new(304).header("etag", etag).delay(Duration::from_millis(20));
        }
        HttpAnswer::new(200).header("etag", etag).body(body.to_string())
    }

    /// The delta, or the part that is asked for.
    pub fn delta(&self, request: &HttpRequest) -> HttpAnswer {
        let size = self.delta.len();
        let answer = |status| {
            HttpAnswer::new(status).header("etag", &*self.etag).header("skiff-delta-size", size.to_string())
        };
        let is_same = request.header("if-range").is_none_or(|etag| etag == self.etag);
        let range = request.header("range").filter(|_| is_same).and_then(|range| {
            let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
            let end = end.parse().map_or(size, |end: usize| (end + 1).min(size));
            Some(start.parse::<usize>().ok()?..end)
        });
        match range {
            Some(range) if range.start < size => {
                let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                answer(206).header("content-range", told).body(&self.delta[range])
            }
            Some(_) => answer(416),
            None => answer(200).body(&self.delta[..]),
        }
    }
}

/// What happened to a [`FakeRunner`], and what it does with releases.
#[derive(Debug, Default)]
pub struct Ran {
    pub log: Vec<String>,
    pub running: Option<ReleaseId>,
    pub ended: Option<ReleaseId>,
    /// Releases whose program ends at once.
    pub ending: Vec<ReleaseId>,
    /// Releases that cannot be started.
    pub unstartable: Vec<ReleaseId>,
    /// What a probe tells.
    pub is_well: bool,
    /// How often stopping, starting and telling the state fail still, as on a disk that is full.
    pub failing: u32,
}

impl Ran {
    fn fail(&mut self) -> Result<(), RunnerError> {
        match self.failing.checked_sub(1) {
            None => Ok(()),
            Some(left) => {
                self.failing = left;
                let source = std::io::ErrorKind::StorageFull.into();
                Err(RunnerError::Io { op: "writing", path: "run.json".into(), source })
            }
        }
    }
}

/// A runner that runs nothing.
#[derive(Debug, Clone)]
pub struct FakeRunner(pub Arc<Mutex<Ran>>);

impl Default for FakeRunner {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Ran { is_well: true, ..Ran::default() })))
    }
}

impl FakeRunner {
    pub fn ran(&self) -> MutexGuard<'_, Ran> {
        lock(&self.0)
    }
}

impl Runner for FakeRunner {
    fn start(&mut self, release: &Runnable<'_>) -> Result<(), RunnerError> {
        assert!(release.rootfs.join("etc/version").exists());
        let mut ran = self.ran();
        ran.fail()?;
        let config: Value = serde_json::from_slice(release.config.unwrap()).unwrap();
        let version = config["config"]["Cmd"][1].as_str().unwrap();
        ran.log.push(format!("start {version}"));
        if ran.unstartable.contains(&release.release) {
            return Err(RunnerError::Config { what: "it has no program".into() });
        }
        if ran.ending.contains(&release.release) {
            ran.ended = Some(release.release);
        } else {
            (ran.running, ran.ended) = (Some(release.release), None);
        }
        Ok(())
    }

    fn stop(&mut self, _: Duration) -> Result<(), RunnerError> {
        let mut ran = self.ran();
        ran.fail()?;
        if ran.running.take().is_some() {
            ran.log.push("stop".into());
        }
        ran.ended = None;
        Ok(())
    }

    fn state(&mut self) -> Result<RunState, RunnerError> {
        let mut ran = self.ran();
        ran.fail()?;
        Ok(match (ran.running, ran.ended) {
            (Some(release), _) => RunState::Running(release),
            (None, Some(release)) => RunState::Ended { release, how: "exit status 3".into() },
            (None, None) => RunState::Stopped,
        })
    }

    fn probe(&mut self, command: &[String], _: Duration) -> Result<bool, RunnerError> {
        let mut ran = self.ran();
        ran.log.push(format!("probe {}", command.join(" ")));
        Ok(ran.is_well)
    }

    fn collect(&mut self, keep: &[ReleaseId]) -> Result<(), RunnerError> {
        self.ran().log.push(format!("collect all but {}", keep.len()));
        Ok(())
    }
}

/// A supervisor, and what it told.
pub struct Device {
    pub supervisor: Supervisor,
    pub runner: FakeRunner,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Device {
    pub fn new(world: &World, address: &str, options: Options) -> Self {
        Self::with(world.store(), FakeRunner::default(), address, options)
    }

    pub fn with(store: Store, runner: FakeRunner, address: &str, options: Options) -> Self {
        Self::with_http(store, runner, address, options, &HttpOptions::default())
    }

    /// One whose observer panics each time.
    pub fn panicking(world: &World, address: &str, options: Options) -> Self {
        let observer = Box::new(|_: &Event| std::panic::resume_unwind(Box::new("nobody reads this")));
        Self::made_of(
            world.store(),
            FakeRunner::default(),
            address,
            (options, HttpOptions::default(), observer),
        )
    }

    pub fn with_http(
        store: Store,
        runner: FakeRunner,
        address: &str,
        options: Options,
        http: &HttpOptions,
    ) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let observer = Box::new(move |event: &Event| lock(&told).push(event.clone()));
        let made = Self::made_of(store, runner, address, (options, http.clone(), observer));
        Self { events, ..made }
    }

    fn made_of(
        store: Store,
        runner: FakeRunner,
        address: &str,
        (options, http, observer): (Options, HttpOptions, Observer),
    ) -> Self {
        let address = ServerAddress::parse(&format!("http://{address}"), Tls::Required).unwrap();
        let fetch = HttpFetch::new(address, Token::parse("secret").unwrap(), &http).unwrap();
        let parts = Parts {
            store,
            fetch: Box::new(fetch),
            runner: Box::new(runner.clone()),
            local: LocalVariables::default(),
            observer,
        };
        Self { supervisor: Supervisor::new(parts, options).unwrap(), runner, events: Arc::default() }
    }

    pub fn check(&self) -> Checked {
        self.supervisor.check(&Default::default()).unwrap()
    }

    /// What was told, but for progress and phases.
    pub fn events(&self) -> Vec<Event> {
        let told = lock(&self.events).clone();
        told.into_iter()
            .filter(|event| !matches!(event, Event::Progress { .. } | Event::Phase { .. }))
            .collect()
    }

    pub fn all_events(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }

    /// The names of events, as JSON has them.
    pub fn told(&self) -> Vec<String> {
        let name = |event: &Event| serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned();
        self.events().iter().map(name).collect()
    }
}

/// A request for all of a delta.
pub fn get() -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        path: String::new(),
        query: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        is_cut: false,
    }
}

/// Waits until something is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
