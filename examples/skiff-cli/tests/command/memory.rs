//! What `skiff apply` takes of memory, that of C libraries included: the kernel holds it to a limit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use skiff_testkit::fuzz::{Bomb, bombs};

/// Less than half of what the limits grant when nothing is set: a decoder's 64 MiB, a frame and its dictionary of 8 MiB.
const LIMIT: u64 = 96 << 20;

/// A control group of its own with a limit of memory; gone when it is dropped.
struct Group {
    directory: PathBuf,
    /// Of version 2, which names everything otherwise.
    is_unified: bool,
}

impl Group {
    fn new(limit: u64) -> Self {
        let is_unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let root = if is_unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
        let directory = Path::new(root).join(format!("skiff-memory-{}-{limit}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let group = Self { directory, is_unified };
        let file = if is_unified { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.directory.join(file), limit.to_string()).unwrap();
        group
    }

    /// Runs a program in the group.
    fn run(&self, program: &str, words: &[&str]) -> Output {
        let processes = self.directory.join("cgroup.procs");
        let enter = "echo $$ >\"$0\" && exec \"$@\"";
        Command::new("sh").arg("-c").arg(enter).arg(processes).arg(program).args(words).output().unwrap()
    }

    fn peak(&self) -> u64 {
        let file = if self.is_unified { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.directory.join(file)).unwrap().trim().parse().unwrap()
    }

    /// How many processes the kernel ended because there was no memory left.
    fn killed(&self) -> u64 {
        let file = if self.is_unified { "memory.events" } else { "memory.oom_control" };
        let told = fs::read_to_string(self.directory.join(file)).unwrap();
        told.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // All that was in it has ended.
        let _ = fs::remove_dir(&self.directory);
    }
}

fn apply(bomb: &Bomb, group: &Group) -> Output {
    let place = tempfile::tempdir().unwrap();
    let (store, delta) = (place.path().join("store"), place.path().join("bomb.skiff"));
    bomb.install(&store);
    fs::write(&delta, &bomb.delta).unwrap();
    let words = ["apply", delta.to_str().unwrap(), "--store", store.to_str().unwrap()];
    group.run(env!("CARGO_BIN_EXE_skiff"), &[&words[..], &["--trust-delta", "--rootless"]].concat())
}

#[test]
#[ignore = "needs root, memory cgroups"]
fn deltas_that_ask_for_much_are_applied_or_refused_in_little_memory() {
    for bomb in bombs() {
        let group = Group::new(LIMIT);
        let output = apply(&bomb, &group);
        let said = String::from_utf8_lossy(&output.stderr);
        println!("{}: {} KiB at most, {}: {said}", bomb.name, group.peak() >> 10, output.status);
        assert_eq!(group.killed(), 0, "{}: {said}", bomb.name);
        assert_eq!(output.status.success(), bomb.is_honest, "{}: {said}", bomb.name);
        assert!(output.status.code().is_some(), "{}: {said}", bomb.name);
    }
    // The group does what it is there for.
    let group = Group::new(6 << 20);
    assert!(!apply(&bombs()[0], &group).status.success());
    assert!(group.killed() > 0);
}
