//! What a path means inside a release: symbolic links are followed as if the release's root were the system's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use skiff_fs::{EntryType, FsError, Root};
use skiff_tree::EntryPath;

use super::RunnerError;

/// How many symbolic links are followed, as the kernel has it: more are a loop.
const MAX_LINKS: usize = 40;

/// Where a path leads inside a root, without a symbolic link in it. What is not there yet is kept as it is written, so that it
/// may be made.
pub(crate) fn resolve(root: &Root, path: &[u8]) -> Result<EntryPath, FsError> {
    let mut resolved = EntryPath::root();
    let mut links = 0;
    let mut pending = Vec::new();
    push_components(&mut pending, path);
    while let Some(component) = pending.pop() {
        if component == b".." {
            // Nothing is above the root.
            resolved = resolved.parent().unwrap_or_else(EntryPath::root);
            continue;
        }
        let next = resolved.join(&component)?;
        if root.entry_type(&next)? != Some(EntryType::Symlink) {
            resolved = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            let path = root.display(&next);
            return Err(FsError::Refused { path, what: "too many symbolic links lead on from each other" });
        }
        let target = root.read_link(&next)?;
        if target.first() == Some(&b'/') {
            resolved = EntryPath::root();
        }
        push_components(&mut pending, &target);
    }
    Ok(resolved)
}

/// Where on the disk a release's program lies. A name without a slash is looked for along `path`, one with a slash but not at
/// its head in `directory`.
pub(crate) fn program(
    root: &Root,
    name: &str,
    (directory, path): (&str, &str),
) -> Result<PathBuf, RunnerError> {
    let candidates: Vec<String> = match name {
        _ if name.starts_with('/') => vec![name.into()],
        _ if name.contains('/') => vec![format!("{directory}/{name}")],
        _ => path.split(':').map(|place| format!("{place}/{name}")).collect(),
    };
    for candidate in &candidates {
        let Ok(found) = resolve(root, candidate.as_bytes()) else { continue };
        let found = root.display(&found);
        let is_program = |status: fs::Metadata| status.is_file() && status.permissions().mode() & 0o111 != 0;
        if fs::symlink_metadata(&found).is_ok_and(is_program) {
            return Ok(found);
        }
    }
    let what = format!("no such program is in the release; it was looked for as {}", candidates.join(", "));
    Err(RunnerError::Program { program: name.into(), what })
}

/// Puts a path's components on a stack, the first on top.
fn push_components(stack: &mut Vec<Vec<u8>>, path: &[u8]) {
    let components = path.split(|&byte| byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
    stack.extend(components.rev().map(<[u8]>::to_vec));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn leads_to(root: &Root, path: &str) -> String {
        String::from_utf8(resolve(root, path.as_bytes()).unwrap().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn links_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        fs::create_dir_all(at.join("usr/bin")).unwrap();
        symlink("usr/bin", at.join("bin")).unwrap();
        symlink("/usr/../../../usr/bin/sh", at.join("usr/bin/shell")).unwrap();
        symlink("../../../../../etc/passwd", at.join("usr/bin/secrets")).unwrap();
        let root = Root::open(at).unwrap();
        assert_eq!(leads_to(&root, "/bin/shell"), "usr/bin/sh");
        assert_eq!(leads_to(&root, "/bin/secrets"), "etc/passwd");
        assert_eq!(leads_to(&root, "bin/../lib/./new//deeper/"), "usr/lib/new/deeper");
        assert_eq!(leads_to(&root, "/../.."), "");

        symlink("loop", at.join("loop")).unwrap();
        assert!(matches!(resolve(&root, b"loop"), Err(FsError::Refused { .. })));
        assert!(matches!(resolve(&root, &[b'a'; 300]), Err(FsError::Tree(_))));
    }

    #[test]
    fn programs_are_found_as_the_image_means_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        fs::create_dir_all(at.join("opt/app")).unwrap();
        fs::create_dir(at.join("run")).unwrap();
        for (name, mode) in [("opt/app/run", 0o755), ("notes", 0o644)] {
            fs::write(at.join(name), "").unwrap();
            fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("/opt/app/run", at.join("start")).unwrap();
        let root = Root::open(at).unwrap();
        let find = |name: &str| program(&root, name, ("/opt", "/bin:/:/opt/app"));
        for good in ["/opt/app/run", "/start", "start", "run", "app/run", "./app/run"] {
            assert_eq!(find(good).unwrap(), at.join("opt/app/run"), "{good}");
        }
        for bad in ["/run", "notes", "/bin/sh", "sh", "./run"] {
            assert!(matches!(find(bad), Err(RunnerError::Program { .. })), "{bad}");
        }
    }
}
