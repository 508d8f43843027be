//! Managing a delta server from the command line.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use skiff_server::{Connections, Options, Server, serve};
use skiff_testkit::{Image, Layer, OciLayout};

/// A server on loopback, and how it is asked.
struct Served {
    runtime: tokio::runtime::Runtime,
    server: Server,
    address: String,
    token: String,
}

impl Served {
    fn start(directory: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut options = Options::new(directory.join("data"));
        options.image_directory = Some(directory.into());
        let (server, address, token) = runtime.block_on(async {
            let server = Server::open(options).await.unwrap();
            let token = server.new_administrator().await.unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(serve(listener, server.router(), Connections::default(), std::future::pending()));
            (server, address, token)
        });
        Self { runtime, server, address, token }
    }

    fn skiff(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
        command.args(arguments).env("SKIFF_SERVER", &self.address).env("SKIFF_TOKEN", &self.token);
        command.output().unwrap()
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.skiff(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.skiff(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.server.shut_down();
    }
}

#[test]
fn a_fleet_from_its_first_release_to_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let image = |text: &str| Image::new().layer(Layer::new().file("etc/motd", text.repeat(500)));
    let layout = OciLayout::new().image("1.0", image("ahoy ")).image("1.1", image("land ahoy "));
    layout.write_directory(&directory.path().join("app"));
    let archive = directory.path().join("sent.tar");
    OciLayout::new().image("1.2", image("aye ")).write_archive(&archive);
    let served = Served::start(directory.path());

    assert_eq!(served.done(&["fleet", "create", "pumps"]), "made the fleet pumps\n");
    assert_eq!(served.done(&["device", "create", "pumps", "pump-1"]).trim().len(), 70);
    assert!(served.done(&["release", "create", "pumps", "oci:app:1.0"]).starts_with("1  "));
    served.done(&["release", "create", "pumps", "oci:app:1.1"]);
    served.done(&["release", "create", "pumps", &format!("oci-archive:{}", archive.display())]);
    let releases: Value =
        serde_json::from_str(&served.done(&["release", "list", "pumps", "--json"])).unwrap();
    assert_eq!(releases.as_array().unwrap().len(), 3);
    let id = |index: usize| releases[index]["state"]["release"].as_str().unwrap().to_owned();
    assert!(served.done(&["fleet", "list"]).contains(&id(2)));
    served.done(&["fleet", "target", "pumps", "1"]);
    assert_eq!(served.done(&["fleet", "list"]), format!("pumps  release 1 ({})  1 devices\n", id(0)));
    served.done(&["fleet", "target", "pumps", &id(1)]);
    assert!(served.done(&["fleet", "list"]).contains(&id(1)));
    assert!(served.fails(&["release", "remove", "pumps", "2"], 2).contains("set another target first"));
    assert_eq!(served.done(&["release", "remove", "pumps", "3"]), "removed release 3 of pumps\n");
    assert!(!served.done(&["release", "list", "pumps"]).contains(&id(2)));

    served.done(&["config", "set", "SKIFF_SUPERVISOR_DELTA", "1", "--fleet", "pumps"]);
    assert_eq!(served.done(&["config", "list", "--fleet", "pumps"]), "SKIFF_SUPERVISOR_DELTA=1\n");
    served.done(&["config", "set", "BALENA_SUPERVISOR_DELTA", "0", "--device", "pump-1"]);
    served.done(&["config", "remove", "BALENA_SUPERVISOR_DELTA", "--device", "pump-1"]);
    assert_eq!(served.done(&["config", "list", "--device", "pump-1"]), "");

    assert_eq!(served.done(&["device", "list"]), "pump-1  pumps  never heard of\n");
    served.done(&["fleet", "create", "lamps"]);
    served.done(&["device", "move", "pump-1", "lamps"]);
    assert_eq!(served.done(&["device", "list", "--fleet", "pumps"]), "");
    served.done(&["device", "remove", "pump-1"]);
    served.done(&["fleet", "remove", "pumps"]);
    assert_eq!(served.done(&["fleet", "list"]), "lamps  no release  0 devices\n");
}

#[test]
fn what_is_refused_says_why_and_is_told_by_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(directory.path());
    served.done(&["fleet", "create", "pumps"]);
    assert!(served.fails(&["fleet", "create", "pumps"], 2).contains("there is a fleet pumps already"));
    assert!(served.fails(&["fleet", "create", "No"], 2).contains("is no name"));
    assert!(served.fails(&["release", "create", "pumps", "oci:nowhere"], 2).contains("directory for images"));
    assert!(
        served
            .fails(&["config", "set", "SKIFF_SUPERVISOR_DELTA", "yes", "--fleet", "pumps"], 2)
            .contains("0 or 1")
    );
    served.fails(&["config", "list"], 2);
    std::fs::write(directory.path().join("broken.tar"), "no archive").unwrap();
    let broken = format!("oci-archive:{}", directory.path().join("broken.tar").display());
    assert!(served.fails(&["release", "create", "pumps", &broken], 4).contains("422"));
    let elsewhere = served.fails(&["fleet", "list", "--server", "http://updates.example"], 2);
    assert!(elsewhere.contains("--plain-http"), "{elsewhere}");
    // Nobody listens there.
    served.fails(&["fleet", "list", "--server", "http://127.0.0.1:1"], 6);
    let wrong = directory.path().join("token");
    std::fs::write(&wrong, "wrong\n").unwrap();
    let refused = served.fails(&["fleet", "list", "--token-file", &wrong.display().to_string()], 2);
    assert!(refused.contains("401"), "{refused}");
}
