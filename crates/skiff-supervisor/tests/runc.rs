//! Releases as containers. Every test has a file system of its own, on which are the store, the runner's directory and all that is
//! written.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skiff_apply::{InstallInput, Options, Store, StoreOptions};
use skiff_image::{FlattenOptions, ImageRef, OpenOptions};
use skiff_supervisor::{
    Access, Bind, Network, Output, RootAccess, RunState, RuncOptions, RuncRunner, Runnable, Runner,
    RunnerError,
};
use skiff_testkit::{Image, Layer, Mounted, OciLayout, run_program, static_program};
use skiff_tree::ReleaseId;

/// Longer than any of what is waited for takes, on however slow a machine.
const LONG: Duration = Duration::from_secs(60);

/// The static program of the images, compiled once.
fn agent() -> &'static [u8] {
    static AGENT: OnceLock<Vec<u8>> = OnceLock::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/agent.rs");
    AGENT.get_or_init(|| static_program(&source))
}

/// The lowest layer of every image: the program and two users. There is neither `/proc` nor `/dev` nor a shell.
fn base() -> Layer {
    Layer::new()
        .directory("app")
        .file("app/agent", agent())
        .mode(0o755)
        .file("etc/passwd", "root:x:0:0::/:\nservice:x:1234:2345::/:\n")
        .file("etc/group", "root:x:0:\nservice:x:2345:\ndialout:x:20:service\n")
}

fn image(layer: Layer, config: &[(&str, Value)]) -> Image {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let image = Image::new().layer(base()).layer(layer).architecture(architecture);
    config.iter().fold(image, |image, (field, value)| image.config(field, value.clone()))
}

/// An image whose program does what these words say.
fn doing(words: &[&str]) -> Image {
    doing_with(words, Layer::new(), &[])
}

fn doing_with(words: &[&str], layer: Layer, config: &[(&str, Value)]) -> Image {
    image(layer, config).config("Entrypoint", json!(["/app/agent"])).command(words)
}

struct Device {
    id: String,
    store: Store,
    // Last, so that it is unmounted when nothing lies on it any more.
    disk: Mounted,
}

impl Device {
    fn new(name: &str) -> Self {
        let disk = Mounted::image(&["mkfs.ext4", "-q"], 128 << 20);
        let store = Store::create(disk.path().join("store"), &StoreOptions::default()).unwrap();
        Self { id: format!("skiff-test-{}-{name}", std::process::id()), store, disk }
    }

    fn state(&self) -> PathBuf {
        self.disk.path().join("run")
    }

    fn options(&self) -> RuncOptions {
        RuncOptions::new(self.state(), &self.id)
            .with_output(Output::File(self.log()))
            .with_network(Network::None)
    }

    fn log(&self) -> PathBuf {
        self.disk.path().join("log")
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn runner(&self) -> RuncRunner {
        RuncRunner::open(self.options()).unwrap()
    }

    /// Brings a release onto the device.
    fn install(&self, image: Image) -> ReleaseId {
        let layout = tempfile::tempdir().unwrap();
        OciLayout::new().image("latest", image).write_directory(layout.path());
        let reference: ImageRef = format!("oci:{}:latest", layout.path().display()).parse().unwrap();
        let image = skiff_image::Image::open(&reference, &OpenOptions::default()).unwrap();
        let flat = image.flatten(&FlattenOptions::default()).unwrap();
        let mut input = InstallInput::new(&flat.tree, &flat.contents);
        input.config = image.config();
        self.store.install(&input, &Options::default()).unwrap().release
    }

    fn start(&self, runner: &mut RuncRunner, release: ReleaseId) -> Result<(), RunnerError> {
        let config = self.store.config(release).unwrap();
        runner.start(&Runnable::new(release, &self.store.rootfs(release), config.as_deref()))
    }

    /// Runs an image to its end, and returns what it printed.
    fn output(&self, options: RuncOptions, image: Image) -> String {
        let release = self.install(image);
        let mut runner = RuncRunner::open(options).unwrap();
        let before = self.printed().len();
        self.start(&mut runner, release).unwrap();
        assert_eq!(ended(&mut runner, release), "exit status 0", "{}", self.printed());
        runner.stop(LONG).unwrap();
        self.printed().split_off(before)
    }

    fn wait_until_printed(&self, text: &str) {
        wait_until(|| self.printed().contains(text));
    }

    /// What is mounted beneath the runner's directory.
    fn mounts(&self) -> Vec<String> {
        let state = self.state();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        points.filter(|point| Path::new(point).starts_with(&state)).map(Into::into).collect()
    }

    /// Nothing is left of a container: no mount, no bundle, no state of `runc`, no cgroup.
    fn assert_clean(&self) {
        assert!(self.mounts().is_empty(), "{:?}", self.mounts());
        assert!(!self.state().join("bundle").exists());
        assert!(!self.state().join("runc").join(&self.id).exists());
        assert!(!self.state().join("run.json").exists());
        for group in ["/sys/fs/cgroup/skiff", "/sys/fs/cgroup/memory/skiff"] {
            assert!(!Path::new(group).join(&self.id).exists());
        }
    }
}

impl Drop for Device {
    /// Nothing is left running or mounted, even by a test that fails.
    fn drop(&mut self) {
        if let Ok(mut runner) = RuncRunner::open(self.options()) {
            let _ = runner.stop(Duration::ZERO);
        }
        for point in self.mounts() {
            let _ = Command::new("umount").args(["-l", &point]).status();
        }
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ended(runner: &mut RuncRunner, of: ReleaseId) -> String {
    let mut how = None;
    wait_until(|| match runner.state().unwrap() {
        RunState::Ended { release, how: words } => {
            assert_eq!(release, of);
            how = Some(words);
            true
        }
        state => {
            assert_eq!(state, RunState::Running(of));
            false
        }
    });
    how.unwrap()
}

/// The container's first process, as the record has it.
fn pid(device: &Device) -> u64 {
    let record: Value = serde_json::from_slice(&fs::read(device.state().join("run.json")).unwrap()).unwrap();
    record["leader"]["pid"].as_u64().unwrap()
}

fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
#[ignore = "needs runc and root"]
fn the_program_gets_what_its_image_says() {
    let device = Device::new("says");
    let image = doing_with(
        &["show", "arguments", "one", "two words"],
        Layer::new().directory("srv/app"),
        &[("Env", json!(["A=1", "B=2"])), ("User", json!("service")), ("WorkingDir", json!("/srv/app"))],
    );
    let printed = device.output(device.options().with_variable("B", "3"), image);
    for line in [
        "arguments one|two words",
        "directory /srv/app",
        "variable A=1",
        "variable B=3",
        "variable PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "Uid 1234 1234 1234 1234",
        "Gid 2345 2345 2345 2345",
        "Groups 20 2345",
        "CapEff 0000000000000000",
        "CapBnd 00000000a80425fb",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in {printed}");
    }
    assert!(!printed.contains("CARGO"), "nothing of the supervisor's own: {printed}");
    device.assert_clean();
}

#[test]
#[ignore = "needs runc and root"]
fn what_the_image_does_not_say_is_as_docker_has_it() {
    let device = Device::new("default");
    // The working directory is not in the image.
    let image = doing_with(
        &[
            "show",
            "read",
            "/proc/interrupts",
            "list",
            "/proc/asound",
            "write",
            "/proc/sys/kernel/hostname",
            "x",
            "list",
            "/sys/class/net",
        ],
        Layer::new(),
        &[("WorkingDir", json!("/made/for/it"))],
    );
    let printed = device.output(device.options(), image);
    for line in [
        "directory /made/for/it",
        "Uid 0 0 0 0",
        "CapEff 00000000a80425fb",
        "/proc/interrupts: ",
        "/proc/sys/kernel/hostname: read-only filesystem or storage medium",
        "/sys/class/net has lo",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in {printed}");
    }
    assert!(
        !fs::exists(device.store.rootfs(device.store.current().unwrap().unwrap().id).join("made")).unwrap()
    );
}

#[test]
#[ignore = "needs runc and root"]
fn volumes_outlive_releases_and_writable_layers_do_not() {
    let device = Device::new("volumes");
    let volumes = [("Volumes", json!({ "/data": {}, "/srv/empty": {} }))];
    let seeded = |seed: &str| Layer::new().file("data/seed", seed).file("etc/mark", seed);
    let steps = [
        "list",
        "/data",
        "read",
        "/data/seed",
        "read",
        "/data/new",
        "list",
        "/srv/empty",
        "read",
        "/own",
        "read",
        "/etc/mark",
    ];
    let writes = ["write", "/data/new", "kept", "write", "/own", "written", "write", "/etc/mark", "changed"];
    let first = doing_with(&[&steps[..], &writes].concat(), seeded("first"), &volumes);
    let printed = device.output(device.options(), first.clone());
    for line in [
        "/data has seed",
        "/data/seed: first",
        "/srv/empty has ",
        "/own: entity not found",
        "/etc/mark: first",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in {printed}");
    }

    // The same release again: its layer is there, as are the volumes.
    let printed = device.output(device.options(), first);
    for line in ["/data has new seed", "/data/new: kept", "/own: written", "/etc/mark: changed"] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in {printed}");
    }

    // Another release: the volumes are there, and not filled anew; the layer is not.
    let second = doing_with(&steps, seeded("second"), &volumes);
    let printed = device.output(device.options(), second);
    for line in [
        "/data has new seed",
        "/data/seed: first",
        "/data/new: kept",
        "/own: entity not found",
        "/etc/mark: second",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in {printed}");
    }

    // What the release itself has was never written to.
    let status = device.store.verify(&Options::default()).unwrap();
    assert!(status.is_sound());
    device.assert_clean();
}

#[test]
#[ignore = "needs runc and root"]
fn writable_layers_are_collected() {
    let device = Device::new("collect");
    let mut runner = device.runner();
    let upper = |release: ReleaseId| device.state().join("upper").join(release.to_string());
    let releases = ["1", "2", "3"].map(|mark| {
        let release = device.install(doing(&["write", "/own", mark, "wait"]));
        device.start(&mut runner, release).unwrap();
        release
    });
    device.wait_until_printed("ready");
    fs::create_dir(device.state().join("upper/no-release")).unwrap();
    runner.collect(&[releases[0]]).unwrap();
    assert!(
        upper(releases[0]).exists() && !upper(releases[1]).exists() && upper(releases[2]).exists(),
        "the third runs"
    );
    runner.stop(LONG).unwrap();
    runner.collect(&[]).unwrap();
    assert!(!upper(releases[0]).exists() && !upper(releases[2]).exists());
    assert!(device.state().join("upper/no-release").exists());
}

#[test]
#[ignore = "needs runc and root"]
fn a_root_that_is_only_read_cannot_be_written_to() {
    let device = Device::new("read-only");
    let bound = device.disk.path().join("bound");
    fs::create_dir(&bound).unwrap();
    fs::write(bound.join("file"), "bound").unwrap();
    let image = doing_with(
        &[
            "show",
            "write",
            "/own",
            "x",
            "write",
            "/etc/passwd",
            "x",
            "write",
            "/data/new",
            "x",
            "write",
            "/dev/shm/x",
            "x",
            "read",
            "/deep/er/file",
            "write",
            "/deep/er/file",
            "x",
            "list",
            "/",
        ],
        Layer::new().directory("var/lib").symlink("data", "/var/lib/data"),
        &[("Volumes", json!({ "/data": {} })), ("WorkingDir", json!("/made/for/it"))],
    );
    let options = device.options().with_root(RootAccess::ReadOnly).with_bind(Bind::new(
        bound.join("file"),
        "/deep/er/file",
        Access::ReadOnly,
    ));
    let printed = device.output(options, image);
    for line in [
        "directory /made/for/it",
        "/own: read-only filesystem or storage medium",
        "/etc/passwd: read-only filesystem or storage medium",
        "/data/new written",
        "/dev/shm/x written",
        "/deep/er/file: bound",
        "/deep/er/file: read-only filesystem or storage medium",
        "/ has app data deep dev etc made proc sys var",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} is not in {printed}");
    }
    assert!(!device.state().join("upper").exists());
    assert!(device.store.verify(&Options::default()).unwrap().is_sound());
    device.assert_clean();
}

#[test]
#[ignore = "needs runc and root"]
fn the_system_is_seen_where_it_is_bound() {
    let device = Device::new("binds");
    let lock = device.disk.path().join("lock");
    let data = device.disk.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "of the system").unwrap();
    let image = doing_with(
        &[
            "read",
            "/data/file",
            "write",
            "/data/file",
            "x",
            "write",
            "/run/update/lock",
            "held",
            "list",
            "/sys/class/net",
        ],
        Layer::new().file("data/seed", ""),
        // A bind comes before the image's volume.
        &[("Volumes", json!({ "/data": {} }))],
    );
    let options = device
        .options()
        .with_network(Network::Host)
        .with_bind(Bind::new(&data, "/data/", Access::ReadOnly))
        .with_update_lock(&lock, "/run/update");
    let printed = device.output(options, image);
    assert!(printed.contains("/data/file: of the system\n/data/file: read-only filesystem"), "{printed}");
    assert_eq!(fs::read_to_string(lock.join("lock")).unwrap(), "held");
    let mut own: Vec<_> = fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|name| name.unwrap().file_name().into_string().unwrap())
        .collect();
    own.sort();
    assert!(printed.contains(&format!("/sys/class/net has {}", own.join(" "))), "{printed}");
    assert!(!device.state().join("volumes").exists());

    let missing =
        device.options().with_bind(Bind::new(device.disk.path().join("none"), "/x", Access::ReadOnly));
    let mut runner = RuncRunner::open(missing).unwrap();
    let release = device.store.current().unwrap().unwrap().id;
    assert!(
        matches!(device.start(&mut runner, release), Err(RunnerError::Io { path, .. }) if path.ends_with("none"))
    );
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
    device.assert_clean();
}

#[test]
#[ignore = "needs runc and root"]
fn stopping_asks_first_and_then_kills() {
    let device = Device::new("stop");
    let mut runner = device.runner();
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
    runner.stop(LONG).unwrap();

    let polite = device.install(doing_with(&["wait"], Layer::new(), &[("StopSignal", json!("SIGINT"))]));
    device.start(&mut runner, polite).unwrap();
    device.wait_until_printed("ready");
    assert_eq!(runner.state().unwrap(), RunState::Running(polite));
    runner.stop(LONG).unwrap();
    assert!(device.printed().ends_with("asked\n"));
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
    device.assert_clean();

    // The first process of a container is deaf to signals that it does not handle.
    let deaf = device.install(doing(&["read", "/none", "hang"]));
    device.start(&mut runner, deaf).unwrap();
    device.wait_until_printed("/none: ");
    let pid = pid(&device);
    runner.stop(Duration::from_millis(50)).unwrap();
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "it is reaped");
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
    device.assert_clean();
}

#[test]
#[ignore = "needs runc and root"]
fn how_a_program_ended_is_told() {
    let device = Device::new("ended");
    let release = device.install(doing(&["exit", "3"]));
    let mut runner = device.runner();
    device.start(&mut runner, release).unwrap();
    assert_eq!(ended(&mut runner, release), "exit status 3");
    assert_eq!(device.runner().state().unwrap(), runner.state().unwrap(), "the next supervisor knows too");
    assert!(runner.probe(&words(&["/app/agent"]), LONG).is_err());

    // To start again is to clean up first.
    device.start(&mut runner, release).unwrap();
    assert_eq!(ended(&mut runner, release), "exit status 3");
    runner.stop(LONG).unwrap();
    device.assert_clean();

    let release = device.install(doing(&["hang"]));
    device.start(&mut runner, release).unwrap();
    run_program(Command::new("kill").args(["-9", &pid(&device).to_string()]));
    assert_eq!(ended(&mut runner, release), "signal 9");
}

#[test]
#[ignore = "needs runc and root"]
fn another_supervisor_goes_on_with_what_runs() {
    let device = Device::new("adopt");
    let release = device.install(doing(&["wait"]));
    let mut first = device.runner();
    device.start(&mut first, release).unwrap();
    device.wait_until_printed("ready");
    let pid = pid(&device);
    drop(first);
    assert_eq!(device.runner().state().unwrap(), RunState::Running(release));
    assert!(device.runner().probe(&words(&["/app/agent", "show"]), LONG).unwrap());

    // As it is where the supervisor was killed before it had recorded what it started, or where the record is lost: the
    // container tells.
    let record = device.state().join("run.json");
    let mut begun: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    begun["leader"] = Value::Null;
    fs::write(&record, begun.to_string()).unwrap();
    assert_eq!(device.runner().state().unwrap(), RunState::Running(release));
    fs::remove_file(&record).unwrap();
    assert_eq!(device.runner().state().unwrap(), RunState::Running(release));
    assert!(runs(pid));

    // To start another release is to stop this one.
    let next = device.install(doing(&["wait", "exit", "0"]));
    let mut second = device.runner();
    device.start(&mut second, next).unwrap();
    assert!(!runs(pid) && device.printed().contains("asked"));
    assert_eq!(second.state().unwrap(), RunState::Running(next));
    assert_eq!(device.mounts().len(), 1);
    second.stop(LONG).unwrap();
    device.assert_clean();
}

#[test]
#[ignore = "needs runc and root"]
fn what_a_power_cut_left_is_cleaned_away() {
    let device = Device::new("cut");
    let release = device.install(doing(&["write", "/own", "written", "wait"]));
    let mut runner = device.runner();
    device.start(&mut runner, release).unwrap();
    device.wait_until_printed("ready");
    let record = device.state().join("run.json");
    let mut cut: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    // The system's last run ended with the container in it, and half of the state of runc was written.
    run_program(Command::new("kill").args(["-9", &pid(&device).to_string()]));
    ended(&mut runner, release);
    cut["boot"] = json!("another");
    fs::write(&record, cut.to_string()).unwrap();
    fs::write(device.state().join("runc").join(&device.id).join("state.json"), "{").unwrap();
    for point in device.mounts() {
        run_program(Command::new("umount").arg(point));
    }
    assert_eq!(device.runner().state().unwrap(), RunState::Stopped);
    assert!(!device.state().join("bundle").exists() && !record.exists());

    // A supervisor that was killed in the middle of starting leaves a mount, and no container.
    device.start(&mut runner, release).unwrap();
    let mut begun: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    run_program(
        Command::new("runc")
            .arg("--root")
            .arg(device.state().join("runc"))
            .args(["delete", "--force", &device.id]),
    );
    begun["leader"] = Value::Null;
    fs::write(&record, begun.to_string()).unwrap();
    assert_eq!(device.mounts().len(), 1);
    assert_eq!(device.runner().state().unwrap(), RunState::Stopped);
    device.assert_clean();
    assert_eq!(
        fs::read_to_string(device.state().join("upper").join(release.to_string()).join("upper/own")).unwrap(),
        "written"
    );
}

#[test]
#[ignore = "needs runc and root"]
fn probes_run_in_the_container() {
    let device = Device::new("probe");
    let image = doing_with(&["write", "/own", "1", "wait"], Layer::new(), &[("Env", json!(["PATH=/app"]))]);
    let release = device.install(image);
    let mut runner = device.runner();
    assert!(runner.probe(&words(&["agent"]), LONG).is_err(), "nothing runs");
    device.start(&mut runner, release).unwrap();
    device.wait_until_printed("ready");
    assert!(runner.probe(&words(&["agent", "read", "/own"]), LONG).unwrap());
    assert!(!runner.probe(&words(&["/app/agent", "exit", "1"]), LONG).unwrap());
    assert!(!runner.probe(&words(&["agent", "hang"]), Duration::from_secs(1)).unwrap());
    let hanging = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"agent\0hang\0"));
    assert!(!hanging, "a probe that takes too long is ended");
    let error = runner.probe(&words(&["/none"]), LONG).unwrap_err().to_string();
    assert!(error.contains("/none") && error.contains("no such file"), "{error}");
    assert!(matches!(runner.probe(&[], LONG), Err(RunnerError::Config { .. })));
    assert_eq!(runner.state().unwrap(), RunState::Running(release));
    assert!(!device.printed().contains("/own: 1"), "probes print nowhere");
}

#[test]
#[ignore = "needs runc and root"]
fn what_cannot_be_run_says_why_and_leaves_nothing() {
    let device = Device::new("refused");
    let mut runner = device.runner();
    for (image, what) in [
        (doing(&[]).config("Entrypoint", json!(["/none"])), "/none"),
        (doing(&[]).config("Entrypoint", json!(["/etc/passwd"])), "permission denied"),
        (doing(&[]).config("Entrypoint", Value::Null), "neither an entry point nor a command"),
        (doing(&[]).config("User", json!("nobody")), "\"nobody\" is not in the image's /etc/passwd"),
        (doing(&[]).config("Volumes", json!({ "data": {} })), "\"data\""),
    ] {
        let release = device.install(image);
        let error = device.start(&mut runner, release).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert_eq!(runner.state().unwrap(), RunState::Stopped);
        device.assert_clean();
    }
    let release = device.install(doing(&["wait"]));
    let mut none = RuncRunner::open(device.options().with_program("/no/such/runc")).unwrap();
    let error = device.start(&mut none, release).unwrap_err().to_string();
    assert!(error.contains("/no/such/runc") && error.contains("cannot be started"), "{error}");
    assert!(device.mounts().is_empty());
    for bad in ["", "..", "a/b", "a b", ".a"] {
        assert!(matches!(
            RuncRunner::open(RuncOptions::new(device.state(), bad)),
            Err(RunnerError::Config { .. })
        ));
    }
}

#[test]
#[ignore = "needs runc and root"]
fn an_overlay_holds_no_writable_layer_and_is_named() {
    let device = Device::new("overlay");
    let release = device.install(doing(&["exit", "0"]));
    let overlay = Mounted::overlay();
    let options = RuncOptions::new(overlay.path().join("run"), &device.id).with_output(Output::Null);
    let mut runner = RuncRunner::open(options.clone()).unwrap();
    let error = device.start(&mut runner, release).unwrap_err().to_string();
    assert!(error.contains(overlay.path().to_str().unwrap()) && error.contains("lies on overlay"), "{error}");
    assert_eq!(runner.state().unwrap(), RunState::Stopped);
    // To be read, it is good enough.
    let mut runner =
        RuncRunner::open(options.with_root(RootAccess::ReadOnly).with_network(Network::None)).unwrap();
    device.start(&mut runner, release).unwrap();
    assert_eq!(ended(&mut runner, release), "exit status 0");
    runner.stop(LONG).unwrap();
}
