//! Names that lead out of the tree, fit nowhere, or look as if they did.

use super::{Fate, HostileImage, base, refused, taken};
use crate::Layer;

pub(super) fn cases() -> Vec<HostileImage> {
    [upwards(), unfit(), beneath(), inside(), odd()].into_iter().flatten().collect()
}

fn upwards() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "leads upwards";
    vec![
        refused("up and out", new().file("../a", b""), words),
        refused("far up and out", new().file("../".repeat(200) + "media/canary/secret", b""), words),
        refused("up from a directory", new().file("a/../b", b""), words),
        refused("up from the root", new().file("/..", b""), words),
        refused("up after dots", new().file("./.././../media/canary/secret", b""), words),
        refused("up at the end", new().directory("a/.."), words),
        refused("up as a directory", new().directory(".."), words),
        refused("up as a directory with a slash", new().directory("../"), words),
        refused("up as a symbolic link", new().symlink("../l", "x"), words),
        refused("up as a hard link", new().hard_link("../h", "base"), words),
        refused("up as a device", new().character_device("../null", 1, 3), words),
        refused("up in a PAX record", new().file("a", b"").pax("path", "../../media/canary/secret"), words),
        refused(
            "up in a GNU header",
            new().file("../a".to_owned() + &"/n".repeat(100), b"").gnu_names(),
            words,
        ),
        refused(
            "up in the first part of a ustar name",
            new().file("a", b"").patch(|header| header[345..347].copy_from_slice(b"..")),
            words,
        ),
        refused("up with control characters", new().file("\x1b[2J/../a", b""), r"\x1b[2J/../a"),
    ]
}

fn unfit() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        refused("empty", new().file("", b""), "empty"),
        refused("empty in a GNU header", new().typed("x", b'L').file("a", b""), "empty"),
        refused("of 256 bytes", new().file("n".repeat(256), b""), "255 bytes"),
        refused("a directory's of 256 bytes", new().directory("n".repeat(256)), "255 bytes"),
        refused("of 256 bytes in a GNU header", new().file("n".repeat(256), b"").gnu_names(), "255 bytes"),
        refused("a path of 5,000 bytes", new().file("d/".repeat(2600) + "f", b""), "4095 bytes"),
        refused(
            "a path of 5,000 bytes that ends with a slash",
            new().file("d/".repeat(2600), b""),
            "ends with a slash",
        ),
        refused("a path of 4,096 bytes", new().file("d/".repeat(2047) + "ff", b""), "4095 bytes"),
        refused("10,000 levels", new().directory("d/".repeat(10_000)), "4095 bytes"),
        refused("10,000 levels for a whiteout", new().whiteout("d/".repeat(10_000) + "f"), "4095 bytes"),
        refused("with a NUL byte", new().file("a", b"").pax("path", b"a\0b"), "NUL"),
        refused("a file's with a slash at its end", new().file("a/", b""), "ends with a slash"),
        refused("a file at the root", new().file("./", b""), "slash"),
        refused("a file at the root by a PAX record", new().file("a", b"").pax("path", "/"), "slash"),
        refused("a symbolic link at the root", new().symlink(".", "/media/canary"), "the root"),
        refused("a named pipe at the root", new().fifo("//./"), "the root"),
        refused("a device at the root", new().block_device("/", 8, 0), "the root"),
        refused("a hard link at the root", new().hard_link("/", "base"), "which it replaces"),
    ]
}

fn beneath() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        refused(
            "beneath a file of another layer",
            new().file("base/a", b""),
            "beneath /base, which is a file",
        ),
        refused(
            "beneath a file of its own layer",
            new().file("f", b"").file("f/a", b""),
            "beneath /f, which is a file",
        ),
        refused(
            "beneath a named pipe",
            new().fifo("p").file("p/a/b", b""),
            "beneath /p, which is a named pipe",
        ),
        refused(
            "beneath a device",
            new().character_device("c", 1, 1).directory("c/a"),
            "beneath /c, which is a character device",
        ),
        refused(
            "beneath a hard link to a file",
            new().hard_link("h", "base").file("h/a", b""),
            "beneath /h, which is a file",
        ),
    ]
}

/// What looks as if it led out, and stays where all else is.
fn inside() -> Vec<HostileImage> {
    let new = Layer::new;
    let canary = "base=1 media/ media/canary/ media/canary/secret=2";
    vec![
        taken("absolute", [new().file("/media/canary/secret", b"2")], canary),
        taken("absolute with many slashes", [new().file("//media///canary//secret", b"2")], canary),
        taken(
            "absolute in a PAX record",
            [new().file("a", b"2").pax("path", "/media/canary/secret")],
            canary,
        ),
        taken("with dots between", [new().file("./././media/./canary/./secret", b"2")], canary),
        taken(
            "absolute, of a directory with another owner and mode",
            [new().directory("/media/canary").mode(0o777).owner(7, 8)],
            "base=1 media/ media/canary/{777 7:8}",
        ),
        taken(
            "the root with another owner, mode and time",
            [new().directory("/").mode(0o7777).owner(7, 8)],
            "base=1",
        ),
        taken(
            "whose rest after a NUL byte leads upwards",
            [new().file("././@LongLink", b"real\0/../../x").entry_type(b'L').file("short", b"2")],
            "base=1 real=2",
        ),
        taken(
            "in a header older than its second part, which leads upwards",
            [new().file("a", b"2").patch(|header| {
                header[257..265].fill(0);
                header[345..347].copy_from_slice(b"..");
            })],
            "a=2 base=1",
        ),
    ]
}

fn odd() -> Vec<HostileImage> {
    let new = Layer::new;
    let deep = "d/".repeat(400);
    let above: Vec<String> = (1..=400).map(|levels| "d/".repeat(levels)).collect();
    vec![
        taken(
            "of dots",
            [new().file("...", b"2").file("..a", b"3").file("....", b"4")],
            "...=2 ....=4 ..a=3 base=1",
        ),
        taken("that is not UTF-8", [new().file(b"\xff\xfe\xc3", b"2")], r"base=1 \xff\xfe\xc3=2"),
        taken(
            "with control characters and quotes",
            [new().file("\x1b]0;x\x07", b"2").file("a\nb", b"3").file("'\"$(x)`", b"4")],
            r#"\x1b]0;x\x07=2 \'\"$(x)`=4 a\nb=3 base=1"#,
        ),
        taken(
            "of another system",
            [new().file("C:\\x", b"2").file("..\\y", b"3")],
            r"..\\y=3 C:\\x=2 base=1",
        ),
        taken("of options", [new().file("-rf", b"2").file("--", b"3")], "--=3 -rf=2 base=1"),
        taken(
            "that differ in case or in spelling of one letter",
            [new().file("Base", b"2").file("\u{e9}", b"3").file("e\u{301}", b"4")],
            r"Base=2 base=1 e\xcc\x81=4 \xc3\xa9=3",
        ),
        taken("of 255 bytes", [new().file("n".repeat(255), b"2")], format!("base=1 {}=2", "n".repeat(255))),
        taken(
            "400 levels",
            [new().file(deep + "f", b"2")],
            format!("base=1 {} {}f=2", above.join(" "), "d/".repeat(400)),
        ),
        taken("a path twice", [new().file("a", b"2").file("./a", b"3")], "a=3 base=1"),
        HostileImage::of_layers(
            "only the root, and that not declared",
            Fate::Taken("base=1".into()),
            vec![base(), Layer::new(), Layer::new().directory("").pax("path", "/")],
        ),
    ]
}
