//! File systems of a test's own; it takes root.

// Every test binary uses its own part, and a helper that fails is a test that fails.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::env;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skiff_apply::{Store, StoreOptions};
use skiff_testkit::{Mounted, run_program};

/// One test at a time: a process that is being started holds, until it runs its program, whatever lock another
/// test has just let go.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test in a process with a mount namespace of its own. What it mounts is seen by nobody else, so that what it unmounts is gone
/// then, whoever starts containers meanwhile; and goes with it, even where it is killed.
pub fn apart<T: FnOnce()>(test: T) {
    const APART: &str = "SKIFF_TEST_APART";
    if env::var_os(APART).is_some() {
        let_go_of_others();
        return test();
    }
    let _alone = alone();
    // Of the closure, which is named after the function around it: "program::module::test::{{closure}}".
    let name = std::any::type_name::<T>();
    let name = name.split_once("::").unwrap().1.strip_suffix("::{{closure}}").unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(env::current_exe().unwrap());
    command.args(["--exact", name, "--include-ignored", "--nocapture"]).env(APART, "1");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    println!("{text}");
    assert!(output.status.success() && text.contains(" 1 passed"), "see what it said");
}

/// A new mount namespace has all that was mounted, and keeps it: other tests' file systems are let go.
fn let_go_of_others() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let of_tests = points.filter(|point| point.contains("/.tmp"));
    for point in of_tests.collect::<Vec<_>>().into_iter().rev() {
        // One that is gone already is as good.
        let _ = Command::new("umount").args(["--lazy", point]).output();
    }
}

pub fn run(program: &str, arguments: &[&str]) {
    run_program(Command::new(program).args(arguments));
}

/// A store on a file system of its own.
pub fn store_on(mounted: &Mounted) -> Store {
    Store::create(mounted.path().join("store"), &StoreOptions::default()).unwrap()
}
