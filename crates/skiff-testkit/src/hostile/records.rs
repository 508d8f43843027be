//! PAX records and GNU headers that contradict each other or themselves.

use super::{Fault, HostileImage, faulty, refused, taken};
use crate::Layer;

const BLOCK: usize = 512;

pub(super) fn cases() -> Vec<HostileImage> {
    [repeated(), between(), global(), malformed(), values()].into_iter().flatten().collect()
}

/// A PAX header with one record, without the member it is for.
fn pax_only(key: &str, value: &str) -> Vec<u8> {
    Layer::new().file("x", b"").pax(key, value).to_cut_tar()[..2 * BLOCK].to_vec()
}

/// A header of this type with these bytes, and a member that it is for.
fn described(kind: u8, bytes: &[u8]) -> Layer {
    Layer::new().file("PaxHeader", bytes).entry_type(kind).file("a", b"2")
}

fn repeated() -> Vec<HostileImage> {
    let new = Layer::new;
    let long = "n".repeat(200);
    vec![
        refused("two PAX headers", new().typed("a", b'x').typed("b", b'x').file("c", b""), "two PAX headers"),
        refused(
            "two names in GNU headers",
            new().typed("a", b'L').typed("b", b'L').file("c", b""),
            "two GNU headers",
        ),
        refused(
            "two links in GNU headers",
            new().typed("a", b'K').typed("b", b'K').file("c", b""),
            "two GNU headers",
        ),
        refused(
            "a name in each way",
            new().file(&long, b"").gnu_names().pax("path", "other"),
            "in a GNU header",
        ),
        refused(
            "a link in each way",
            new().symlink("l", &long).gnu_names().pax("linkpath", "other"),
            "in a GNU header",
        ),
        taken(
            "one key many times, of which the last counts",
            [new()
                .file("a", b"2")
                .pax("path", "../../media/canary/secret")
                .pax("uid", "1")
                .pax("path", "b")
                .pax("uid", "7")],
            "b=2{7:0} base=1",
        ),
        taken(
            "taken back",
            [new()
                .file("a", b"2")
                .pax("path", "../../media/canary/secret")
                .pax("path", "")
                .pax("uid", "7")
                .pax("uid", "")],
            "a=2 base=1",
        ),
        refused(
            "a size and then another",
            new().file("a", b"12345").pax("size", "5").pax("size", "0"),
            "readers differ",
        ),
    ]
}

fn between() -> Vec<HostileImage> {
    let new = Layer::new;
    let long = "n".repeat(200);
    vec![
        // A size that some readers take for that of the header between (CVE-2025-62518).
        refused(
            "a size in front of a GNU header",
            new().raw(pax_only("size", "1024")).file(&long, b"1").gnu_names(),
            "readers differ",
        ),
        refused(
            "a name in front of a GNU header",
            new().raw(pax_only("path", "x")).file(&long, b"1").gnu_names(),
            "in a GNU header",
        ),
        taken(
            "the member's own size in front of a GNU header",
            [new().raw(pax_only("size", "5")).file(&long, b"12345").gnu_names()],
            format!("base=1 {long}=12345"),
        ),
        taken(
            "an owner in front of a comment for all",
            [new().raw(pax_only("uid", "7")).raw(made_global(pax_only("comment", "x"))).file("a", b"2")],
            "a=2{7:0} base=1",
        ),
    ]
}

fn made_global(mut header: Vec<u8>) -> Vec<u8> {
    header[156] = b'g';
    header[148..156].fill(b' ');
    let sum: u32 = header[..BLOCK].iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn global() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "for all members";
    let global = |name: &str, key: &str, value: &str| {
        faulty(name, Fault::Unsupported, new().raw(made_global(pax_only(key, value))).file("a", b"2"), words)
    };
    vec![
        global("a name for all", "path", "../../media/canary/secret"),
        global("a size for all", "size", "0"),
        global("a link for all", "linkpath", "/media/canary/secret"),
        global("an owner for all", "uid", "0"),
        global("a capability for all", "SCHILY.xattr.security.capability", "x"),
        taken(
            "a comment for all",
            [new().raw(made_global(pax_only("comment", "0123456789"))).file("a", b"2")],
            "a=2 base=1",
        ),
        taken("nothing for all", [new().typed("x", b'g').file("a", b"2")], "a=2 base=1"),
    ]
}

fn malformed() -> Vec<HostileImage> {
    let bad = |name: &str, bytes: &[u8], words: &'static str| refused(name, described(b'x', bytes), words);
    vec![
        bad("a record that ends early", b"6 a=bb\n", "does not end where its length says"),
        bad("a record that ends late", b"99 a=b\n", "longer than its header"),
        bad("a record without length", b"a=b\n", "has no length"),
        bad("a record of no length", b"0 a=b\n", "does not end"),
        bad("a record of a length below zero", b"-6 a=b\n", "length is not a number"),
        bad("a record of a length with a plus", b"+6 a=b\n", "length is not a number"),
        bad("a record of a length beyond 64 bits", b"99999999999999999999 a=b\n", "length is not a number"),
        bad("a record that counts only itself", b"2 \n", "does not end"),
        bad("a record without a value", b"6 abc\n", "has no \"=\""),
        bad("a record without a key", b"5 =b\n", "has no key"),
        bad("zeros after the records", b"6 a=b\n\0\0\0\0", "has no length"),
        bad("a blank line between records", b"6 a=b\n\n6 c=d\n", "length is not a number"),
        bad("an unfinished line in a header of its own", b"6 a=b", "longer than its header"),
        taken("none at all", [described(b'x', b"")], "a=2 base=1"),
        taken("a length in more digits than it takes", [described(b'x', b"011 path=b\n")], "b=2 base=1"),
    ]
}

fn values() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "cannot be";
    let value =
        |name: &str, key: &str, value: &str| refused(name, new().file("a", b"1").pax(key, value), words);
    vec![
        value("a size with a blank", "size", "1 "),
        value("a size below zero", "size", "-1"),
        value("a size with a fraction", "size", "1.0"),
        value("a size beyond 64 bits", "size", "18446744073709551616"),
        refused(
            "the largest size",
            new().file("a", b"1").pax("size", "18446744073709551615"),
            "more than any archive",
        ),
        refused("a size beyond the archive", new().file("a", b"1").pax("size", "99999999999"), "cut off"),
        value("a user below zero", "uid", "-1"),
        value("a user that is a name", "uid", "root"),
        value("a time in words", "mtime", "yesterday"),
        value("a time beyond 64 bits", "mtime", "9223372036854775808"),
        value("a time in another notation", "mtime", "1e9"),
        taken(
            "of another charset",
            [new().file("a", b"2").pax("hdrcharset", "BINARY").pax("path", b"\xff")],
            r"base=1 \xff=2",
        ),
        taken(
            "of nobody's concern",
            [new()
                .file("a", b"2")
                .pax("SCHILY.devmajor", "1")
                .pax("RHT.security.selinux", "x")
                .pax("GNU.volume.label", "x")],
            "a=2 base=1",
        ),
    ]
}
