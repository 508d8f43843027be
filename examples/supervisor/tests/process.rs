//! The whole with real parts: images made by umoci, Debian's registry, the server and the supervisor as processes, and runc running
//! what was brought.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use skiff_apply::{Store, StoreOptions, Trial};
use skiff_fs::{DiskStorage, Fault, FaultyStorage, RootOptions};
use skiff_protocol::{ServerAddress, Tls, Token};
use skiff_supervisor::{
    Checked, Health, HttpFetch, LocalVariables, Network, OnExit, Options, Output, Parts, RunState,
    RuncOptions, RuncRunner, Runner as _, Supervisor,
};
use skiff_testkit::{DockerRegistry, FlakyProxy, Mounted, noise, run_program, static_program};
use skiff_tree::ReleaseId;

/// What is waited for takes no longer, on however slow a machine.
const LONG: Duration = Duration::from_secs(120);
const ADMINISTRATOR: &str = "an-administrator's-token-of-32-bytes-at-least";
/// How many bytes a connection to the server lasts.
const CUT: u64 = 64 << 10;

/// A process that is killed when it is dropped, whatever happened.
struct Running {
    process: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&said);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| shared.lock().unwrap().push(line));
        });
        Self { process, said }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// The first event of a kind that it told, once it has.
    fn event(&self, kind: &str) -> Value {
        until(&format!("{kind} of {:?}", self.process), || {
            let said = self.said();
            let mut events = said.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            events.find(|event| event["event"] == kind)
        })
    }

    /// Asks it to end, and waits until it has.
    fn end(mut self) -> ExitStatus {
        run_program(Command::new("kill").arg(self.process.id().to_string()));
        self.process.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program of this workspace that another package builds.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_skiff-supervisor")).with_file_name(name);
    assert!(path.exists(), "{name} is not built: cargo build -p skiff-server-example -p skiff-cli");
    path
}

fn printed_by(command: &mut Command) -> String {
    String::from_utf8(run_program(command)).unwrap()
}

/// Images, the registry that they are in, and a server with a fleet of one device.
struct Cloud {
    directory: tempfile::TempDir,
    registry: DockerRegistry,
    url: String,
    token: String,
    _server: Running,
}

impl Cloud {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = DockerRegistry::start(directory.path());
        let mut command = Command::new(program("skiff-server"));
        command.arg("--data").arg(directory.path().join("data"));
        command.args(["--listen", "127.0.0.1:0", "--plain-http"]);
        command.env("SKIFF_SERVER_TOKEN", ADMINISTRATOR).env("SKIFF_LOG", "warn");
        let server = Running::start(&mut command);
        let url = until("the server", || {
            server.said().iter().find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()))
        });
        let mut cloud = Self { directory, registry, url, token: String::new(), _server: server };
        cloud.skiff(&["fleet", "create", "pumps"]);
        cloud.skiff(&["config", "set", "SKIFF_SUPERVISOR_DELTA", "1", "--fleet", "pumps"]);
        cloud.skiff(&["config", "set", "SKIFF_SUPERVISOR_DELTA_RETRY_INTERVAL", "10", "--fleet", "pumps"]);
        cloud.token = cloud.skiff(&["device", "create", "pumps", "pump-1"]).trim().to_owned();
        cloud
    }

    /// Does something as an administrator.
    fn skiff(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("skiff"));
        command.args(arguments).env("SKIFF_SERVER", &self.url).env("SKIFF_TOKEN", ADMINISTRATOR);
        printed_by(&mut command)
    }

    /// Has umoci make an image whose program does what these words say, and puts it into the registry.
    fn push(&self, tag: &str, words: &[&str]) {
        let place = self.directory.path().join(format!("images-{tag}"));
        let image = format!("{}:{tag}", place.display());
        let umoci = |arguments: &[&str]| drop(run_program(Command::new("umoci").args(arguments)));
        umoci(&["init", "--layout", place.to_str().unwrap()]);
        umoci(&["new", "--image", &image]);
        let files = self.directory.path().join(format!("files-{tag}"));
        fs::create_dir(&files).unwrap();
        fs::write(files.join("agent"), agent()).unwrap();
        run_program(Command::new("chmod").arg("755").arg(files.join("agent")));
        // What all have, and what only one has.
        fs::write(files.join("common"), noise(1, 1 << 20)).unwrap();
        fs::write(files.join("own"), noise(u64::from(tag.as_bytes()[0]), 300 << 10)).unwrap();
        umoci(&["insert", "--image", &image, files.to_str().unwrap(), "/app"]);
        let mut config = vec!["config", "--image", &image, "--config.entrypoint", "/app/agent"];
        config.extend(["--config.volume", "/data"]);
        config.extend(words.iter().flat_map(|word| ["--config.cmd", word]));
        umoci(&config);
        self.registry.push(&format!("oci:{image}"), &format!("pump:{tag}"));
    }

    fn release(&self, tag: &str) {
        self.skiff(&["release", "create", "pumps", &self.registry.image(&format!("pump:{tag}"))]);
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }
}

fn agent() -> Vec<u8> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    static_program(&package.join("../../crates/skiff-supervisor/tests/program/agent.rs"))
}

/// A device's disk, and its container.
struct Device {
    container: String,
    disk: Mounted,
}

impl Device {
    fn new(name: &str) -> Self {
        let container = format!("skiff-{name}-{}", std::process::id());
        Self { container, disk: Mounted::image(&["mkfs.ext4", "-q"], 256 << 20) }
    }

    fn supervise(&self, cloud: &Cloud, server: &str) -> Running {
        let at = |name: &str| self.disk.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-supervisor"));
        command.args(["--server", &format!("http://{server}"), "--json", "--settle", "1"]);
        command.arg("--store").arg(at("store")).arg("--state").arg(at("state")).arg("--log").arg(at("log"));
        command.args(["--container", &self.container, "--stop-within", "2", "--network", "none"]);
        Running::start(command.env("SKIFF_TOKEN", &cloud.token))
    }

    /// What its programs printed.
    fn printed(&self) -> String {
        fs::read_to_string(self.disk.path().join("log")).unwrap_or_default()
    }

    fn store(&self) -> Store {
        Store::open(self.disk.path().join("store"), &StoreOptions::default()).unwrap()
    }

    fn current(&self) -> ReleaseId {
        self.store().current().unwrap().unwrap().id
    }

    fn runner(&self) -> RuncRunner {
        RuncRunner::open(RuncOptions::new(self.disk.path().join("state/run"), &self.container)).unwrap()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // What a test that failed left running would keep the disk.
        let _ = self.runner().stop(Duration::ZERO);
    }
}

#[test]
#[ignore = "needs umoci, skopeo, docker-registry, runc and root"]
fn a_device_follows_its_server() {
    let cloud = Cloud::start();
    cloud.push("1", &["write", "/own", "one", "write", "/data/kept", "x", "list", "/data", "wait"]);
    cloud.push("2", &["read", "/own", "read", "/data/kept", "wait"]);
    cloud.push("3", &["exit", "3"]);
    let proxy = FlakyProxy::start(cloud.address(), CUT);
    let device = Device::new("follows");

    // The first release, by a pull through a connection that is cut over and over.
    cloud.release("1");
    let supervisor = device.supervise(&cloud, &proxy.address());
    let updated = supervisor.event("updated");
    assert_eq!(updated["by_delta"], false);
    assert!(proxy.cuts() > 10, "{} cuts", proxy.cuts());
    until("what it wrote", || device.printed().contains("/data has kept").then_some(()));
    let first = device.current();

    // It is killed; what runs goes on, and is found again.
    drop(supervisor);
    let before = device.printed();
    let supervisor = device.supervise(&cloud, &proxy.address());
    supervisor.event("started");

    // The next one, by a delta.
    let (cuts, down) = (proxy.cuts(), proxy.bytes_down());
    cloud.release("2");
    let updated = supervisor.event("updated");
    assert_eq!(updated["by_delta"], true, "{:?}", supervisor.said());
    let received = updated["received"].as_u64().unwrap();
    let (cuts, down) = (proxy.cuts() - cuts, proxy.bytes_down() - down);
    assert!(cuts >= received / CUT - 1, "{cuts} cuts");
    // What else came are the heads of answers, and those of polls and reports.
    assert!(down < received + (cuts + 20) * 3000, "{down} bytes for {received} in {cuts} cuts");
    // Its own layer is not what the one before wrote; volumes are.
    let printed = until("what it read", || {
        let printed = device.printed();
        printed.contains("/data/kept: ").then_some(printed)
    });
    let printed = printed.strip_prefix(&before).unwrap();
    // The one before was asked to end, and had not been started a second time.
    assert!(printed.starts_with("asked\n/own: entity not found\n/data/kept: x\n"), "{printed}");
    let second = device.current();

    // One that does not work is rolled back, and told.
    cloud.release("3");
    let rolled_back = supervisor.event("rolled-back");
    assert_eq!(rolled_back["to"], second.to_string());
    assert!(rolled_back["cause"].as_str().unwrap().contains("exit status 3"), "{rolled_back}");
    assert!(first != second && device.current() == second);
    until("the report", || {
        let listed = cloud.skiff(&["device", "list", "--json"]);
        (listed.contains("exit status 3") && listed.contains(&second.to_string())).then_some(())
    });

    // At its end nothing is left running or mounted.
    assert!(supervisor.end().success());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = format!("{}/", device.disk.path().display());
    assert!(!mounts.contains(&inside), "{mounts}");
}

/// The device's disk, the server, the token, the container, and the number of the call at which the process is killed.
const CHILD: [&str; 5] = [
    "SKIFF_TEST_DISK",
    "SKIFF_TEST_SERVER",
    "SKIFF_TEST_TOKEN",
    "SKIFF_TEST_CONTAINER",
    "SKIFF_TEST_KILL_AT",
];

/// Not a test by itself: the process that is killed. It is what the program is, but for the disk and that it asks once.
#[test]
#[ignore = "needs umoci, skopeo, docker-registry, runc and root"]
fn the_process_to_be_killed() {
    let [Ok(disk), Ok(server), Ok(token), Ok(container), Ok(kill_at)] = CHILD.map(env::var) else { return };
    let mut storage = FaultyStorage::new(DiskStorage);
    if let Ok(call) = kill_at.parse() {
        storage = storage.failing_at(call, Fault::Kill);
    }
    let at = |name: &str| Path::new(&disk).join(name);
    let root = RootOptions::default().with_storage(Arc::new(storage));
    let runner = RuncOptions::new(at("state/run"), container).with_network(Network::None);
    let address = ServerAddress::parse(&server, Tls::Required).unwrap();
    let parts = Parts {
        store: Store::create(at("store"), &StoreOptions::default().with_root(root.clone())).unwrap(),
        fetch: Box::new(HttpFetch::new(address, Token::parse(&token).unwrap(), &Default::default()).unwrap()),
        runner: Box::new(RuncRunner::open(runner.with_output(Output::Null)).unwrap()),
        local: LocalVariables::default(),
        observer: Box::new(|_| {}),
    };
    let mut options = Options::new(at("state"));
    options.root = root;
    options.on_exit = OnExit::LeaveRunning;
    options.health = Health::settled_after(Duration::ZERO);
    let supervisor = Supervisor::new(parts, options).unwrap();
    supervisor.start(&Default::default()).unwrap();
    let checked = supervisor.check(&Default::default()).unwrap();
    assert!(matches!(checked, Checked::Updated { .. } | Checked::UpToDate), "{checked:?}");
}

fn child(cloud: &Cloud, proxy: &FlakyProxy, device: &Device, kill_at: Option<usize>) -> ExitStatus {
    let kill_at = kill_at.map_or("never".to_owned(), |call| call.to_string());
    let disk = device.disk.path().display().to_string();
    let server = format!("http://{}", proxy.address());
    let values = [disk, server, cloud.token.clone(), device.container.clone(), kill_at];
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "the_process_to_be_killed", "--ignored"]).stdout(Stdio::null());
    command.envs(CHILD.into_iter().zip(values)).status().unwrap()
}

#[test]
#[ignore = "needs umoci, skopeo, docker-registry, runc and root"]
fn killed_at_every_call_the_new_release_runs_in_the_end() {
    let cloud = Cloud::start();
    cloud.push("1", &["wait"]);
    cloud.push("2", &["wait"]);
    let proxy = FlakyProxy::start(cloud.address(), CUT);
    let device = Device::new("killed");
    let mut calls = 0;
    loop {
        cloud.release("1");
        assert!(child(&cloud, &proxy, &device, None).success());
        let old = device.current();
        cloud.release("2");
        let status = child(&cloud, &proxy, &device, Some(calls));
        if status.signal().is_none() {
            // There was no such call any more.
            assert!(status.success());
            break;
        }
        assert_eq!(status.signal(), Some(9), "call {calls}");
        assert!(child(&cloud, &proxy, &device, None).success(), "after call {calls}");
        let new = device.current();
        assert_ne!(new, old, "after call {calls}");
        let store = device.store();
        assert_eq!(store.current().unwrap().unwrap().trial, Trial::Confirmed, "after call {calls}");
        assert!(store.verify(&Default::default()).unwrap().is_sound(), "after call {calls}");
        assert_eq!(device.runner().state().unwrap(), RunState::Running(new), "after call {calls}");
        calls += 1;
    }
    assert!(calls > 30, "{calls} calls");
    println!("killed at each of {calls} calls");
}

#[test]
fn keys_that_are_none_are_wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/keys");
    let (private, public) = (format!("{keys}/one.key"), format!("{keys}/one.key.pub"));
    let file = |name: &str, value: &str| {
        let file = at(name);
        std::fs::write(&file, format!("SKIFF_REQUIRE_SIGNATURE={value}\n")).unwrap();
        file
    };
    // Nobody listens at port 9.
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff-supervisor"));
        command.args(["--server", "http://127.0.0.1:9", "--plain-http", "--once", "--rootless"]);
        command.args(["--runner", "command", "--store", &at("store"), "--state", &at("state")]);
        command.args(words).env("SKIFF_TOKEN", "t".repeat(40)).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (variables, unset) = (file("variables", &private), file("unset", ""));
    let wrong = [
        (vec!["--require-signature", &private], "private key"),
        (vec!["--require-signature", &public, "--require-signature", "/none.pub"], "/none.pub"),
        (vec!["--config", &variables], "private key"),
        (vec!["--allow-unsigned-pulls"], "--require-signature"),
        (vec!["--config", &unset], "names no file"),
    ];
    for (words, message) in wrong {
        let (code, said) = run(&words);
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains(message), "{words:?}: {said}");
        assert!(!said.contains("1111"), "{said}");
    }
    // What is right fails later: there is no server.
    let (code, said) = run(&["--config", &file("variables", &public), "--allow-unsigned-pulls"]);
    assert_eq!(code, Some(1), "{said}");
}
