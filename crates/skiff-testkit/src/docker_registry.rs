//! Docker's own registry, as Debian has it (2.8, without the referrers API), and skopeo beside it.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run_program;

/// The program `docker-registry`, listening on loopback without TLS. Ended when it is dropped, whatever happened.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    address: String,
}

impl DockerRegistry {
    /// Starts it. What it keeps, and its log, go to `registry` in a directory.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        let directory = directory.join("registry");
        fs::create_dir(&directory).expect("a directory");
        // Free a moment ago; the registry takes a port by its number only.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            directory.join("data").display()
        );
        let file = directory.join("config.yml");
        fs::write(&file, config).expect("its configuration");
        let log = File::create(directory.join("log")).expect("its log");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("its log")).stderr(log);
        let process = command.spawn().expect("docker-registry is installed");
        let registry = Self { process, address };
        let start = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Where it listens: `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What an image of it is called by skopeo, and by Skiff.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// Has skopeo put an image there, such as `oci:DIRECTORY:TAG`.
    pub fn push(&self, from: &str, name: &str) {
        run_program(Command::new("skopeo").args([
            "copy",
            "--dest-tls-verify=false",
            from,
            &self.image(name),
        ]));
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
