//! Names: how they are spelled, where they lead, how long they are.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [spelled(), through_links(), undeclared(), long()].into_iter().flatten().collect()
}

fn spelled() -> Vec<Case> {
    vec![
        case(
            "spelled in other ways",
            vec![root().directory("./a/").file("/a/b", b"1").file("a//./c", b"2")],
            "a/ a/b=1 a/c=2",
        )
        .tar_deviates(
            "GNU tar gives a directory its time back as soon as a name comes that is not spelled as beneath it, and files that \
             follow change it again; the specification: \"MUST include file attributes [...] Modification Time\"",
        ),
        case(
            "not UTF-8",
            vec![root().file(b"\xff\xfe", b"1").symlink(b"\xc3", b"\xa4\n")],
            r"\xc3->\xa4\n \xff\xfe=1",
        ),
        case(
            "not UTF-8, in PAX records",
            vec![
                root()
                    .directory("x")
                    .pax("path", b"d\xff/")
                    .file("x", b"1")
                    .pax("path", b"d\xff/\xfe\n\"=")
                    .symlink("s", "x")
                    .pax("linkpath", b"\x80"),
            ],
            r#"d\xff/ d\xff/\xfe\n\"==1 s->\x80"#,
        ),
    ]
}

fn through_links() -> Vec<Case> {
    vec![
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
        case(
            "through a dangling link",
            vec![root().symlink("l", "/../gone"), Layer::new().file("l/b", b"2")],
            "gone/ gone/b=2 l->/../gone",
        )
        .unspecified(&["", "gone"]),
        case(
            "through a link that is replaced between entries",
            vec![
                root()
                    .directory("d")
                    .symlink("l", "d")
                    .file("l/a", b"1")
                    .directory("l")
                    .file("l/b", b"2")
                    .directory("d")
                    .directory("l"),
            ],
            "d/ d/a=1 l/ l/b=2",
        ),
        case(
            "through links that lead outside, and stay inside",
            vec![
                root().directory("etc").symlink("up", "../../../etc").symlink("abs", "/../../etc"),
                Layer::new().file("up/a", b"1").file("abs/b", b"2").directory("etc"),
            ],
            "abs->/../../etc etc/ etc/a=1 etc/b=2 up->../../../etc",
        ),
    ]
}

fn undeclared() -> Vec<Case> {
    vec![
        case("in directories that no layer declares", vec![root().file("a/b/c", b"1")], "a/ a/b/ a/b/c=1")
            .unspecified(&["", "a", "a/b"]),
        case(
            "declared after their content",
            vec![root().file("a/b", b"1").directory("a").mode(0o700)],
            "a/ a/b=1",
        )
        .unspecified(&[""]),
        case(
            "in directories that a later layer declares",
            vec![
                root().file("a/b/c", b"1"),
                Layer::new().directory("a/b").mode(0o700).owner(1, 2),
                Layer::new().directory("./").directory("a").mode(0o711),
            ],
            "a/ a/b/ a/b/c=1",
        )
        .with("a", "711 0:0 1600000000.000000000")
        .with("a/b", "700 1:2 1600000000.000000000"),
        case("in an undeclared root", vec![Layer::new().file("a", b"1")], "a=1")
            .unspecified(&[""])
            .with("", "755 0:0 0.000000000"),
    ]
}

fn long() -> Vec<Case> {
    vec![
        case(
            "whose rest after a NUL byte no header counts",
            vec![
                root()
                    .file("././@LongLink", b"real\0rest")
                    .entry_type(b'L')
                    .file("short", b"1"),
            ],
            "real=1",
        ),
        case(
            "in two parts, as ustar has it",
            vec![
                root()
                    .directory("some")
                    .directory("some/where")
                    .file("file", b"1")
                    .patch(|header| header[345..355].copy_from_slice(b"some/where"))
                    .hard_link("link", "some/where/file")
                    .patch(|header| header[345..349].copy_from_slice(b"some")),
            ],
            "some/ some/link=1 some/where/ some/where/file==some/link",
        ),
        case(
            "without the second part, in headers older than it",
            vec![
                root().file("file", b"1").patch(|header| {
                    header[257..265].fill(0);
                    header[345..355].copy_from_slice(b"some/where");
                }),
            ],
            "file=1",
        ),
        case("long, in GNU headers", vec![long_names(Layer::gnu_names)], long_expected()),
        case("long, in PAX headers", vec![long_names(|layer| layer)], long_expected()),
        case(
            "as long as they fit",
            vec![root().file("n".repeat(100), b"1").symlink("s", "t".repeat(100))],
            format!("{}=1 s->{}", "n".repeat(100), "t".repeat(100)),
        ),
        case(
            "not UTF-8, and long",
            vec![
                root()
                    .file([&b"\xff"[..]; 200].concat(), b"1")
                    .file([&b"\xfe"[..]; 200].concat(), b"2")
                    .gnu_names(),
            ],
            format!("{}=2 {}=1", r"\xfe".repeat(200), r"\xff".repeat(200)),
        ),
        case(
            "as long as Linux has them",
            vec![deep_layer()],
            deep_expected(),
        )
        .umoci_deviates(
            "umoci unpacks by absolute paths, which end where the kernel's PATH_MAX does; beneath the root, none is too long",
        ),
    ]
}

fn usr() -> Layer {
    root()
        .directory("usr")
        .directory("usr/lib")
        .file("usr/lib/a", b"1")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr")
}

/// A path of 4,095 bytes, in directories of 200.
fn deep() -> String {
    let mut path = format!("{}/", "d".repeat(200)).repeat(20);
    path.push_str(&"f".repeat(4095 - path.len()));
    path
}

fn deep_layer() -> Layer {
    let deep = deep();
    let above = deep.match_indices('/').map(|(end, _)| &deep[..=end]);
    above
        .fold(root(), |layer, directory| layer.directory(directory))
        .file(&deep, b"1")
        .file("n".repeat(255), b"2")
}

fn deep_expected() -> String {
    let deep = deep();
    let directories = deep.match_indices('/').map(|(end, _)| format!("{}/", &deep[..end]));
    let files = [format!("{deep}=1"), format!("{}=2", "n".repeat(255))];
    directories.chain(files).collect::<Vec<_>>().join(" ")
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
