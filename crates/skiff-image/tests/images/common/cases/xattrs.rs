//! Extended attributes: of users, capabilities, ACLs, SELinux, on every kind of entry that can have them.

use super::*;

const TIME: &str = "1600000000.000000000";
/// `cap_net_raw,cap_net_bind_service=ep`, as `setcap` writes it.
const CAPABILITY: &[u8] = b"\x01\x00\x00\x02\x00\x24\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";

/// A POSIX ACL as `setfacl -m u:1000:r-x,m::r-x` writes it on an entry of mode 0750: owner, user 1000, group, mask, others.
fn acl() -> Vec<u8> {
    let none = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 7, none), (0x02, 5, 1000), (0x04, 5, none), (0x10, 5, none), (0x20, 0, none)];
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2_u32.to_le_bytes().to_vec()].into_iter().chain(entries.map(entry)).flatten().collect()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        of_users(),
        empty_value(),
        odd_names(),
        capabilities(),
        acls(),
        selinux(),
        on_symbolic_links(),
        on_devices(),
        replaced(),
    ]
}

fn of_users() -> Case {
    let layer = root()
        .xattr("user.root", "yes")
        .file("noted", b"x")
        .xattr("user.one", "a\nb=c")
        .xattr("user.two", b"\x00\xff")
        .directory("dir")
        .xattr("user.dir", "d")
        .xattr("trusted.dir", "t");
    case("extended attributes of users", vec![layer], "dir/ noted=x")
        .with("", format!("755 0:0 {TIME} user.root=yes"))
        .with("noted", format!(r"644 0:0 {TIME} user.one=a\nb=c user.two=\x00\xff"))
        .with("dir", format!("755 0:0 {TIME} trusted.dir=t user.dir=d"))
}

fn empty_value() -> Case {
    let layer = root().file("f", b"x").xattr("user.empty", "");
    case("an extended attribute without value", vec![layer], "f=x")
        .with("f", format!("644 0:0 {TIME} user.empty="))
        .umoci_deviates(
            "Go's archive/tar takes a record without value for one that takes back, and leaves no way to write such an attribute; \
             GNU tar writes it so, and the specification: \"MUST include file attributes [...] Extended Attributes\"",
        )
}

fn odd_names() -> Case {
    // GNU tar writes "=" and "%" in names as in addresses, since a key ends at its "=".
    let layer = root().file("odd", b"").xattr("user.a%3Db%25c", "1").xattr("user.sp ace\u{e4}", "2");
    case("extended attributes with odd names", vec![layer], "odd=")
        .with("odd", format!(r"644 0:0 {TIME} user.a=b%c=1 user.sp ace\xc3\xa4=2"))
        .umoci_deviates(
            "Go's archive/tar does not know GNU tar's escapes; GNU tar since 1.29 writes them (xattr_encode_keyword in xheader.c), \
             and the specification asks for the attributes that there were: \"MUST include file attributes [...] Extended Attributes\"",
        )
}

fn capabilities() -> Case {
    let layer = root()
        .file("ping", b"x")
        .mode(0o755)
        .xattr("security.capability", CAPABILITY)
        .file("owned", b"x")
        .owner(1000, 1000)
        .mode(0o4755)
        .xattr("security.capability", CAPABILITY);
    let shown = format!("security.capability={}", CAPABILITY.escape_ascii());
    case("capabilities", vec![layer], "owned=x ping=x")
        .with("ping", format!("755 0:0 {TIME} {shown}"))
        .with("owned", format!("4755 1000:1000 {TIME} {shown}"))
}

fn acls() -> Case {
    let layer = root()
        .file("file", b"x")
        .mode(0o750)
        .xattr("system.posix_acl_access", acl())
        .directory("dir")
        .mode(0o750)
        .xattr("system.posix_acl_access", acl())
        .xattr("system.posix_acl_default", acl())
        // Of another ACL than the directory's, if unpackers let it inherit.
        .file("dir/plain", b"x")
        .directory("dir/sub")
        .mode(0o700);
    let shown = acl().escape_ascii().to_string();
    case("ACLs", vec![layer], "dir/ dir/plain=x dir/sub/ file=x")
        .with("file", format!("750 0:0 {TIME} system.posix_acl_access={shown}"))
        .with(
            "dir",
            format!("750 0:0 {TIME} system.posix_acl_access={shown} system.posix_acl_default={shown}"),
        )
        .with("dir/plain", format!("644 0:0 {TIME}"))
        .with("dir/sub", format!("700 0:0 {TIME}"))
}

fn selinux() -> Case {
    let label = "system_u:object_r:bin_t:s0\0";
    let layer = root()
        .file("tool", b"x")
        .xattr("security.selinux", label)
        .directory("dir")
        .xattr("security.selinux", label)
        .symlink("link", "tool")
        .xattr("security.selinux", label);
    let shown = r"security.selinux=system_u:object_r:bin_t:s0\x00";
    case("SELinux labels", vec![layer], "dir/ link->tool tool=x")
        .with("tool", format!("644 0:0 {TIME} {shown}"))
        .with("dir", format!("755 0:0 {TIME} {shown}"))
        .with("link", format!("777 0:0 {TIME} {shown}"))
        .umoci_deviates(
            "umoci leaves labels to the host; the specification: \"MUST include file attributes [...] Extended Attributes\", and \
             an image that has labels wants them",
        )
}

fn on_symbolic_links() -> Case {
    // Linux allows none of users there, but root's own.
    let layer = root().file("f", b"").xattr("trusted.own", "f").symlink("l", "f").xattr("trusted.own", "l");
    case("extended attributes of symbolic links", vec![layer], "f= l->f")
        .with("f", format!("644 0:0 {TIME} trusted.own=f"))
        .with("l", format!("777 0:0 {TIME} trusted.own=l"))
}

fn on_devices() -> Case {
    let layer =
        root().character_device("c", 1, 3).xattr("trusted.own", "c").fifo("p").xattr("trusted.own", "p");
    case("extended attributes of devices and pipes", vec![layer], "c:character device p:named pipe")
        .with("c", format!("644 0:0 {TIME} 1:3 trusted.own=c"))
        .with("p", format!("644 0:0 {TIME} trusted.own=p"))
}

fn replaced() -> Case {
    let lower =
        root().directory("d").xattr("user.old", "1").file("d/x", b"").file("f", b"").xattr("user.old", "1");
    let upper = Layer::new().directory("d").xattr("user.new", "2").file("f", b"").xattr("user.new", "2");
    // "the existing path's attributes MUST be replaced by those of the entry in the changeset"
    case("extended attributes are replaced, not added", vec![lower, upper], "d/ d/x= f=")
        .with("d", format!("755 0:0 {TIME} user.new=2"))
        .with("f", format!("644 0:0 {TIME} user.new=2"))
}
