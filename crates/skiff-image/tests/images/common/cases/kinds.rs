//! Every kind of entry, and what its header says of it.

use super::*;

/// What entries have unless told otherwise.
const TIME: &str = "1600000000.000000000";

pub(super) fn cases() -> Vec<Case> {
    vec![
        every_kind(),
        modes(),
        devices(),
        times(),
        far_times(),
        farther_times(),
        binary_times(),
        owners(),
        old_types(),
        contiguous(),
        empty(),
    ]
}

fn every_kind() -> Case {
    let every = root()
        .mode(0o750)
        .directory("a")
        .mode(0o1777)
        .owner(1, 2)
        .file("a/empty", b"")
        .file("a/setuid", b"x")
        .mode(0o6755)
        .owner(1000, 1000)
        .fifo("a/pipe")
        .character_device("a/null", 1, 3)
        .mode(0o666)
        .block_device("a/loop", 7, 300)
        .symlink("a/link", "../nowhere");
    case(
        "every kind of entry",
        vec![every],
        "a/ a/empty= a/link->../nowhere a/loop:block device a/null:character device a/pipe:named pipe a/setuid=x",
    )
    .with("", format!("750 0:0 {TIME}"))
    .with("a", format!("1777 1:2 {TIME}"))
    .with("a/setuid", format!("6755 1000:1000 {TIME}"))
    .with("a/null", format!("666 0:0 {TIME} 1:3"))
    .with("a/loop", format!("644 0:0 {TIME} 7:300"))
    .with("a/pipe", format!("644 0:0 {TIME}"))
    .with("a/link", format!("777 0:0 {TIME}"))
}

fn modes() -> Case {
    let layer = root()
        .file("none", b"")
        .mode(0)
        .file("setuid", b"")
        .mode(0o4711)
        .owner(5, 6)
        .file("setgid", b"")
        .mode(0o2755)
        .owner(5, 6)
        .file("sticky", b"")
        .mode(0o1644)
        .file("setgid-not-executable", b"")
        .mode(0o2644)
        .directory("dir")
        .mode(0o3775)
        .owner(0, 50)
        .directory("closed")
        .mode(0)
        .file("closed/file", b"x")
        .mode(0o400)
        .fifo("pipe")
        .mode(0o4622)
        // The file type, as some tools write it into the mode too.
        .file("typed", b"")
        .mode(0o100_640)
        // Of a symbolic link, Linux has no mode but this one.
        .symlink("link", "none")
        .mode(0o700);
    case(
        "modes",
        vec![layer],
        "closed/ closed/file=x dir/ link->none none= pipe:named pipe setgid= setgid-not-executable= setuid= sticky= typed=",
    )
    .with("none", format!("0 0:0 {TIME}"))
    .with("setuid", format!("4711 5:6 {TIME}"))
    .with("setgid", format!("2755 5:6 {TIME}"))
    .with("sticky", format!("1644 0:0 {TIME}"))
    .with("setgid-not-executable", format!("2644 0:0 {TIME}"))
    .with("dir", format!("3775 0:50 {TIME}"))
    .with("closed", format!("0 0:0 {TIME}"))
    .with("closed/file", format!("400 0:0 {TIME}"))
    .with("pipe", format!("4622 0:0 {TIME}"))
    .with("typed", format!("640 0:0 {TIME}"))
    .with("link", format!("777 0:0 {TIME}"))
}

fn devices() -> Case {
    // Linux has 12 bits of major and 20 bits of minor number.
    let layer = root()
        .character_device("zero", 0, 1)
        .character_device("large", 4095, 1_048_575)
        .block_device("minor", 8, 256)
        .block_device("both", 259, 65_536)
        .owner(0, 6)
        .mode(0o660);
    case(
        "device numbers",
        vec![layer],
        "both:block device large:character device minor:block device zero:character device",
    )
    .with("zero", format!("644 0:0 {TIME} 0:1"))
    .with("large", format!("644 0:0 {TIME} 4095:1048575"))
    .with("minor", format!("644 0:0 {TIME} 8:256"))
    .with("both", format!("660 0:6 {TIME} 259:65536"))
}

fn times() -> Case {
    let layer = root()
        .file("half", b"")
        .mtime(1_700_000_000, 500_000_000)
        .file("finest", b"")
        .mtime(1_700_000_000, 1)
        .file("old", b"")
        .mtime(-5, 0)
        .file("older", b"")
        .mtime(-2, 250_000_000)
        .file("epoch", b"")
        .mtime(0, 0)
        .directory("dir")
        .mtime(-1, 999_999_999)
        .symlink("link", "x")
        .mtime(12, 345_678_900);
    case("times", vec![layer], "dir/ epoch= finest= half= link->x old= older=")
        .with("half", "644 0:0 1700000000.500000000")
        .with("finest", "644 0:0 1700000000.000000001")
        .with("old", "644 0:0 -5.000000000")
        .with("older", "644 0:0 -2.250000000")
        .with("epoch", "644 0:0 0.000000000")
        .with("dir", "755 0:0 -1.999999999")
        .with("link", "777 0:0 12.345678900")
}

fn far_times() -> Case {
    // More than eleven octal digits hold.
    let layer = root().file("far", b"").mtime(8_589_934_592, 0);
    case("times far away", vec![layer], "far=").with("far", "644 0:0 8589934592.000000000")
}

fn farther_times() -> Case {
    let layer = root().file("farther", b"").mtime(15_000_000_000, 5);
    case("times farther away", vec![layer], "farther=")
        .with("farther", "644 0:0 15000000000.000000005")
        .umoci_deviates(
            "umoci counts nanoseconds in 64 bits, which end in the year 2262; the specification: \"MUST include file attributes \
             [...] Modification Time\"",
        )
}

fn binary_times() -> Case {
    let layer = root()
        .file("old", b"")
        .mtime(-5, 0)
        .binary_numbers()
        .file("new", b"x")
        .mtime(1_700_000_000, 0)
        .owner(3_000_000_000, 7)
        .mode(0o755)
        .binary_numbers();
    case("binary numbers, negative ones too", vec![layer], "new=x old=")
        .with("old", "644 0:0 -5.000000000")
        .with("new", "755 3000000000:7 1700000000.000000000")
}

fn owners() -> Case {
    let layer = root()
        .file("large", b"")
        .owner(3_000_000, 4_000_000_000)
        .file("pax", b"")
        .pax("uid", "65537")
        .file("largest", b"")
        .owner(4_294_967_294, 4_294_967_294)
        // To POSIX a name overrides a number, to the specification it is "secondary to uid".
        .file("named", b"")
        .owner(1, 2)
        .owner_names("root", "nogroup")
        .file("named-pax", b"")
        .owner(1, 2)
        .pax("uname", "root")
        .pax("gname", "root");
    case("owners", vec![layer], "large= largest= named= named-pax= pax=")
        .with("large", format!("644 3000000:4000000000 {TIME}"))
        .with("largest", format!("644 4294967294:4294967294 {TIME}"))
        .with("pax", format!("644 65537:0 {TIME}"))
        .with("named", format!("644 1:2 {TIME}"))
        .with("named-pax", format!("644 1:2 {TIME}"))
}

fn old_types() -> Case {
    // Before there was a type for directories, a slash made one.
    let layer = root().typed("old", 0).typed("olddir/", 0).mode(0o700);
    case("types of old archives", vec![layer], "old= olddir/").with("olddir", format!("700 0:0 {TIME}"))
}

fn contiguous() -> Case {
    let layer = root().typed("contiguous", b'7').mode(0o600);
    case("a contiguous file", vec![layer], "contiguous=")
        .with("contiguous", format!("600 0:0 {TIME}"))
        .umoci_deviates(
            "umoci does not know the type; POSIX, pax, ustar's typeflag 7: \"Implementations without such extensions should treat \
             this file as a regular file (type 0)\"",
        )
}

fn empty() -> Case {
    case("an empty image", vec![root()], "").with("", format!("755 0:0 {TIME}"))
}
