//! Images made by hand, and what they are when they are flattened.

use skiff_testkit::Layer;

/// An image, and the paths it should have, as [`summary`](super::summary) shows them.
pub struct Case {
    pub name: &'static str,
    pub layers: Vec<Layer>,
    /// Directories that no layer declares, whose metadata every unpacker chooses for itself, and those that umoci leaves with the
    /// time of its own changes in them.
    pub unspecified: &'static [&'static str],
    pub expected: String,
}

fn case(name: &'static str, layers: Vec<Layer>, expected: impl Into<String>) -> Case {
    Case { name, layers, unspecified: &[], expected: expected.into() }
}

fn root() -> Layer {
    Layer::new().directory("./")
}

pub fn cases() -> Vec<Case> {
    [kinds(), whiteouts(), replacements(), links(), names()].into_iter().flatten().collect()
}

fn kinds() -> Vec<Case> {
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
    let times = root()
        .file("half", b"")
        .mtime(1_700_000_000, 500_000_000)
        .file("old", b"")
        .mtime(-5, 0)
        .file("older", b"")
        .mtime(-2, 250_000_000)
        .file("epoch", b"")
        .mtime(0, 0);
    let owners =
        root().file("large", b"").owner(3_000_000, 4_000_000_000).file("pax", b"").pax("uid", "65537");
    let capability = b"\x01\x00\x00\x02\n\x20\x00\x00\x00\x00\x00\x00\n\x00\x00\x00\x00\x00\x00\x00";
    let xattrs = root()
        .xattr("user.root", "yes")
        .file("tool", b"x")
        .xattr("security.capability", capability)
        .file("noted", b"x")
        .xattr("user.one", "a\nb=c")
        .xattr("user.two", b"\x00\xff")
        .directory("dir")
        .xattr("user.dir", "d");
    vec![
        case(
            "every kind of entry",
            vec![every],
            "a/ a/empty= a/link->../nowhere a/loop:block device a/null:character device a/pipe:named pipe a/setuid=x",
        ),
        case("times", vec![times], "epoch= half= old= older="),
        case("owners", vec![owners], "large= pax="),
        case("extended attributes", vec![xattrs], "dir/ noted=x tool=x"),
        case("an empty image", vec![root()], ""),
    ]
}

fn whiteouts() -> Vec<Case> {
    let lower =
        || root().directory("d").file("d/a", b"1").file("d/b", b"2").directory("d/s").file("d/s/c", b"3");
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
        Case {
            unspecified: &["d/s"],
            ..case(
                "whiteout of a directory that the same layer adds to",
                vec![lower(), Layer::new().directory("d/s").file("d/s/n", b"4").whiteout("d/s")],
                "d/ d/a=1 d/b=2 d/s/ d/s/n=4",
            )
        },
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
        Case {
            unspecified: &["d/s"],
            ..case(
                "opaque with a directory that the same layer adds to",
                vec![lower(), Layer::new().directory("d/s").file("d/s/n", b"4").opaque("d")],
                "d/ d/s/ d/s/n=4",
            )
        },
        case(
            "opaque beneath what is not there",
            vec![lower(), Layer::new().opaque("x")],
            "d/ d/a=1 d/b=2 d/s/ d/s/c=3",
        ),
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
    ]
}

fn replacements() -> Vec<Case> {
    let lower = || root().directory("d").file("d/a", b"1").file("f", b"2").symlink("l", "d");
    vec![
        case("file for directory", vec![lower(), Layer::new().file("d", b"3")], "d=3 f=2 l->d"),
        case(
            "directory for file",
            vec![lower(), Layer::new().directory("f").file("f/x", b"3")],
            "d/ d/a=1 f/ f/x=3 l->d",
        ),
        case(
            "directory for symbolic link",
            vec![lower(), Layer::new().directory("l").file("l/x", b"3")],
            "d/ d/a=1 f=2 l/ l/x=3",
        ),
        case("file for symbolic link", vec![lower(), Layer::new().file("l", b"3")], "d/ d/a=1 f=2 l=3"),
        case("symbolic link for directory", vec![lower(), Layer::new().symlink("d", "f")], "d->f f=2 l->d"),
        case(
            "device for file",
            vec![lower(), Layer::new().character_device("f", 5, 1)],
            "d/ d/a=1 f:character device l->d",
        ),
        case(
            "directory for directory",
            vec![lower(), Layer::new().directory("d").mode(0o700).owner(7, 8).mtime(1, 0)],
            "d/ d/a=1 f=2 l->d",
        ),
        case(
            "file for file",
            vec![lower().file("f", b"2").xattr("user.x", "gone"), Layer::new().file("f", b"3").mode(0o600)],
            "d/ d/a=1 f=3 l->d",
        ),
        case("twice in one layer", vec![root().file("f", b"1").file("f", b"2").mode(0o600)], "f=2"),
        case("root twice", vec![root().mode(0o700), Layer::new().directory("/").mode(0o711).owner(3, 4)], ""),
    ]
}

fn links() -> Vec<Case> {
    vec![
        case(
            "within a layer, later in order",
            vec![root().file("b", b"1").hard_link("a", "b").hard_link("c", "./b")],
            "a=1 b==a c==a",
        ),
        case(
            "to a layer below",
            vec![root().directory("d").file("d/x", b"1"), Layer::new().hard_link("a", "/d/x")],
            "a=1 d/ d/x==a",
        ),
        case("to a link", vec![root().symlink("s", "nowhere").hard_link("h", "s")], "h->nowhere s==h"),
        case(
            "through a link",
            vec![root().directory("d").file("d/x", b"1").symlink("l", "d").hard_link("h", "l/x")],
            "d/ d/x=1 h==d/x l->d",
        ),
        case(
            "one of two replaced",
            vec![root().file("a", b"1").hard_link("b", "a"), Layer::new().whiteout("a").file("a", b"2")],
            "a=2 b=1",
        ),
        case(
            "over a directory",
            vec![root().file("a", b"1").directory("d").file("d/x", b"2"), Layer::new().hard_link("d", "a")],
            "a=1 d==a",
        ),
        case(
            "of a device",
            vec![root().character_device("a", 1, 3).hard_link("b", "a")],
            "a:character device b==a",
        ),
    ]
}

fn names() -> Vec<Case> {
    let usr = || {
        root()
            .directory("usr")
            .directory("usr/lib")
            .file("usr/lib/a", b"1")
            .symlink("lib", "usr/lib")
            .symlink("abs", "/usr")
    };
    vec![
        case(
            "spelled in other ways",
            vec![root().directory("./a/").file("/a/b", b"1").file("a//./c", b"2")],
            "a/ a/b=1 a/c=2",
        ),
        case(
            "not UTF-8",
            vec![root().file(b"\xff\xfe", b"1").symlink(b"\xc3", b"\xa4\n")],
            r"\xc3->\xa4\n \xff\xfe=1",
        ),
        case(
            "through a link",
            vec![usr(), Layer::new().file("lib/b", b"2")],
            "abs->/usr lib->usr/lib usr/ usr/lib/ usr/lib/a=1 usr/lib/b=2",
        ),
        case(
            "through links to links",
            vec![usr(), Layer::new().symlink("x", "abs/../../abs/lib").file("x/b", b"2")],
            "abs->/usr lib->usr/lib usr/ usr/lib/ usr/lib/a=1 usr/lib/b=2 x->abs/../../abs/lib",
        ),
        Case {
            unspecified: &["", "gone"],
            ..case(
                "through a dangling link",
                vec![root().symlink("l", "/../gone"), Layer::new().file("l/b", b"2")],
                "gone/ gone/b=2 l->/../gone",
            )
        },
        Case {
            unspecified: &["", "a", "a/b"],
            ..case(
                "in directories that no layer declares",
                vec![root().file("a/b/c", b"1")],
                "a/ a/b/ a/b/c=1",
            )
        },
        Case {
            unspecified: &[""],
            ..case(
                "declared after their content",
                vec![root().file("a/b", b"1").directory("a").mode(0o700)],
                "a/ a/b=1",
            )
        },
        case("long, in GNU headers", vec![long_names(Layer::gnu_names)], long_expected()),
        case("long, in PAX headers", vec![long_names(|layer| layer)], long_expected()),
        case(
            "as long as they fit",
            vec![root().file("n".repeat(100), b"1").symlink("s", "t".repeat(100))],
            format!("{}=1 s->{}", "n".repeat(100), "t".repeat(100)),
        ),
    ]
}

fn long_names(style: impl Fn(Layer) -> Layer) -> Layer {
    let name = "n".repeat(200);
    let layer = style(root().directory(format!("{name}/")).mode(0o711));
    let layer = style(layer.file(format!("{name}/{name}"), b"1"));
    let layer = style(layer.hard_link("h", format!("{name}/{name}")));
    style(layer.symlink("s", "t".repeat(4000)))
}

fn long_expected() -> String {
    let name = "n".repeat(200);
    format!("h=1 {name}/ {name}/{name}==h s->{}", "t".repeat(4000))
}
