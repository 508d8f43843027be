//! The programs that are measured.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use skiff_benches::{Context as _, Failure};

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Not killed, as nginx would leave the processes that it started. It may have ended by itself.
        if let Some(process) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// A delta server.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) data: PathBuf,
}

impl Server {
    pub(crate) async fn start(program: Option<&Path>, work: &Path, images: &Path) -> Result<Self, Failure> {
        let beside =
            std::env::current_exe().context(|| "finding the server".into())?.with_file_name("skiff-server");
        let (program, data) = (program.unwrap_or(&beside), work.join("data"));
        let token = "a-token-that-nobody-else-has-to-know".to_owned();
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&data).arg("--images").arg(images);
        // Serving is what is measured here.
        command.args(["--level", "fast"]);
        command.env("SKIFF_SERVER_TOKEN", &token).env("SKIFF_LOG", "warn").stdout(Stdio::piped());
        let mut child = command.spawn().context(|| format!("starting {}", program.display()))?;
        let output = child.stdout.take();
        let process = Process(child);
        let mut lines = BufReader::new(output.ok_or_else(|| Failure::new("no output"))?).lines();
        let address =
            lines.find_map(|line| Some(line.ok()?.strip_prefix("listening on http://")?.to_owned()));
        let address = address.ok_or_else(|| Failure::new("the server did not start"))?;
        Ok(Self { process, address, token, data })
    }

    /// The most memory that it has had resident, in bytes.
    pub(crate) fn peak(&self) -> Result<u64, Failure> {
        self.status("VmHWM:")
    }

    /// The memory that it has resident, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))
            .context(|| "reading /proc".into())?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| Failure::new(format!("no {name}")))
    }
}

/// nginx, which serves the files of a directory.
pub(crate) struct Nginx {
    _process: Process,
    pub(crate) address: String,
}

impl Nginx {
    pub(crate) async fn start(work: &Path, files: &Path) -> Result<Self, Failure> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.context(|| "finding a port".into())?.to_string();
        let directory = work.join("nginx");
        fs::create_dir_all(&directory).context(|| "making a directory".into())?;
        let (at, root) = (directory.display(), files.display());
        // As Debian configures it, but for one that is alone and may read what only its owner may.
        let configuration = format!(
            "daemon off; worker_processes auto; pid {at}/pid; error_log {at}/error; user root;\n\
             events {{ worker_connections 768; }}\n\
             http {{ sendfile on; tcp_nopush on; access_log off; keepalive_requests 1000000;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
             server {{ listen {address}; root {root}; }} }}\n"
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration).context(|| "configuring nginx".into())?;
        let child = Command::new("nginx").arg("-c").arg(&file).stderr(Stdio::null()).spawn();
        let process = Process(child.context(|| "starting nginx".into())?);
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(&address).await.is_ok() {
                return Ok(Self { _process: process, address });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Failure::new("nginx did not start"))
    }
}
