//! Entries over others, of the same layer and of those below.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let lower = || root().directory("d").file("d/a", b"1").file("f", b"2").symlink("l", "d");
    let mut cases = vec![
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
        case(
            "device for directory, and back",
            vec![
                lower(),
                Layer::new().block_device("d", 8, 1),
                Layer::new().directory("d").file("d/b", b"3"),
            ],
            "d/ d/b=3 f=2 l->d",
        ),
        case(
            "directory with another mode keeps what is in it, and its other attributes go",
            vec![
                lower().directory("d").mode(0o1777).owner(1, 1).xattr("user.x", "gone"),
                Layer::new().directory("d"),
            ],
            "d/ d/a=1 f=2 l->d",
        )
        .with("d", "755 0:0 1600000000.000000000"),
        case(
            "directory for a symbolic link to a directory does not reach through it",
            vec![lower(), Layer::new().directory("l/").mode(0o700)],
            "d/ d/a=1 f=2 l/",
        )
        .with("d", "755 0:0 1600000000.000000000")
        .with("l", "700 0:0 1600000000.000000000"),
        case(
            "a directory comes back without what it had",
            vec![lower(), Layer::new().file("d", b"3"), Layer::new().directory("d")],
            "d/ f=2 l->d",
        ),
    ];
    cases.extend([every_kind_over_every_kind(), every_kind_twice()]);
    cases
}

/// What adds an entry of some kind, and how that entry is shown.
type Kind = (&'static str, fn(Layer, &str) -> Layer, fn(&str) -> String);

const KINDS: [Kind; 8] = [
    ("file", |layer, name| layer.file(name, name), |name| format!("{name}={name}")),
    ("directory", |layer, name| layer.directory(name), |name| format!("{name}/")),
    ("link", |layer, name| layer.symlink(name, "dir"), |name| format!("{name}->dir")),
    ("dangling", |layer, name| layer.symlink(name, "nowhere"), |name| format!("{name}->nowhere")),
    ("hard", |layer, name| layer.hard_link(name, "a"), |name| format!("{name}==a")),
    ("null", |layer, name| layer.character_device(name, 1, 3), |name| format!("{name}:character device")),
    ("block", |layer, name| layer.block_device(name, 7, 1), |name| format!("{name}:block device")),
    ("pipe", |layer, name| layer.fifo(name), |name| format!("{name}:named pipe")),
];

/// Something to link to.
fn targets() -> Layer {
    root().file("a", b"1").directory("dir").file("dir/kept", b"2")
}

fn every_kind_over_every_kind() -> Case {
    let (mut lower, mut upper) = (targets(), Layer::new());
    let mut expected = vec!["a=1".to_owned(), "dir/".into(), "dir/kept=2".into()];
    for (below, add_below, _) in KINDS {
        for (above, add_above, shown) in KINDS {
            let name = format!("x-{below}-{above}");
            lower = add_below(lower, &name);
            upper = add_above(upper, &name);
            expected.push(shown(&name));
        }
    }
    expected[3..].sort();
    // "In all other cases, the implementation MUST do the semantic equivalent of [...] removing the file path [...] recreating"
    case("every kind over every kind of a layer below", vec![lower, upper], expected.join(" "))
}

fn every_kind_twice() -> Case {
    let mut layer = targets();
    let mut expected = vec!["a=1".to_owned(), "dir/".into(), "dir/kept=2".into()];
    for (first, add_first, _) in KINDS {
        for (second, add_second, shown) in KINDS {
            let name = format!("x-{first}-{second}");
            layer = add_second(add_first(layer, &name), &name);
            expected.push(shown(&name));
        }
    }
    expected[3..].sort();
    case("every kind over every kind of the same layer", vec![layer], expected.join(" "))
}
