//! Hard links, within a layer and across layers.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [within_and_across_layers(), to_what_later_layers_hide(), odd_ones()].into_iter().flatten().collect()
}

fn within_and_across_layers() -> Vec<Case> {
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

fn to_what_later_layers_hide() -> Vec<Case> {
    vec![
        case(
            "one of two whited out in a later layer",
            vec![
                root().directory("d").file("d/a", b"1"),
                Layer::new().hard_link("b", "d/a"),
                Layer::new().whiteout("d/a"),
            ],
            "b=1 d/",
        ),
        case(
            "one of two hidden by an opaque directory in a later layer",
            vec![
                root().directory("d").file("d/a", b"1").mode(0o4711),
                Layer::new().hard_link("b", "d/a"),
                Layer::new().opaque("d").file("d/n", b"2"),
            ],
            "b=1 d/ d/n=2",
        )
        .with("b", "4711 0:0 1600000000.000000000"),
        case(
            "one of two replaced in a later layer",
            vec![
                root().file("a", b"1").owner(3, 4),
                Layer::new().hard_link("b", "a").hard_link("c", "a"),
                Layer::new().file("a", b"2"),
                Layer::new().directory("b").hard_link("d", "a"),
            ],
            "a=2 b/ c=1 d==a",
        )
        .with("c", "644 3:4 1600000000.000000000"),
        case(
            "to a file that the same layer hides after that",
            vec![root().file("a", b"1"), Layer::new().hard_link("b", "a").whiteout("a")],
            "b=1",
        ),
        case(
            "to a link to a link",
            vec![
                root().file("a", b"1"),
                Layer::new().hard_link("b", "a"),
                Layer::new().hard_link("c", "b"),
                Layer::new().whiteout("a").hard_link("d", "c"),
            ],
            "b=1 c==b d==b",
        ),
        case(
            "both whited out, and one back again",
            vec![
                root().file("a", b"1").hard_link("b", "a"),
                Layer::new().whiteout("a").whiteout("b"),
                Layer::new().file("b", b"2"),
            ],
            "b=2",
        ),
    ]
}

fn odd_ones() -> Vec<Case> {
    vec![
        case(
            "over another name of the same file",
            vec![root().file("a", b"1").hard_link("b", "a"), Layer::new().hard_link("b", "a")],
            "a=1 b==a",
        ),
        case(
            "of every kind but directories",
            vec![
                root()
                    .symlink("s", "nowhere")
                    .hard_link("s2", "s")
                    .fifo("p")
                    .hard_link("p2", "p")
                    .block_device("b", 7, 1)
                    .hard_link("b2", "b"),
            ],
            "b:block device b2==b p:named pipe p2==p s->nowhere s2==s",
        ),
        case(
            "long",
            vec![
                root()
                    .directory("d")
                    .file(format!("d/{}", "n".repeat(200)), b"1")
                    .hard_link("h", format!("d/{}", "n".repeat(200)))
                    .hard_link("g", format!("d/{}", "n".repeat(200)))
                    .gnu_names(),
            ],
            format!("d/ d/{0}=1 g==d/{0} h==d/{0}", "n".repeat(200)),
        ),
        case(
            "that says something else of what it links to",
            vec![root().file("a", b"1").mode(0o600).hard_link("b", "a").mode(0o777).owner(5, 5).mtime(7, 0)],
            "a=1 b==a",
        )
        .with("a", "600 0:0 1600000000.000000000"),
        // POSIX: "No data logical records are stored for types 1, 2, or 5."
        case(
            "with the size of what it links to",
            vec![root().file("a", b"12345").hard_link("b", "a").declared_size(5).file("c", b"2")],
            "a=12345 b==a c=2",
        ),
    ]
}
