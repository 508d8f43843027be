//! Mount namespaces of a test's own; they take root.

use std::env;
use std::path::Path;
use std::process::Command;

/// Where a test in a namespace of its own may write. Outside of it this is an empty directory on most systems.
pub const SCRATCH: &str = "/media";
/// Where a [`Canary`](crate::Canary) is that the [hostile images](crate::hostile_images) go for.
pub const OUTSIDE: &str = "/media/canary";

const INSIDE: &str = "SKIFF_TEST_IN_NAMESPACE";
/// A file system in memory, which notes each reading; everything else can only be read. What is mounted over cannot be mounted anew.
const PREPARE: &str = "mount -t tmpfs -o mode=755,strictatime,size=75% tmpfs /media || exit
while read -r _ at type _; do
  case $at in /media|/proc|/proc/*|/sys|/sys/*|/dev|/dev/pts) ;; *) mount -o remount,bind,ro \"$at\" 2>/dev/null;; esac
done </proc/self/mounts
if touch /.skiff-test 2>/dev/null; then echo 'the namespace is not read-only' >&2; exit 1; fi
exec \"$@\"";

/// Runs the body of a test in a process and a mount namespace of its own, where nothing can be written but beneath [`SCRATCH`], which is
/// an empty file system in memory. `test` is the test's name as its program lists it. However it ends, nothing stays mounted.
///
/// # Panics
/// Where the body does, or no namespace can be had.
pub fn in_mount_namespace(test: &str, body: impl FnOnce(&Path)) {
    if env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        return body(Path::new(SCRATCH));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", PREPARE, "sh"]);
    command.arg(env::current_exe().expect("because it runs"));
    command.args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env(INSIDE, test).env("TMPDIR", SCRATCH).output().expect("running unshare");
    let told = String::from_utf8_lossy(&output.stdout);
    print!("{told}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("1 passed"), "no test is called {test}");
}
