//! The calls that change nothing fail too: opening, looking, listing. They go through no seam of Skiff's, so the system lets them fail, by
//! `strace --inject` on a child.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use skiff_apply::*;

use crate::common::*;
use crate::mount::alone;
use crate::points::every_call;

const STORE: &str = "SKIFF_TEST_TRACED_STORE";

/// Not a test by itself: the process whose calls fail. What comes of it stands beside the store afterwards.
#[test]
fn the_process_whose_calls_fail() {
    let Ok(path) = env::var(STORE) else { return };
    let (old, new) = (before(), after());
    let applied = Store::open(&path, &StoreOptions::default())
        .and_then(|store| apply(&store, &in_small_frames(&old, &new), &new));
    let told = match applied {
        Ok(_) => "done".into(),
        Err(error) => format!("{:?}: {error}", error.class()),
    };
    fs::write(format!("{path}.told"), told).unwrap();
}

/// Lets one call fail, by its name and its number in each thread. Tells whether there was such a call, and what came of it; none where
/// the process did not get as far as Skiff.
fn traced(store: &Path, (call, number): (&str, usize), errno: &str) -> (bool, Option<String>) {
    let [log, told] = ["strace", "told"].map(|name| format!("{}.{name}", store.display()));
    let _ = fs::remove_file(&told);
    let mut child = Command::new("strace");
    child.args(["-f", "-qq", "--seccomp-bpf", "-o", &log, "-e"]).arg(format!("trace={call}"));
    child.arg("-e").arg(format!("inject={call}:error={errno}:when={number}"));
    child.arg(env::current_exe().unwrap()).args(["--exact", "strace::the_process_whose_calls_fail"]);
    child.env(STORE, store).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let was_there = fs::read_to_string(&log).unwrap().contains("(INJECTED)");
    (was_there, fs::read_to_string(&told).ok())
}

#[test]
#[ignore = "needs strace"]
fn calls_that_only_look_can_fail_too() {
    let _alone = alone();
    let (old, new) = (before(), after());
    let delta = in_small_frames(&old, &new);
    let stride = if every_call() { 1 } else { 12 };
    let (mut failed, mut done) = (0, 0);
    for call in [
        "openat2",
        "newfstatat",
        "fstat",
        "statx",
        "getdents64",
        "readlinkat",
        "llistxattr",
        "fstatfs",
        "flock",
        "uname",
    ] {
        let mut there = 0;
        for number in (1..).step_by(stride) {
            let mut reached = false;
            for errno in ["EIO", "EINTR"] {
                let context = format!("{errno} from {call} {number}");
                let fixture = Fixture::quick(&old);
                let (was_there, told) = traced(fixture.store.path(), (call, number), errno);
                reached |= was_there;
                let Some(told) = told.filter(|_| was_there) else { continue };
                there += 1;
                let current = fixture.store.current().unwrap().unwrap().id;
                let is_new = current == new.id();
                assert!(told.starts_with("Io: ") || (is_new && told == "done"), "{context}: {told}");
                fixture.assert_current(if is_new { &new } else { &old });
                *if told == "done" { &mut done } else { &mut failed } += 1;
                assert!(fixture.store.recover(&rootless()).unwrap().unresolved.is_none(), "{context}");
                fixture.apply(&delta, &new).unwrap_or_else(|error| panic!("{context}: again: {error}"));
                fixture.assert_current(&new);
                assert_eq!(fixture.names("staging"), [""; 0], "{context}");
            }
            if !reached {
                break;
            }
        }
        println!("{call}: {there} faults");
    }
    println!("faults at calls that only look: {failed} told, {done} made good");
    assert!(failed > 20, "{failed}");
}
