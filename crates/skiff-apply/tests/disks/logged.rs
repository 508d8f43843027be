//! A disk that remembers what was written to it, and when it was told to keep that.
//!
//! An image file, served through FUSE, so that a loop device can be set up on it: what the loop device is asked to flush arrives as
//! `FSYNC`. One file takes eight requests of the protocol (`include/uapi/linux/fuse.h`), which are answered here; a crate that does it
//! all would bring a dozen others, and a feature of libc on which half the workspace is compiled again.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What happened to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// What was written before is kept from now on.
    Flush,
}

/// An image file that is being served. It has to be unmounted from before this is dropped.
pub(crate) struct LoggedDisk {
    log: Arc<Mutex<Vec<Event>>>,
    directory: PathBuf,
    server: Option<JoinHandle<()>>,
}

impl LoggedDisk {
    /// Serves an image as the only file of a directory.
    pub(crate) fn serve(image: &Path, directory: &Path) -> Self {
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0";
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", options, "logged"]).arg(directory);
        // The kernel takes the connection from mount's own standard input.
        let output = mount.stdin(Stdio::from(device.try_clone().unwrap())).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let image = File::options().read(true).write(true).open(image).unwrap();
        let log = Arc::<Mutex<Vec<Event>>>::default();
        let server = Server { size: image.metadata().unwrap().len(), image, log: Arc::clone(&log) };
        let server = std::thread::spawn(move || server.run(device));
        Self { log, directory: directory.into(), server: Some(server) }
    }

    /// The image, as it is served.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// How much has happened so far.
    pub(crate) fn events(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    /// What has happened so far.
    pub(crate) fn log(&self) -> Vec<Event> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for LoggedDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.directory).status();
        let server = self.server.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            server.unwrap().unwrap();
        }
    }
}

const NAME: &str = "image";
const ROOT_NODE: u64 = 1;
const IMAGE_NODE: u64 = 2;
/// For how many seconds the kernel may believe what it was told: nothing here ever changes.
const VALID: u64 = 3_600;
/// Bytes of one write at most.
const MAX_WRITE: u32 = 1 << 20;
const PAGES: u16 = 256;
/// `FUSE_ASYNC_READ`, `FUSE_BIG_WRITES` and `FUSE_MAX_PAGES`. Not `FUSE_WRITEBACK_CACHE`: each write arrives before it is acknowledged.
const FLAGS: u32 = 1 | 1 << 5 | 1 << 22;

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENODEV: i32 = 19;
const ENOSYS: i32 = 38;

struct Server {
    image: File,
    size: u64,
    log: Arc<Mutex<Vec<Event>>>,
}

/// A request: a header of 40 bytes, then its arguments.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn arguments(&self) -> &[u8] {
        &self.0[40..]
    }
}

/// Fields as they lie in memory.
#[derive(Default)]
struct Answer(Vec<u8>);

impl Answer {
    fn u16s<const N: usize>(mut self, fields: [u16; N]) -> Self {
        fields.iter().for_each(|field| self.0.extend(field.to_ne_bytes()));
        self
    }

    fn u32s<const N: usize>(mut self, fields: [u32; N]) -> Self {
        fields.iter().for_each(|field| self.0.extend(field.to_ne_bytes()));
        self
    }

    fn u64s<const N: usize>(mut self, fields: [u64; N]) -> Self {
        fields.iter().for_each(|field| self.0.extend(field.to_ne_bytes()));
        self
    }
}

impl Server {
    fn run(&self, mut device: File) {
        let mut buffer = vec![0; 2 * MAX_WRITE as usize];
        loop {
            let length = match device.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.raw_os_error() == Some(ENODEV) => return, // unmounted
                // A request that was called off before it was read, and a signal.
                Err(error) if matches!(error.raw_os_error(), Some(ENOENT | 4)) => continue,
                Err(error) => panic!("{error}"),
            };
            let request = Request(&buffer[..length]);
            let unique = request.u64(8);
            let answer = match self.answer(&request) {
                Some(Ok(Answer(bytes))) => Answer::default()
                    .u32s([16 + bytes.len() as u32, 0])
                    .u64s([unique])
                    .0
                    .into_iter()
                    .chain(bytes)
                    .collect(),
                Some(Err(errno)) => Answer::default().u32s([16, (-errno) as u32]).u64s([unique]).0,
                None => continue,
            };
            // Whoever asked may have given up meanwhile.
            let _ = device.write_all(&answer);
        }
    }

    fn answer(&self, request: &Request<'_>) -> Option<Result<Answer, i32>> {
        let none = || Some(Ok(Answer::default()));
        match request.u32(4) {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => None,
            // INIT
            26 => Some(Ok(Answer::default()
                .u32s([7, 31, MAX_WRITE, FLAGS])
                .u16s([16, 12])
                .u32s([MAX_WRITE, 1])
                .u16s([PAGES, 0])
                .u32s([0; 8]))),
            // LOOKUP
            1 if request.arguments() == [NAME.as_bytes(), b"\0"].concat() => {
                let known = Answer::default().u64s([IMAGE_NODE, 0, VALID, VALID]).u32s([0; 2]);
                Some(Ok(self.attributes(known, IMAGE_NODE)))
            }
            1 => Some(Err(ENOENT)),
            // GETATTR
            3 => Some(Ok(self.attributes(Answer::default().u64s([VALID, 0]), request.u64(16)))),
            // OPEN
            14 => Some(Ok(Answer::default().u64s([0, 0]))),
            // READ
            15 => Some(self.read(request.u64(48), request.u32(56))),
            // WRITE
            16 => Some(self.write(request.u64(48), &request.arguments()[40..])),
            // FSYNC
            20 => {
                self.log.lock().unwrap().push(Event::Flush);
                none()
            }
            // RELEASE, FLUSH (which is that of closing), DESTROY
            18 | 25 | 38 => none(),
            _ => Some(Err(ENOSYS)),
        }
    }

    fn attributes(&self, before: Answer, node: u64) -> Answer {
        let (mode, size) = if node == ROOT_NODE { (0o040_700, 0) } else { (0o100_600, self.size) };
        before.u64s([node, size, size / 512, 0, 0, 0]).u32s([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])
    }

    fn read(&self, offset: u64, size: u32) -> Result<Answer, i32> {
        let length = u64::from(size).min(self.size.saturating_sub(offset));
        let mut bytes = vec![0; length as usize];
        self.image.read_exact_at(&mut bytes, offset).map_err(|_| EIO)?;
        Ok(Answer(bytes))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<Answer, i32> {
        self.image.write_all_at(bytes, offset).map_err(|_| EIO)?;
        self.log.lock().unwrap().push(Event::Write { offset, bytes: bytes.to_vec() });
        Ok(Answer::default().u32s([bytes.len() as u32, 0]))
    }
}
