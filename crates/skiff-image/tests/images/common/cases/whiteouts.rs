//! Whiteouts and opaque directories.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [whiteouts(), opaque_directories(), odd_kinds(), opaque_and_siblings(), of_the_same_layer()]
        .into_iter()
        .flatten()
        .collect()
}

fn whiteouts() -> Vec<Case> {
    vec![
        case("whiteout of a file", vec![lower(), Layer::new().whiteout("d/a")], "d/ d/b=2 d/s/ d/s/c=3"),
        case("whiteout of a directory", vec![lower(), Layer::new().whiteout("d/s")], "d/ d/a=1 d/b=2"),
        case(
            "whiteout of nothing",
            vec![lower(), Layer::new().whiteout("d/x").whiteout("y/z")],
            "d/ d/a=1 d/b=2 d/s/ d/s/c=3",
        ),
        case(
            "whiteout before its replacement",
            vec![lower(), Layer::new().whiteout("d/a").file("d/a", b"4")],
            "d/ d/a=4 d/b=2 d/s/ d/s/c=3",
        ),
        case(
            "whiteout after its replacement",
            vec![lower(), Layer::new().file("d/a", b"4").whiteout("d/a")],
            "d/ d/a=4 d/b=2 d/s/ d/s/c=3",
        ),
        case(
            "whiteout of a directory that the same layer adds to",
            vec![lower(), Layer::new().directory("d/s").file("d/s/n", b"4").whiteout("d/s")],
            "d/ d/a=1 d/b=2 d/s/ d/s/n=4",
        )
        .unspecified(&["d/s"]),
        case(
            "whiteout by the layer above",
            vec![lower(), Layer::new().file("d/n", b"4"), Layer::new().whiteout("d/n").whiteout("d/s")],
            "d/ d/a=1 d/b=2",
        ),
        case(
            "whiteout and back again",
            vec![lower(), Layer::new().whiteout("d/s"), Layer::new().directory("d/s").file("d/s/x", b"4")],
            "d/ d/a=1 d/b=2 d/s/ d/s/x=4",
        ),
        case("whiteout in the root", vec![lower(), Layer::new().whiteout("d")], ""),
    ]
}

fn opaque_directories() -> Vec<Case> {
    vec![
        case(
            "opaque before its siblings",
            vec![lower(), Layer::new().opaque("d").file("d/n", b"4")],
            "d/ d/n=4",
        ),
        case(
            "opaque after its siblings",
            vec![lower(), Layer::new().file("d/n", b"4").file("d/a", b"5").opaque("d")],
            "d/ d/a=5 d/n=4",
        ),
        case(
            "opaque twice",
            vec![lower(), Layer::new().opaque("d").file("d/n", b"4").opaque("d")],
            "d/ d/n=4",
        ),
        case("opaque root", vec![lower(), Layer::new().file("n", b"4").opaque("")], "n=4"),
        case(
            "opaque with a directory that the same layer adds to",
            vec![lower(), Layer::new().directory("d/s").file("d/s/n", b"4").opaque("d")],
            "d/ d/s/ d/s/n=4",
        )
        .unspecified(&["d/s"]),
        case(
            "opaque beneath what is not there",
            vec![lower(), Layer::new().opaque("x")],
            "d/ d/a=1 d/b=2 d/s/ d/s/c=3",
        ),
    ]
}

fn odd_kinds() -> Vec<Case> {
    vec![
        case(
            "whiteout through a symbolic link",
            vec![lower().symlink("l", "/d"), Layer::new().whiteout("l/a").opaque("l/s")],
            "d/ d/b=2 d/s/ l->/d",
        ),
        case(
            "whiteout of one of two links",
            vec![root().file("a", b"1").hard_link("b", "a"), Layer::new().whiteout("a")],
            "b=1",
        ),
        case(
            "whiteout of a device, a pipe and a symbolic link",
            vec![
                root()
                    .character_device("c", 1, 3)
                    .fifo("p")
                    .symlink("l", "d")
                    .directory("d")
                    .file("d/a", b"1"),
                Layer::new().whiteout("c").whiteout("p").whiteout("l"),
            ],
            "d/ d/a=1",
        ),
    ]
}

fn opaque_and_siblings() -> Vec<Case> {
    vec![
        case(
            "opaque before its siblings, whatever they are",
            vec![
                lower(),
                Layer::new()
                    .opaque("d")
                    .directory("d")
                    .mode(0o700)
                    .symlink("d/a", "x")
                    .directory("d/s")
                    .file("d/s/n", b"4"),
            ],
            "d/ d/a->x d/s/ d/s/n=4",
        )
        .with("d", "700 0:0 1600000000.000000000"),
        // "regardless of the ordering in which the whiteout file was encountered"
        case(
            "opaque after its siblings, whatever they are",
            vec![
                lower(),
                Layer::new()
                    .directory("d")
                    .mode(0o700)
                    .symlink("d/a", "x")
                    .directory("d/s")
                    .file("d/s/n", b"4")
                    .opaque("d"),
            ],
            "d/ d/a->x d/s/ d/s/n=4",
        )
        .unspecified(&["d", "d/s"])
        .with("d", "700 0:0 1600000000.000000000"),
        case(
            "opaque hides all descendants",
            vec![
                root().directory("d").directory("d/1").directory("d/1/2").file("d/1/2/3", b"x"),
                Layer::new().opaque("d"),
            ],
            "d/",
        ),
        case(
            "opaque in a layer between",
            vec![lower(), Layer::new().opaque("d").file("d/n", b"4"), Layer::new().file("d/b", b"5")],
            "d/ d/b=5 d/n=4",
        ),
    ]
}

fn of_the_same_layer() -> Vec<Case> {
    vec![
        case(
            "whiteout of a directory that the same layer makes anew, before it",
            vec![lower(), Layer::new().whiteout("d").directory("d").mode(0o711).file("d/n", b"4")],
            "d/ d/n=4",
        )
        .with("d", "711 0:0 1600000000.000000000"),
        case(
            "whiteout of a directory that the same layer makes anew, after it",
            vec![lower(), Layer::new().directory("d").mode(0o711).file("d/n", b"4").whiteout("d")],
            "d/ d/n=4",
        )
        .unspecified(&["d"])
        .with("d", "711 0:0 1600000000.000000000"),
        case(
            "whiteout of what only the same layer has",
            vec![
                root()
                    .file("a", b"1")
                    .whiteout("a")
                    .directory("d")
                    .file("d/x", b"2")
                    .whiteout("d")
                    .opaque("d"),
            ],
            "a=1 d/ d/x=2",
        ),
        case(
            "whiteout of a file that the same layer makes a directory",
            vec![lower(), Layer::new().whiteout("d/a").directory("d/a").file("d/a/x", b"4")],
            "d/ d/a/ d/a/x=4 d/b=2 d/s/ d/s/c=3",
        ),
        case(
            "whiteout that is no empty file",
            vec![
                lower(),
                Layer::new().directory("d/.wh.s").symlink("d/.wh.b", "x").file("d/.wh.a", b"not empty"),
            ],
            "d/",
        ),
        // "A whiteout file is an empty file with a special filename": overlayfs has others on its own disks, no layer has.
        case(
            "a character device 0:0 hides nothing",
            vec![lower(), Layer::new().character_device("d/a", 0, 0).directory("d")],
            "d/ d/a:character device d/b=2 d/s/ d/s/c=3",
        ),
        case(
            "whiteout of a name that is not UTF-8",
            vec![root().file(b"\xff", b"1"), Layer::new().whiteout(b"\xff")],
            "",
        ),
        case(
            "whiteout of a long name",
            vec![root().file("n".repeat(250), b"1"), Layer::new().whiteout("n".repeat(250)).gnu_names()],
            "",
        ),
    ]
}

fn lower() -> Layer {
    root().directory("d").file("d/a", b"1").file("d/b", b"2").directory("d/s").file("d/s/c", b"3")
}
