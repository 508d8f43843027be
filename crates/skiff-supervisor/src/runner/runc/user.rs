//! Who an image's program runs as, looked up as container engines do it: in the image's own `passwd` and `group`.

use skiff_fs::{FsError, Root};

use super::super::{RunnerError, lookup};

/// Numbers of a user and its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The groups besides.
    pub(crate) groups: Vec<u32>,
}

/// How large the image's lists of users and groups may be. They are read whole.
const MAX_BYTES: u64 = 4 << 20;
/// How many groups Linux lets a process be in.
const MAX_GROUPS: usize = 65_536;
/// Numbers are below this one: the kernel takes the last for "no change", and container engines half of them.
const MAX_NUMBER: u32 = i32::MAX as u32;

impl User {
    /// What `user[:group]`, in names or numbers, means in an image. Nothing is root.
    ///
    /// A number need not be listed; its group is then 0. The groups that list the user's name are its further ones, unless a
    /// group is given.
    pub(crate) fn resolve(root: &Root, text: &str) -> Result<Self, RunnerError> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let group = group.filter(|group| !group.is_empty());
        if group.is_some_and(|group| group.contains(':')) {
            return Err(wrong(format!("its user {text:?} is not user[:group]")));
        }
        let listed = find_user(&read(root, "etc/passwd")?, user);
        let (uid, own_gid, name) = match (listed, number(user)) {
            (Some(listed), _) => listed,
            (None, Some(uid)) => (uid, 0, None),
            (None, None) if user.is_empty() => (0, 0, None),
            (None, None) => {
                return Err(wrong(format!("its user {user:?} is not in the image's /etc/passwd")));
            }
        };
        let Some(group) = group else {
            let groups = match name {
                Some(name) => groups_of(&read(root, "etc/group")?, &name),
                None => Vec::new(),
            };
            return Ok(Self { uid, gid: own_gid, groups });
        };
        let gid = find_group(&read(root, "etc/group")?, group).or_else(|| number(group));
        let gid =
            gid.ok_or_else(|| wrong(format!("its group {group:?} is not in the image's /etc/group")))?;
        Ok(Self { uid, gid, groups: Vec::new() })
    }
}

/// Uid, gid and name of the first entry that is meant.
fn find_user(passwd: &[u8], user: &str) -> Option<(u32, u32, Option<Vec<u8>>)> {
    let wanted = if user.is_empty() { Some(0) } else { number(user) };
    entries(passwd).find_map(|[name, _, uid, gid]| {
        // An entry with anything but numbers for numbers is nobody's; it is not root's.
        let (uid, gid) = (number(text(uid)?)?, number(text(gid)?)?);
        let is_meant = wanted.map_or(name == user.as_bytes(), |wanted| wanted == uid);
        is_meant.then(|| (uid, gid, Some(name.to_vec())))
    })
}

fn find_group(list: &[u8], group: &str) -> Option<u32> {
    let wanted = number(group);
    entries(list).find_map(|[name, _, gid, _]| {
        let gid = number(text(gid)?)?;
        wanted.map_or(name == group.as_bytes(), |wanted| wanted == gid).then_some(gid)
    })
}

fn groups_of(list: &[u8], user: &[u8]) -> Vec<u32> {
    let listed =
        entries(list).filter(|[_, _, _, members]| members.split(|&byte| byte == b',').any(|one| one == user));
    listed.filter_map(|[_, _, gid, _]| number(text(gid)?)).take(MAX_GROUPS).collect()
}

/// The first four fields of each line that has them.
fn entries(list: &[u8]) -> impl Iterator<Item = [&[u8]; 4]> {
    list.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.trim_ascii().split(|&byte| byte == b':');
        Some([fields.next()?, fields.next()?, fields.next()?, fields.next()?])
    })
}

fn number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= MAX_NUMBER)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A list of the image; empty where it has none.
fn read(root: &Root, path: &str) -> Result<Vec<u8>, FsError> {
    let path = lookup::resolve(root, path.as_bytes())?;
    match root.read_file(&path, MAX_BYTES) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        read => read,
    }
}

fn wrong(what: String) -> RunnerError {
    RunnerError::Config { what }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        evil:x:zero:0::/:\nempty:x:::::\nminus:x:-1:-1::/:\nplus:x:+7:0::/:\nshort:x:5\nhuge:x:4294967296:0::/:\n\
        app:x:1000:1001:The app:/srv:/bin/sh\nagain:x:1000:7::/:\n1234:x:99:98::/:\n\
        \u{fffd}:x:70:70::/:\n";
    const GROUP: &str =
        "root:x:0:\nadm:x:4:syslog,app\nbad:x:four:app\nvideo:x:44:app\napps:x:1001:\nnone:x:9:application\n";

    fn image() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/passwd"), PASSWD).unwrap();
        fs::write(directory.path().join("etc/group"), GROUP).unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    fn user(uid: u32, gid: u32, groups: &[u32]) -> User {
        User { uid, gid, groups: groups.into() }
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        let (_directory, root) = image();
        for (text, expected) in [
            ("", user(0, 0, &[])),
            ("root", user(0, 0, &[])),
            ("0", user(0, 0, &[])),
            ("app", user(1000, 1001, &[4, 44])),
            // A number is looked for too, and the first entry counts.
            ("1000", user(1000, 1001, &[4, 44])),
            ("again", user(1000, 7, &[])),
            ("5000", user(5000, 0, &[])),
            // What looks like a number is one, whatever names there are.
            ("1234", user(1234, 0, &[])),
            ("app:adm", user(1000, 4, &[])),
            ("app:44", user(1000, 44, &[])),
            ("app:77", user(1000, 77, &[])),
            ("5000:6000", user(5000, 6000, &[])),
            ("app:", user(1000, 1001, &[4, 44])),
            (":video", user(0, 44, &[])),
            ("2147483647", user(2_147_483_647, 0, &[])),
        ] {
            assert_eq!(User::resolve(&root, text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn who_is_not_listed_is_nobody_and_never_root() {
        let (_directory, root) = image();
        for bad in [
            "nobody",
            "evil",
            "empty",
            "minus",
            "plus",
            "short",
            "huge",
            "-1",
            "+7",
            "4294967295",
            "2147483648",
            "99999999999999",
            "0x0",
            " root",
            "root ",
            "app:bad",
            "app:none-such",
            "app:-1",
            "app:4:4",
            "app::",
            "::",
        ] {
            assert!(matches!(User::resolve(&root, bad), Err(RunnerError::Config { .. })), "{bad}");
        }
    }

    #[test]
    fn without_lists_there_are_numbers_only() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        assert_eq!(User::resolve(&root, "").unwrap(), user(0, 0, &[]));
        assert_eq!(User::resolve(&root, "7:8").unwrap(), user(7, 8, &[]));
        assert!(User::resolve(&root, "root").is_err());
    }

    #[test]
    fn lists_are_the_images_own_files() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("passwd"), "app:x:1:1::/:\n").unwrap();
        let (directory, root) = image();
        let list = directory.path().join("etc/passwd");
        let relink = |target: &Path| {
            fs::remove_file(&list).unwrap();
            symlink(target, &list).unwrap();
        };
        // Out of the image there is nothing, neither absolutely nor relatively.
        relink(&outside.path().join("passwd"));
        assert!(matches!(User::resolve(&root, "app"), Err(RunnerError::Config { .. })));
        let up = "../".repeat(20) + outside.path().join("passwd").to_str().unwrap();
        relink(Path::new(&up));
        assert!(matches!(User::resolve(&root, "app"), Err(RunnerError::Config { .. })));
        relink(Path::new("passwd"));
        assert!(matches!(User::resolve(&root, "app"), Err(RunnerError::Files(FsError::Refused { .. }))));
        // Inside it, links are followed as the program will follow them.
        fs::create_dir(directory.path().join("usr")).unwrap();
        fs::write(directory.path().join("usr/passwd"), "app:x:2:2::/:\n").unwrap();
        relink(Path::new("/usr/passwd"));
        assert_eq!(User::resolve(&root, "app").unwrap(), user(2, 2, &[4, 44]));
    }

    #[test]
    fn what_is_no_list_is_not_waited_for_or_read() {
        let (directory, root) = image();
        let list = directory.path().join("etc/passwd");
        fs::OpenOptions::new().write(true).open(&list).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(
            User::resolve(&root, "app"),
            Err(RunnerError::Files(FsError::LimitExceeded { .. }))
        ));
        fs::remove_file(&list).unwrap();
        fs::create_dir(&list).unwrap();
        assert!(matches!(User::resolve(&root, "app"), Err(RunnerError::Files(FsError::Refused { .. }))));
        fs::remove_dir(&list).unwrap();
        let pipe = skiff_tree::EntryPath::new("etc/passwd").unwrap();
        root.make_special(&pipe, skiff_fs::Special::Fifo).unwrap();
        assert!(matches!(User::resolve(&root, "app"), Err(RunnerError::Files(FsError::Refused { .. }))));
    }
}
