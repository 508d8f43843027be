//! Owners, modes, times and attributes that no file system has, or that are dangerous where one has them.

use super::{Fate, HostileImage, base, refused, taken};
use crate::Layer;

/// `cap_sys_admin=ep`, as `setcap` writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(super) fn cases() -> Vec<HostileImage> {
    [of_no_file_system(), dangerous(), far(), not_stored()].into_iter().flatten().collect()
}

fn of_no_file_system() -> Vec<HostileImage> {
    let file = || Layer::new().file("a", b"");
    let owner = "below 4294967295";
    vec![
        refused(
            "a time beyond 64 bits",
            file().patch(|header| header[136..148].copy_from_slice(b"\x81__________\0")),
            "64 bits",
        ),
        refused("the last user", file().pax("uid", "4294967295"), owner),
        refused("the last group", file().pax("gid", "4294967295"), owner),
        refused("the last user, in binary", file().owner(0xffff_ffff, 0).binary_numbers(), owner),
        refused("a user of 40 bits", file().owner(1 << 40, 0), owner),
        refused("a group of 32 bits, in binary", file().owner(0, 0xffff_ffff), owner),
        refused("a user below zero", file().patch(|header| header[108..116].fill(0xff)), "64 bits"),
        refused(
            "a mode in letters",
            file().patch(|header| header[100..108].copy_from_slice(b"rwxr-xr-")),
            "64 bits",
        ),
        refused("a mode below zero", file().patch(|header| header[100..108].fill(0xff)), "64 bits"),
        refused("an attribute without a name", file().xattr("", "x"), "cannot name"),
        refused("an attribute with a NUL byte in its name", file().xattr("user.\0", "x"), "cannot name"),
        refused(
            "an attribute with a name of 300 bytes",
            file().xattr("user.".repeat(60), "x"),
            "cannot name",
        ),
        refused(
            "an attribute of more than 64 KiB",
            file().xattr("user.x", vec![b'x'; 65_537]),
            "longer than 65536",
        ),
        refused(
            "a device number of more than 32 bits",
            Layer::new().character_device("a", 1, 1).patch(|header| header[329..337].fill(0xbf)),
            "does not have 32 bits",
        ),
        refused(
            "a device number below zero",
            Layer::new().character_device("a", 1, 1).patch(|header| header[337..345].fill(0xff)),
            "does not have 32 bits",
        ),
    ]
}

fn dangerous() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        taken("a setuid shell", [new().file("sh", b"#!").mode(0o6777)], "base=1 sh=#!{6777}"),
        taken(
            "a setuid link",
            [new().symlink("l", "/media/canary/secret").mode(0o6777)],
            "base=1 l->/media/canary/secret",
        ),
        taken("a mode with a file type in it", [new().file("a", b"").mode(0o160_4755)], "a={4755} base=1"),
        taken("a capability", [new().file("a", b"").xattr("security.capability", CAPABILITY)], "a= base=1"),
        taken(
            "a label",
            [new().file("a", b"").xattr("security.selinux", "system_u:object_r:shadow_t:s0\0")],
            "a= base=1",
        ),
        taken(
            "memory and disks as devices",
            [new().character_device("mem", 1, 1).mode(0o666).block_device("sda", 8, 0).mode(0o666)],
            "base=1 mem:char 1:1{666} sda:block 8:0{666}",
        ),
        taken(
            "the host's own notes",
            [new().file("a", b"").xattr("trusted.overlay.origin", "x").xattr("system.nfs4_acl", "x")],
            "a= base=1",
        ),
        taken(
            "directories that nobody may enter",
            [new().directory("d").mode(0).file("d/a", b"2").mode(0).directory("d/d").mode(0o111)],
            "base=1 d/{0} d/a=2{0} d/d/{111}",
        ),
        taken(
            "an attribute many times",
            [new().file("a", b"").xattr("trusted.x", "1").xattr("trusted.x", "2")],
            "a= base=1",
        ),
        taken(
            "many attributes",
            [(0..100)
                .fold(new().file("a", b""), |layer, number| layer.xattr(format!("trusted.{number}"), "x"))],
            "a= base=1",
        ),
    ]
}

fn far() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        taken(
            "the last but one user and group",
            [new().file("a", b"").owner(4_294_967_294, 4_294_967_294)],
            "a={4294967294:4294967294} base=1",
        ),
        taken("a time before 1970", [new().file("a", b"").mtime(-5, 0)], "a={@-5.000000000} base=1"),
        taken(
            "a time before 1970, in binary",
            [new().file("a", b"").mtime(-5, 0).binary_numbers()],
            "a={@-5.000000000} base=1",
        ),
        taken(
            "a time in 1901",
            [new().file("a", b"").mtime(-2_147_483_648, 5)],
            "a={@-2147483648.000000005} base=1",
        ),
        taken(
            "a time of 34 bits",
            [new().file("a", b"").mtime(8_589_934_592, 0)],
            "a={@8589934592.000000000} base=1",
        ),
        taken(
            "a time of 38 bits",
            [new().directory("d").mtime((1 << 38) + 1, 1)],
            "base=1 d/{@274877906945.000000001}",
        ),
        taken(
            "a time of 40 bits",
            [new().file("a", b"").mtime(1 << 40, 0)],
            "a={@1099511627776.000000000} base=1",
        ),
        taken(
            "finer than nanoseconds",
            [new().file("a", b"").pax("mtime", "-0.0000000001")],
            "a={@-1.999999999} base=1",
        ),
        taken(
            "the largest device numbers of Linux",
            [new().block_device("a", 4095, 1_048_575)],
            "a:block 4095:1048575 base=1",
        ),
    ]
}

/// What means something in an archive, and nothing on the disk that it comes to.
fn not_stored() -> Vec<HostileImage> {
    let new = Layer::new;
    let case = |name: &str, layer: Layer, picture: &str, words: &'static str| {
        HostileImage::of_layers(name, Fate::NotStored(picture.into(), words), vec![base(), layer])
    };
    let file = || new().file("a", b"");
    vec![
        case(
            "a capability that is none",
            file().xattr("security.capability", "all"),
            "a= base=1",
            "security.capability",
        ),
        case(
            "an ACL that is none",
            file().xattr("system.posix_acl_access", "all"),
            "a= base=1",
            "posix_acl_access",
        ),
        case("an attribute of no known kind", file().xattr("vendor.x", "1"), "a= base=1", "vendor.x"),
        case("an attribute that is only a kind", file().xattr("trusted.", "1"), "a= base=1", "trusted."),
        case(
            "an attribute of users on a link",
            new().symlink("l", "x").xattr("user.x", "1"),
            "base=1 l->x",
            "user.x",
        ),
        case(
            "a device number that Linux has not",
            new().block_device("a", 4096, 0),
            "a:block 4096:0 base=1",
            "device number 4096:0",
        ),
        case(
            "the first of all times",
            file().mtime(i64::MIN, 1),
            "a={@-9223372036854775808.000000001} base=1",
            "",
        ),
    ]
}
