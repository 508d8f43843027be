//! File systems of a test's own; it takes root.

// Every test binary uses its own part, and a helper that fails is a test that fails.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

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

pub fn run(program: &str, arguments: &[&str]) {
    run_program(Command::new(program).args(arguments));
}

/// A store on a file system of its own.
pub fn store_on(mounted: &Mounted) -> Store {
    Store::create(mounted.path().join("store"), &StoreOptions::default()).unwrap()
}
