//! What `runc` is told: the image's config in the terms of the OCI runtime specification, with the limits that Docker sets.
//!
//! The document is written as it stands there: the crate `oci-spec` has types for it, at the price of twenty-two more crates on
//! the device, a regular-expression engine among them.

use std::fs;

use serde_json::{Value, json};
use skiff_tree::ReleaseId;

use super::super::image::{DEFAULT_PATH, ImageConfig};
use super::super::{RunnerError, group};
use super::rootfs::Point;
use super::user::User;
use super::volumes::{Binds, clean};
use super::{Access, Network, RootAccess, RuncOptions};

/// Which release a container runs.
pub(crate) const RELEASE: &str = "dev.skiff.release";
/// Which run of the system it was started in: a number means another process in the next.
pub(crate) const BOOT: &str = "dev.skiff.boot";
/// The signal that asks it to end, as a number.
pub(crate) const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// What a container is made from.
pub(crate) struct Container<'a> {
    pub(crate) options: &'a RuncOptions,
    pub(crate) release: ReleaseId,
    pub(crate) image: &'a ImageConfig,
    pub(crate) user: User,
    pub(crate) binds: &'a Binds,
}

impl Container<'_> {
    /// The container's `config.json`.
    pub(crate) fn spec(&self) -> Result<Value, RunnerError> {
        Ok(json!({
            "ociVersion": "1.0.2",
            "process": self.process()?,
            "root": { "path": "rootfs", "readonly": self.options.root == RootAccess::ReadOnly },
            "hostname": self.hostname(),
            "mounts": self.mounts()?,
            "annotations": self.annotations()?,
            "linux": {
                "cgroupsPath": format!("/skiff/{}", self.options.id),
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
                "namespaces": self.namespaces(),
                "maskedPaths": MASKED,
                "readonlyPaths": READ_ONLY,
            },
        }))
    }

    /// Where something is mounted or the program starts, so that it must be there before the root can no longer be written to.
    pub(crate) fn points(&self) -> Result<Vec<(skiff_tree::EntryPath, Point)>, RunnerError> {
        let mut points = Vec::new();
        for directory in ["/proc", "/dev", "/sys"] {
            points.push((clean(directory)?, Point::Directory));
        }
        points.push((clean(self.image.working_directory()?)?, Point::Directory));
        for (at, bind) in self.binds {
            points.push((at.clone(), if bind.source.is_dir() { Point::Directory } else { Point::File }));
        }
        Ok(points)
    }

    fn process(&self) -> Result<Value, RunnerError> {
        let environment = self.image.environment(&self.options.environment, DEFAULT_PATH)?;
        let variables: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // The same that a program gets which another user executes: none of them, until it gains some.
        let own: &[&str] = if self.user.uid == 0 { &CAPABILITIES } else { &[] };
        // Its own group is among the further ones, so that a file that denies something to that group denies it.
        let groups: Vec<u32> = [self.user.gid].into_iter().chain(self.user.groups.iter().copied()).collect();
        Ok(json!({
            "terminal": false,
            "user": { "uid": self.user.uid, "gid": self.user.gid, "additionalGids": groups },
            "args": self.image.command()?,
            "env": variables,
            "cwd": self.image.working_directory()?,
            "capabilities": { "bounding": CAPABILITIES, "effective": own, "permitted": own },
        }))
    }

    fn mounts(&self) -> Result<Vec<Value>, RunnerError> {
        let mut mounts: Vec<Value> = MOUNTS
            .iter()
            .map(|(at, kind, options)| {
                let options: Vec<&str> = options.split(',').collect();
                json!({ "destination": at, "type": kind, "source": kind, "options": options })
            })
            .collect();
        for (at, bind) in self.binds {
            let access = match bind.access {
                Access::ReadOnly => "ro",
                Access::ReadWrite => "rw",
            };
            let (Some(source), Ok(at)) = (bind.source.to_str(), std::str::from_utf8(at.as_bytes())) else {
                let what = format!("{:?} cannot be mounted: its path is not UTF-8", bind.source);
                return Err(RunnerError::Config { what });
            };
            let options = ["rbind", access, "rprivate"];
            mounts.push(json!({ "destination": format!("/{at}"), "type": "bind", "source": source, "options": options }));
        }
        Ok(mounts)
    }

    fn annotations(&self) -> Result<Value, RunnerError> {
        let boot = group::boot().map_err(super::super::record::proc())?;
        let signal = self.image.stop_signal()?.number().to_string();
        Ok(json!({ RELEASE: self.release.to_string(), BOOT: boot, STOP_SIGNAL: signal }))
    }

    fn namespaces(&self) -> Vec<Value> {
        let mut kinds = vec!["mount", "uts", "ipc", "pid"];
        if self.options.network == Network::None {
            kinds.push("network");
        }
        // With the groups of version 1, programs expect to see where in the system's hierarchy they are.
        if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) {
            kinds.push("cgroup");
        }
        kinds.into_iter().map(|kind| json!({ "type": kind })).collect()
    }

    /// Who shares the system's network has its name in it, too.
    fn hostname(&self) -> String {
        match self.options.network {
            Network::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            Network::None => self.options.id.chars().take(63).collect(),
        }
    }
}

/// As Docker's default: `oci/caps/defaults.go` of moby.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// As Docker's default, like what follows: `oci/defaults.go` of moby.
const MOUNTS: [(&str, &str, &str); 7] = [
    ("/proc", "proc", "nosuid,noexec,nodev"),
    ("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
    ("/sys/fs/cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
    ("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
    ("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"),
];

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests {
    use skiff_tree::EntryPath;

    use super::super::Bind;
    use super::*;

    fn spec(config: &Value, options: RuncOptions, user: User) -> Result<Value, RunnerError> {
        let image = ImageConfig::parse(Some(json!({ "config": config }).to_string().as_bytes()))?;
        let at = |text: &str| EntryPath::new(text).unwrap();
        let binds = Binds::from([
            (at("srv/data/log"), Bind::new("/tmp", "/srv/data/log", Access::ReadOnly)),
            (at("srv/data"), Bind::new("/var", "/srv/data", Access::ReadWrite)),
        ]);
        let release = ReleaseId::of(b"release");
        Container { options: &options, release, image: &image, user, binds: &binds }.spec()
    }

    fn root() -> User {
        User { uid: 0, gid: 0, groups: Vec::new() }
    }

    fn options() -> RuncOptions {
        RuncOptions::new("/state", "app")
    }

    #[test]
    fn the_process_is_the_images() {
        let config = json!({
            "Entrypoint": ["/app"], "Cmd": ["-v"], "Env": ["A=1"], "WorkingDir": "/srv", "StopSignal": "SIGRTMIN+3",
        });
        let user = User { uid: 7, gid: 8, groups: vec![9, 10] };
        let spec = spec(&config, options().with_variable("B", "2"), user).unwrap();
        let process = &spec["process"];
        assert_eq!(process["args"], json!(["/app", "-v"]));
        assert_eq!(process["env"], json!(["A=1", "B=2", format!("PATH={DEFAULT_PATH}")]));
        assert_eq!(process["cwd"], "/srv");
        assert_eq!(process["user"], json!({ "uid": 7, "gid": 8, "additionalGids": [8, 9, 10] }));
        assert_eq!(process["terminal"], false);
        assert_eq!(spec["annotations"][STOP_SIGNAL], "37");
        assert_eq!(spec["annotations"][RELEASE], ReleaseId::of(b"release").to_string());
    }

    #[test]
    fn only_root_begins_with_capabilities() {
        let config = json!({ "Cmd": ["/app"] });
        let of = |user| spec(&config, options(), user).unwrap()["process"]["capabilities"].clone();
        let own = of(root());
        assert_eq!(own["effective"], json!(CAPABILITIES));
        assert_eq!(own["permitted"], json!(CAPABILITIES));
        let other = of(User { uid: 1, ..root() });
        assert_eq!(other, json!({ "bounding": CAPABILITIES, "effective": [], "permitted": [] }));
        for dangerous in ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_PTRACE"] {
            assert!(!own.to_string().contains(dangerous));
        }
    }

    #[test]
    fn what_is_missing_has_a_default() {
        let spec =
            spec(&json!({ "Cmd": ["/app"], "Env": null, "WorkingDir": "" }), options(), root()).unwrap();
        assert_eq!(spec["process"]["env"], json!([format!("PATH={DEFAULT_PATH}")]));
        assert_eq!(spec["process"]["cwd"], "/");
        assert_eq!(spec["annotations"][STOP_SIGNAL], "15");
        assert_eq!(spec["root"], json!({ "path": "rootfs", "readonly": false }));
        assert_eq!(spec["linux"]["cgroupsPath"], "/skiff/app");
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        for bad in [
            json!({}),
            json!({ "Cmd": ["/app"], "WorkingDir": "srv" }),
            json!({ "Cmd": ["/app"], "Env": ["A"] }),
            json!({ "Cmd": ["/app"], "StopSignal": "SIGNAL" }),
        ] {
            assert!(matches!(spec(&bad, options(), root()), Err(RunnerError::Config { .. })), "{bad}");
        }
    }

    #[test]
    fn the_network_and_the_root_are_the_options() {
        let config = json!({ "Cmd": ["/app"] });
        let has_network = |spec: &Value| spec["linux"]["namespaces"].to_string().contains("network");
        let none = spec(&config, options().with_network(Network::None), root()).unwrap();
        assert!(has_network(&none) && none["hostname"] == "app");
        let host = spec(&config, options().with_network(Network::Host), root()).unwrap();
        assert!(!has_network(&host) && host["hostname"] != "app");
        for kind in ["mount", "uts", "ipc", "pid"] {
            assert!(host["linux"]["namespaces"].to_string().contains(kind));
        }
        let read_only = spec(&config, options().with_root(RootAccess::ReadOnly), root()).unwrap();
        assert_eq!(read_only["root"]["readonly"], true);
    }

    #[test]
    fn a_directory_is_mounted_before_what_lies_in_it() {
        let spec = spec(&json!({ "Cmd": ["/app"] }), options(), root()).unwrap();
        let mounts = spec["mounts"].as_array().unwrap();
        let binds = &mounts[mounts.len() - 2..];
        let bind = |source: &str, at: &str, access: &str| json!({ "destination": at, "type": "bind", "source": source, "options": ["rbind", access, "rprivate"] });
        assert_eq!(binds, [bind("/var", "/srv/data", "rw"), bind("/tmp", "/srv/data/log", "ro")]);
    }
}
