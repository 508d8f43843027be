//! Whiteouts that reach too far, name nothing, or are smuggled in in another shape.

use super::{HostileImage, refused, taken};
use crate::Layer;

pub(super) fn cases() -> Vec<HostileImage> {
    [nameless(), through(), order(), shapes()].into_iter().flatten().collect()
}

fn lower() -> Layer {
    Layer::new().directory("d").file("d/a", b"2").file("d/b", b"3")
}

fn nameless() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "names no entry";
    vec![
        refused("of nothing", new().file(".wh.", b""), words),
        refused("of the directory it is in", new().file("a/.wh..", b""), words),
        refused("of the root", new().file(".wh..", b""), words),
        refused("of the directory above", new().file("a/.wh...", b""), words),
        refused("of what is above the root", new().file(".wh...", b""), words),
        refused("upwards", new().whiteout("../base"), "leads upwards"),
        refused("upwards and opaque", new().opaque(".."), "leads upwards"),
        refused("with something beneath it", new().file(".wh.a/b", b""), "one of a whiteout"),
        refused("opaque with something beneath it", new().directory("a/.wh..wh..opq/b"), "one of a whiteout"),
        refused("beneath a file", new().whiteout("base/a"), "beneath /base, which is a file"),
        refused("opaque on a file", new().opaque("base"), "beneath /base, which is a file"),
    ]
}

fn through() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        taken(
            "through a link to what is outside",
            [new().symlink("l", "/media/canary"), new().whiteout("l/secret").whiteout("l/directory")],
            "base=1 l->/media/canary",
        ),
        taken(
            "opaque through a link to what is outside",
            [new().symlink("l", "../../media/canary"), new().opaque("l").opaque("l/directory")],
            "base=1 l->../../media/canary",
        ),
        taken(
            "through a link to the image's own",
            [lower().symlink("l", "/d"), new().whiteout("l/a")],
            "base=1 d/ d/b=3 l->/d",
        ),
        taken(
            "of a link, and not of where it leads",
            [lower().symlink("l", "/d"), new().whiteout("l")],
            "base=1 d/ d/a=2 d/b=3",
        ),
        taken("absolute", [lower(), new().file("/d/.wh.a", b"")], "base=1 d/ d/b=3"),
    ]
}

fn order() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        taken(
            "opaque after its siblings",
            [lower(), new().file("d/n", b"4").file("d/a", b"5").opaque("d")],
            "base=1 d/ d/a=5 d/n=4",
        ),
        taken("opaque twice", [lower(), new().opaque("d").file("d/n", b"4").opaque("d")], "base=1 d/ d/n=4"),
        taken("of the same layer's own", [new().file("a", b"2").whiteout("a").whiteout("a")], "a=2 base=1"),
        taken("of everything", [lower(), new().opaque("")], ""),
        taken("of a hard link's other name", [new().hard_link("h", "base"), new().whiteout("base")], "h=1"),
        taken("in the lowest layer", [new().whiteout("none").opaque("none")], "base=1"),
    ]
}

fn shapes() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        taken("with content", [lower(), new().file("d/.wh.a", b"#!/bin/sh")], "base=1 d/ d/b=3"),
        taken(
            "as a link, a directory, a device, a pipe and a hard link",
            [
                lower().file("d/c", b"").file("d/d", b"").file("d/e", b""),
                new()
                    .symlink("d/.wh.a", "/media/canary")
                    .directory("d/.wh.b")
                    .character_device("d/.wh.c", 0, 0)
                    .fifo("d/.wh.d")
                    .hard_link("d/.wh.e", "/media/canary/secret"),
            ],
            "base=1 d/",
        ),
        taken(
            "of aufs's own files",
            [new().file(".wh..wh.aufs", b"").directory(".wh..wh.plnk").directory(".wh..wh.orph")],
            "base=1",
        ),
        taken(
            "as overlayfs has them: a device 0:0",
            [lower(), new().character_device("d/a", 0, 0)],
            "base=1 d/ d/a:char 0:0 d/b=3",
        ),
        taken(
            "as overlayfs has them: attributes",
            [
                lower(),
                new()
                    .directory("d")
                    .xattr("trusted.overlay.opaque", "y")
                    .xattr("trusted.overlay.redirect", "/media/canary")
                    .file("m", b"")
                    .xattr("trusted.overlay.metacopy", "")
                    .xattr("trusted.overlay.origin", "x"),
            ],
            "base=1 d/ d/a=2 d/b=3 m=",
        ),
        taken("of 255 bytes", [new().file("n".repeat(255), b"2"), new().whiteout("n".repeat(255))], "base=1"),
        taken(
            "that is not quite one",
            [new().file(".wh", b"2").file("x.wh.base", b"3").file(".WH.base", b"4")],
            ".WH.base=4 .wh=2 base=1 x.wh.base=3",
        ),
    ]
}
