//! PAX records over what headers say.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    vec![
        overrides(),
        last_wins(),
        taken_back(),
        ignored(),
        fine_times(),
        fine_times_before_1970(),
        with_gnu_names(),
        links(),
    ]
}

fn overrides() -> Case {
    let layer = root()
        .directory("real")
        .file("short", b"x")
        .mtime(5, 0)
        .owner(1, 2)
        .pax("mtime", "-7.5")
        .pax("gid", "4000000000")
        .pax("uid", "70000")
        .pax("path", "real/name")
        .directory("d")
        .pax("path", "real/directory/")
        .symlink("l", "short")
        .pax("linkpath", "real/name");
    // POSIX, pax, Extended Header, of each: "This record shall override the [...] field in the following header block(s)."
    case("PAX records override", vec![layer], "l->real/name real/ real/directory/ real/name=x")
        .with("real/name", "644 70000:4000000000 -8.500000000")
}

fn last_wins() -> Case {
    let layer = root()
        .file("header", b"x")
        .pax("path", "first")
        .pax("uid", "1")
        .pax("path", "last")
        .pax("uid", "2")
        .pax("mtime", "1")
        .pax("mtime", "2.000000003")
        .pax("SCHILY.xattr.user.x", "1")
        .pax("SCHILY.xattr.user.x", "2");
    // POSIX: "When extended header records conflict, the last one given in the header shall take precedence."
    case("of PAX records with one key the last counts", vec![layer], "last=x")
        .with("last", "644 2:0 2.000000003 user.x=2")
}

fn taken_back() -> Case {
    let layer = root()
        .file("header", b"x")
        .owner(5, 6)
        .mtime(9, 0)
        .pax("path", "other")
        .pax("uid", "1")
        .pax("mtime", "7")
        .pax("mtime", "")
        .pax("uid", "")
        .pax("path", "");
    // POSIX: "If the <value> field is zero length, it shall delete any header block field, previously entered extended header
    // value, or global extended header value of the same name." What counts then it does not say; for Go it is the header.
    case("a PAX record without value takes back", vec![layer], "header=x")
        .with("header", "644 5:6 9.000000000")
        .tar_deviates("GNU tar calls records malformed of which POSIX says: \"If the <value> field is zero length, it shall delete any [...] \
             previously entered extended header value\"")
}

fn ignored() -> Case {
    let layer = root()
        .file("a", b"x")
        .pax("atime", "1.5")
        .pax("ctime", "2.5")
        .pax("comment", "any text\nof several = lines")
        .pax("uname", "nobody")
        .pax("gname", "nogroup")
        .pax("LIBARCHIVE.creationtime", "3")
        .pax("VENDOR.anything", b"\x00\xff")
        .pax("SCHILY.dev", "5");
    case("PAX records that are about something else", vec![layer], "a=x")
        .with("a", "644 0:0 1600000000.000000000")
}

fn fine_times() -> Case {
    let layer = root()
        .file("finer", b"")
        .pax("mtime", "1.1234567899")
        .file("whole", b"")
        .pax("mtime", "1700000000")
        .file("dot", b"")
        .pax("mtime", "1700000000.");
    case("times of any precision", vec![layer], "dot= finer= whole=")
        .with("finer", "644 0:0 1.123456789")
        .with("whole", "644 0:0 1700000000.000000000")
        .with("dot", "644 0:0 1700000000.000000000")
}

fn fine_times_before_1970() -> Case {
    let layer = root().file("finer", b"").pax("mtime", "-1.1234567891");
    case("times before 1970 of any precision", vec![layer], "finer=")
        .with("finer", "644 0:0 -2.876543210")
        .umoci_deviates(
            "umoci cuts digits off, towards 1970; POSIX, pax: \"the pax utility shall truncate the time of a file to the greatest \
             value that is not greater than the input header file time\"",
        )
}

fn with_gnu_names() -> Case {
    // Both ways to lengthen a name may be there, if they agree.
    let name = "n".repeat(150);
    let layer = root().file(&name, b"x").gnu_names().pax("path", &name).pax("uid", "9");
    case("a long name in both ways", vec![layer], format!("{name}=x"))
        .with(&name, "644 9:0 1600000000.000000000")
}

fn links() -> Case {
    let layer = root().file("target", b"x").hard_link("h", "elsewhere").pax("linkpath", "target");
    let layer = layer.symlink("s", "elsewhere").pax("linkpath", b"\xff\xfe\n");
    case("link targets in PAX records", vec![layer], r"h=x s->\xff\xfe\n target==h")
}
