use std::path::PathBuf;

use super::super::Output;
use super::super::image::Environment;

/// How a [`RuncRunner`](super::RuncRunner) runs releases.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RuncOptions {
    /// A directory of the runner's own: writable layers, volumes and the state of `runc`. It is made where it is not there, and has to
    /// lie on a file system that can hold an overlay's writable layer, such as ext4. One runner at a time works in it.
    pub state: PathBuf,
    /// The container's name, which no other runner's container has: letters, digits and `_+-.`.
    pub id: String,
    /// The program `runc`, or one that takes the same arguments.
    pub program: PathBuf,
    /// What of the system is seen in the container, in the place of the image's volumes and beside them.
    pub binds: Vec<Bind>,
    /// The directory with the lock by which a program puts off updates. It is made where it is not there.
    pub update_lock: Option<Bind>,
    /// The network that the container has.
    pub network: Network,
    /// Variables beside those of the image, and before them.
    pub environment: Environment,
    /// Whether the program may write to its root.
    pub root: RootAccess,
    /// Where the program's standard output and error go; its input is empty.
    pub output: Output,
}

/// A file or directory of the system that is seen in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bind {
    /// Where it lies.
    pub source: PathBuf,
    /// Where it is seen: an absolute path in the container.
    pub destination: String,
    /// What the container may do with it.
    pub access: Access,
}

/// Whether something can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only read.
    ReadOnly,
    /// It is written to as well.
    ReadWrite,
}

/// A container's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Network {
    /// The system's own, with its names of hosts.
    #[default]
    Host,
    /// None but a loopback interface.
    None,
}

/// What a container may do with its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootAccess {
    /// It writes to a layer above the release's files. The layer is kept for as long as the release is.
    #[default]
    Writable,
    /// It reads the release's files, and writes to volumes and binds alone.
    ReadOnly,
}

impl RuncOptions {
    /// A container of this name with the system's network and a writable root, kept in a directory.
    pub fn new(state: impl Into<PathBuf>, id: impl Into<String>) -> Self {
        Self {
            state: state.into(),
            id: id.into(),
            program: "runc".into(),
            binds: Vec::new(),
            update_lock: None,
            network: Network::default(),
            environment: Environment::new(),
            root: RootAccess::default(),
            output: Output::default(),
        }
    }

    /// These options, with another program than the `runc` that is found along `PATH`.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// These options, with one more file or directory of the system in the container.
    #[must_use]
    pub fn with_bind(mut self, bind: Bind) -> Self {
        self.binds.push(bind);
        self
    }

    /// These options, with the directory of the update lock, and where the program finds it.
    #[must_use]
    pub fn with_update_lock(mut self, directory: impl Into<PathBuf>, destination: impl Into<String>) -> Self {
        self.update_lock = Some(Bind::new(directory, destination, Access::ReadWrite));
        self
    }

    /// These options, with another network.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// These options, with one more variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// These options, with other access to the root.
    #[must_use]
    pub fn with_root(mut self, root: RootAccess) -> Self {
        self.root = root;
        self
    }

    /// These options, with another place for what the program prints.
    #[must_use]
    pub fn with_output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }
}

impl Bind {
    /// What lies there, seen there.
    pub fn new(source: impl Into<PathBuf>, destination: impl Into<String>, access: Access) -> Self {
        Self { source: source.into(), destination: destination.into(), access }
    }
}
