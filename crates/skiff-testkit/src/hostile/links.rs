//! Links that lead out of the tree, nowhere, or in circles, and entries that are written through them.

use super::{HostileImage, refused, taken};
use crate::Layer;

pub(super) fn cases() -> Vec<HostileImage> {
    [through(), replaced(), circles(), hard_nowhere(), hard_replacing(), hard_taken(), targets()]
        .into_iter()
        .flatten()
        .collect()
}

/// Written through symbolic links: what is outside on the host is a path of the image's own.
fn through() -> Vec<HostileImage> {
    let new = Layer::new;
    let own = "media/ media/canary/ media/canary/x=2";
    let through = |name: &str, target: &str| {
        let layer = new().symlink("l", target).file("l/x", b"2");
        taken(name, [layer], format!("base=1 l->{target} {own}"))
    };
    vec![
        through("through an absolute one", "/media/canary"),
        through("through one that leads upwards", "../../../../../../../../media/canary"),
        through("through one that leads down and upwards", "media/../..//./media/canary/."),
        taken(
            "through one of a layer below",
            [new().symlink("l", "/media/canary"), new().file("l/x", b"2")],
            format!("base=1 l->/media/canary {own}"),
        ),
        taken(
            "through a chain",
            [new().symlink("a", "b").symlink("b", "/c").symlink("c", "../media").file("a/canary/x", b"2")],
            format!("a->b b->/c base=1 c->../media {own}"),
        ),
        taken(
            "through one in a directory",
            [new().directory("d").symlink("d/l", "../../media/canary").file("d/l/x", b"2")],
            format!("base=1 d/ d/l->../../media/canary {own}"),
        ),
        taken(
            "through one to the root of a process",
            [new()
                .symlink("l", "/proc/self/root")
                .file("l/media/x", b"2")
                .symlink("m", "/proc/1/cwd")
                .file("m/y", b"3")],
            "base=1 l->/proc/self/root m->/proc/1/cwd proc/ proc/1/ proc/1/cwd/ proc/1/cwd/y=3 proc/self/ proc/self/root/ \
             proc/self/root/media/ proc/self/root/media/x=2",
        ),
        taken(
            "through one to the directory that it is in",
            [new().symlink("l", ".").file("l/l/l/x", b"2")],
            "base=1 l->. x=2",
        ),
        taken(
            "a directory, device and pipe through one",
            [new()
                .symlink("l", "/media")
                .directory("l/canary")
                .mode(0o777)
                .character_device("l/canary/null", 1, 3)
                .fifo("l/p")],
            "base=1 l->/media media/ media/canary/{777} media/canary/null:char 1:3 media/p:fifo",
        ),
        taken(
            "a symbolic link through one, and a file through both",
            [new().symlink("l", "/media").symlink("l/canary", "/etc").file("l/canary/x", b"2")],
            "base=1 etc/ etc/x=2 l->/media media/ media/canary->/etc",
        ),
        taken(
            "a hard link through one",
            [new().symlink("l", "/media/canary").hard_link("l/h", "base")],
            "base=1 l->/media/canary media/ media/canary/ media/canary/h==base",
        ),
        taken(
            "through a hard link to one",
            [new().symlink("l", "/media/canary").hard_link("h", "l").file("h/x", b"2")],
            format!("base=1 h->/media/canary l==h {own}"),
        ),
    ]
}

/// A directory becomes a link, or the reverse, between entries or layers.
fn replaced() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        taken(
            "a directory that is replaced between entries",
            [new().directory("d").file("d/a", b"2").symlink("d", "/media/canary").file("d/b", b"3")],
            "base=1 d->/media/canary media/ media/canary/ media/canary/b=3",
        ),
        taken(
            "a directory that is replaced between layers",
            [
                new().directory("d").file("d/a", b"2"),
                new().symlink("d", "/media/canary"),
                new().file("d/b", b"3"),
            ],
            "base=1 d->/media/canary media/ media/canary/ media/canary/b=3",
        ),
        taken(
            "one that a directory replaces, with its mode",
            [
                new().symlink("l", "/media/canary"),
                new().directory("l/").mode(0o777).owner(7, 8).file("l/x", b"2"),
            ],
            "base=1 l/{777 7:8} l/x=2",
        ),
        taken(
            "one that a file replaces",
            [new().symlink("l", "/media/canary/secret"), new().file("l", b"2").mode(0o4755)],
            "base=1 l=2{4755}",
        ),
        taken(
            "one that a device replaces",
            [new().symlink("l", "/media/canary/secret").character_device("l", 1, 3)],
            "base=1 l:char 1:3",
        ),
        taken(
            "one that is replaced by another between entries",
            [new().symlink("l", "a").file("l/x", b"2").symlink("l", "/media/canary").file("l/y", b"3")],
            "a/ a/x=2 base=1 l->/media/canary media/ media/canary/ media/canary/y=3",
        ),
        taken(
            "a parent that is replaced while a hard link leads through it",
            [
                new().directory("d").file("d/x", b"2"),
                new().symlink("d", "/media/canary").hard_link("h", "base"),
            ],
            "base=1 d->/media/canary h==base",
        ),
        refused(
            "a parent that is replaced before a hard link leads through it",
            new().directory("d").file("d/x", b"2").symlink("d", "/media/canary").hard_link("h", "d/x"),
            "not there",
        ),
    ]
}

fn circles() -> Vec<HostileImage> {
    let new = Layer::new;
    let chain =
        (0..41).fold(new(), |layer, number| layer.symlink(format!("l{number}"), format!("l{}", number + 1)));
    let short =
        (0..40).fold(new(), |layer, number| layer.symlink(format!("l{number}"), format!("l{}", number + 1)));
    let shown = |number: usize| format!("l{number}->l{}", number + 1);
    let mut links: Vec<String> = (0..40).map(shown).chain(["l40/".into(), "l40/x=2".into()]).collect();
    links.sort();
    // Each doubles what is to be followed.
    let doubling = (0..20).fold(new().directory("d"), |layer, number| {
        let other = if number == 0 { "d".to_owned() } else { format!("l{}", number - 1) };
        layer.symlink(format!("l{number}"), format!("{other}/../{other}/../d"))
    });
    vec![
        refused(
            "two in a circle",
            new().symlink("a", "b").symlink("b", "a").file("a/c", b""),
            "symbolic links",
        ),
        refused("one to itself", new().symlink("a", "a").file("a/c", b""), "symbolic links"),
        refused("one to beneath itself", new().symlink("a", "a/a").file("a/c", b""), "symbolic links"),
        refused(
            "a circle in front of a whiteout",
            new().symlink("a", "b").symlink("b", "a").whiteout("a/c"),
            "symbolic links",
        ),
        refused(
            "a circle in front of a hard link's target",
            new().symlink("a", "a").hard_link("h", "a/c"),
            "symbolic links",
        ),
        refused("a chain of 41", chain.file("l0/x", b""), "symbolic links"),
        taken("a chain of 40", [short.file("l0/x", b"2")], format!("base=1 {}", links.join(" "))),
        refused(
            "each twice as long as the one before",
            doubling.file("l19/x", b""),
            "leads through more than",
        ),
        refused("to a file", new().symlink("a", "base").file("a/c", b""), "beneath /base, which is a file"),
    ]
}

fn hard_nowhere() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "not there";
    vec![
        refused("a hard link to nothing", new().hard_link("a", "missing"), words),
        refused("a hard link outside, absolute", new().hard_link("a", "/media/canary/secret"), words),
        refused(
            "a hard link outside, upwards",
            new().hard_link("a", "../../media/canary/secret"),
            "leads upwards",
        ),
        refused(
            "a hard link outside, through an absolute link",
            new().symlink("l", "/media/canary").hard_link("a", "l/secret"),
            words,
        ),
        refused(
            "a hard link outside, through a link upwards",
            new().symlink("l", "../../..").hard_link("a", "l/media/canary/secret"),
            words,
        ),
        refused(
            "a hard link outside, through a process",
            new().symlink("l", "/proc/self/root").hard_link("a", "l/base"),
            words,
        ),
        refused(
            "a hard link outside, in a PAX record",
            new().hard_link("a", "base").pax("linkpath", "/media/canary/secret"),
            words,
        ),
        refused("a hard link forward", new().hard_link("a", "b").file("b", b""), words),
        refused("hard links to each other", new().hard_link("a", "b").hard_link("b", "a"), words),
        refused("a hard link to what a whiteout hides", new().whiteout("base").hard_link("a", "base"), words),
        refused(
            "a hard link to what an opaque directory hides",
            new().opaque("").hard_link("a", "base"),
            words,
        ),
        refused("a hard link to a whiteout", new().hard_link("a", ".wh.base"), words),
        refused("a hard link to the root", new().hard_link("a", "./"), "the root"),
        refused("a hard link to a directory", new().directory("d").hard_link("a", "d"), "a directory"),
        refused("a hard link with an empty target", new().hard_link("a", ""), "empty"),
        refused(
            "a hard link with a NUL byte in its target",
            new().hard_link("a", "").pax("linkpath", "ba\0se"),
            "NUL byte",
        ),
    ]
}

fn hard_replacing() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "which it replaces";
    vec![
        refused("a hard link to itself", new().hard_link("a", "a"), words),
        refused("a hard link to itself, which is there", new().hard_link("base", "base"), words),
        refused(
            "a hard link to itself through a link",
            new().symlink("l", ".").hard_link("base", "l/base"),
            words,
        ),
        refused(
            "a hard link to what is beneath it",
            new().directory("d").file("d/a", b"").hard_link("d", "d/a"),
            words,
        ),
    ]
}

fn hard_taken() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        taken("a hard link to an absolute path of the image", [new().hard_link("a", "/base")], "a=1 base==a"),
        taken(
            "a hard link to a symbolic link, and not to where that leads",
            [new().symlink("l", "/media/canary/secret").hard_link("a", "l")],
            "a->/media/canary/secret base=1 l==a",
        ),
        taken(
            "a hard link to a symbolic link that a file replaces",
            [
                new().symlink("l", "/media/canary/secret").hard_link("a", "l"),
                new().file("a", b"2").mode(0o4755),
            ],
            "a=2{4755} base=1 l->/media/canary/secret",
        ),
        taken(
            "a hard link to a device",
            [new().block_device("d", 7, 200).hard_link("a", "d")],
            "a:block 7:200 base=1 d==a",
        ),
        taken("a hard link to a named pipe", [new().fifo("p").hard_link("a", "p")], "a:fifo base=1 p==a"),
        taken(
            "a hard link that says it is setuid and another's",
            [new().hard_link("a", "base").mode(0o6777).owner(7, 8).mtime(1, 0)],
            "a=1 base==a",
        ),
        taken(
            "1,000 hard links to one file",
            [(0..1000).fold(new(), |layer, number| layer.hard_link(format!("h{number:03}"), "base"))],
            format!(
                "base=1 {}",
                (0..1000).map(|number| format!("h{number:03}==base")).collect::<Vec<_>>().join(" ")
            ),
        ),
    ]
}

fn targets() -> Vec<HostileImage> {
    let new = Layer::new;
    vec![
        refused("a symbolic link to nothing at all", new().symlink("a", ""), "its link target is empty"),
        refused("a symbolic link of 4,096 bytes", new().symlink("a", "t".repeat(4096)), "4095 bytes"),
        refused(
            "a symbolic link with a NUL byte",
            new().symlink("a", "").pax("linkpath", "a\0b"),
            "NUL byte",
        ),
        taken(
            "dangling ones",
            [new().symlink("a", "/media/canary/none").symlink("b", "../none")],
            "a->/media/canary/none b->../none base=1",
        ),
        taken(
            "one with every odd byte",
            [new().symlink("a", b"\xff\n\x1b ../'")],
            r"a->\xff\n\x1b ../\' base=1",
        ),
    ]
}
