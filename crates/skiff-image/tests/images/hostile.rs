//! Layers that are made to mislead. Those that are damaged are in `damage.rs`, those made to exhaust in `limits.rs`, maps of sparse
//! files in `sparse.rs`; what is odd and legal is a case in `common/cases/`.

use crate::common::*;
use skiff_testkit::Layer;

const BLOCK: usize = 512;

/// Expects each layer to be refused, with these words and its place.
fn all_refused(layers: impl IntoIterator<Item = (Layer, &'static str)>) {
    for (layer, what) in layers {
        let error = refused(layer).to_string();
        assert!(error.contains(what) && error.contains("layer 1"), "{error:?} does not say {what:?}");
    }
}

#[test]
fn paths_that_lead_out_of_the_tree_or_fit_nowhere_are_refused() {
    all_refused([
        (Layer::new().file("../a", b""), "leads upwards"),
        (Layer::new().file("a/../b", b""), "leads upwards"),
        (Layer::new().file("/..", b""), "leads upwards"),
        (Layer::new().directory(".."), "leads upwards"),
        (Layer::new().file("a", b"").pax("path", "../../etc/passwd"), "leads upwards"),
        (Layer::new().file("../a".to_owned() + &"/n".repeat(100), b"").gnu_names(), "leads upwards"),
        (Layer::new().file("", b""), "empty"),
        (Layer::new().file("n".repeat(256), b""), "255 bytes"),
        (Layer::new().directory("n".repeat(256)), "255 bytes"),
        (Layer::new().file("n".repeat(256), b"").gnu_names(), "255 bytes"),
        (Layer::new().file("d/".repeat(2600), b""), "ends with a slash"),
        (Layer::new().file("d/".repeat(2600) + "f", b""), "4095 bytes"),
        (Layer::new().directory("d/".repeat(10_000)), "4095 bytes"),
        (Layer::new().whiteout("d/".repeat(10_000) + "f"), "4095 bytes"),
        (Layer::new().file("a", b"").pax("path", b"a\0b"), "NUL"),
        (Layer::new().file("base/a", b""), "beneath /base, which is a file"),
        (Layer::new().fifo("p").file("p/a/b", b""), "beneath /p, which is a named pipe"),
        (Layer::new().file("./", b""), "slash"),
        (Layer::new().symlink(".", "x"), "the root"),
        (Layer::new().file("a", b"").pax("path", "/"), "slash"),
        (Layer::new().fifo("//./"), "the root"),
        (Layer::new().whiteout("../base"), "leads upwards"),
        (Layer::new().opaque(".."), "leads upwards"),
        (Layer::new().file(".wh.", b""), "names no entry"),
        (Layer::new().file("a/.wh..", b""), "names no entry"),
        (Layer::new().file(".wh...", b""), "names no entry"),
        (Layer::new().file(".wh.a/b", b""), "one of a whiteout"),
        (Layer::new().directory("a/.wh..wh..opq/b"), "one of a whiteout"),
        (Layer::new().opaque("base"), "beneath /base, which is a file"),
        (Layer::new().whiteout("base/a"), "beneath /base, which is a file"),
    ]);
}

#[test]
fn links_that_lead_nowhere_are_refused() {
    let chain = (0..41)
        .fold(Layer::new(), |layer, number| layer.symlink(format!("l{number}"), format!("l{}", number + 1)));
    all_refused([
        (Layer::new().symlink("a", "b").symlink("b", "a").file("a/c", b""), "symbolic links"),
        (Layer::new().symlink("a", "a/a").file("a/c", b""), "symbolic links"),
        (Layer::new().symlink("a", "b").symlink("b", "a").whiteout("a/c"), "symbolic links"),
        (chain.file("l0/x", b""), "symbolic links"),
        (Layer::new().symlink("a", "base").file("a/c", b""), "beneath /base, which is a file"),
        (Layer::new().hard_link("a", "missing"), "not there"),
        (Layer::new().hard_link("a", "b").file("b", b""), "not there"),
        (Layer::new().hard_link("a", "b").hard_link("b", "a"), "not there"),
        (Layer::new().hard_link("a", "a"), "which it replaces"),
        (Layer::new().hard_link("base", "base"), "which it replaces"),
        (Layer::new().directory("d").file("d/a", b"").hard_link("d", "d/a"), "which it replaces"),
        (Layer::new().hard_link("a", "../base"), "leads upwards"),
        (Layer::new().symlink("l", "/etc").hard_link("a", "l/passwd"), "not there"),
        (Layer::new().symlink("l", "/proc/self/root").hard_link("a", "l/base"), "not there"),
        (Layer::new().hard_link("a", "./"), "the root"),
        (Layer::new().hard_link("a", ""), "empty"),
        (Layer::new().directory("d").hard_link("a", "d"), "a directory"),
        (Layer::new().whiteout("base").hard_link("a", "base"), "not there"),
        (Layer::new().opaque("").hard_link("a", "base"), "not there"),
        (Layer::new().hard_link("a", ".wh.base"), "not there"),
        (Layer::new().symlink("a", ""), "its link target is empty"),
        (Layer::new().symlink("a", "t".repeat(4096)), "4095 bytes"),
        (Layer::new().symlink("a", "").pax("linkpath", "a\0b"), "NUL byte"),
        (Layer::new().hard_link("a", "").pax("linkpath", "ba\0se"), "NUL byte"),
    ]);
}

#[test]
fn links_to_long_paths_one_after_the_other_are_given_up() {
    // Each doubles what is to be followed.
    let links = (0..20).fold(Layer::new().directory("d"), |layer, number| {
        let other = if number == 0 { "d".to_owned() } else { format!("l{}", number - 1) };
        layer.symlink(format!("l{number}"), format!("{other}/../{other}/../d"))
    });
    let error = refused(links.file("l19/x", b"")).to_string();
    assert!(error.contains("leads through more than"), "{error}");
}

#[test]
fn metadata_that_no_file_system_has_is_refused() {
    all_refused([
        (Layer::new().file("a", b"").pax("mtime", "yesterday"), "cannot be \"yesterday\""),
        (Layer::new().file("a", b"").pax("mtime", "9223372036854775808"), "cannot be"),
        (
            Layer::new().file("a", b"").patch(|header| header[136..148].copy_from_slice(b"\x81__________\0")),
            "64 bits",
        ),
        (Layer::new().file("a", b"").pax("uid", "-1"), "cannot be"),
        (Layer::new().file("a", b"").pax("uid", "4294967295"), "below 4294967295"),
        (Layer::new().file("a", b"").pax("gid", "4294967295"), "below 4294967295"),
        (Layer::new().file("a", b"").owner(1 << 40, 0), "below 4294967295"),
        (Layer::new().file("a", b"").owner(0, 0xffff_ffff), "below 4294967295"),
        (Layer::new().file("a", b"").patch(|header| header[108..116].fill(0xff)), "64 bits"),
        (
            Layer::new().file("a", b"").patch(|header| header[100..108].copy_from_slice(b"rwxr-xr-")),
            "64 bits",
        ),
        (Layer::new().file("a", b"").xattr("", "x"), "cannot name"),
        (Layer::new().file("a", b"").xattr("user.\0", "x"), "cannot name"),
        (Layer::new().file("a", b"").xattr("user.".repeat(60), "x"), "cannot name"),
        (Layer::new().file("a", b"").xattr("user.x", vec![b'x'; 65_537]), "longer than 65536"),
        (
            Layer::new().character_device("a", 1, 1).patch(|header| header[329..337].fill(0xbf)),
            "does not have 32 bits",
        ),
        (Layer::new().block_device("a", 1, 1).patch(|header| header[257..263].fill(0)), "no device numbers"),
    ]);
}

#[test]
fn metadata_that_some_file_system_has_is_kept() {
    // What a device's own cannot hold is told before a release is staged there.
    let layer = Layer::new()
        .file("a", b"")
        .mtime(1 << 40, 0)
        .file("b", b"")
        .mtime(i64::MIN, 1)
        .symlink("l", "a")
        .xattr("user.no-link-has-one", "x");
    let many = (0..500)
        .fold(layer.file("m", b""), |layer, number| layer.xattr(format!("user.{number}"), vec![b'x'; 1000]));
    let flat = flatten_layers([many.xattr("user.large", vec![b'x'; 65_536])]).unwrap();
    assert_eq!(attributes(&flat, &path("a")), "644 0:0 1099511627776.000000000");
    assert_eq!(attributes(&flat, &path("b")), "644 0:0 -9223372036854775808.000000001");
    assert_eq!(attributes(&flat, &path("l")), "777 0:0 1600000000.000000000 user.no-link-has-one=x");
    let metadata = &flat.tree.find(&path("m")).unwrap().as_inode().unwrap().metadata;
    assert_eq!(metadata.xattrs.len(), 501);
}

#[test]
fn what_readers_differ_in_is_refused() {
    let zeros = vec![0; BLOCK];
    let long = "n".repeat(200);
    all_refused([
        // CVE-2025-62518, and the reverse.
        (Layer::new().file("a", b"12345").pax("size", "0"), "size is 0 in its PAX header and 5"),
        (Layer::new().file("a", b"").pax("size", "1024"), "readers differ"),
        (Layer::new().file("a", b"12345").declared_size(0).pax("size", "5"), "readers differ"),
        // A size that some readers take for that of the header between.
        (Layer::new().raw(pax_only("size", "1024")).file(&long, b"1").gnu_names(), "readers differ"),
        (Layer::new().raw(pax_only("path", "x")).file(&long, b"1").gnu_names(), "in a GNU header"),
        (Layer::new().file("a", b"1").pax("size", "1 "), "cannot be"),
        (Layer::new().file("a", b"1").pax("size", "-1"), "cannot be"),
        (Layer::new().file("a", b"1").pax("size", "18446744073709551615"), "more than any archive"),
        (Layer::new().file("a", b"1").pax("size", "18446744073709551616"), "cannot be"),
        (Layer::new().file("a", b"1").pax("size", "99999999999"), "cut off"),
        (Layer::new().file("a", b"1").declared_size(u64::MAX).binary_numbers(), "more than any archive"),
        (Layer::new().file("a", b"1").patch(|header| header[124..136].fill(0xbf)), "64 bits without sign"),
        (Layer::new().file("a", b"1").patch(|header| header[124..136].fill(0xff)), "64 bits without sign"),
        (Layer::new().file("a", b"1").patch(|header| header[124] = b'9'), "64 bits without sign"),
        (Layer::new().directory("d").declared_size(5), "declares content"),
        (Layer::new().symlink("l", "x").declared_size(512), "declares content"),
        (Layer::new().fifo("p").pax("size", "99999999999"), "declares content"),
        (Layer::new().typed("a", b'x').typed("b", b'x').file("c", b""), "two PAX headers"),
        (Layer::new().typed("a", b'L').typed("b", b'L').file("c", b""), "two GNU headers"),
        (Layer::new().typed("a", b'K').typed("b", b'K').file("c", b""), "two GNU headers"),
        (Layer::new().typed("a", b'x'), "describes a further member"),
        (Layer::new().typed("a", b'L'), "describes a further member"),
        (Layer::new().file(&long, b"").gnu_names().pax("path", "other"), "in a GNU header"),
        (Layer::new().symlink("l", &long).gnu_names().pax("linkpath", "other"), "in a GNU header"),
        (Layer::new().file("a/", b""), "ends with a slash"),
        (Layer::new().file("a", b"").raw(zeros).file("b", b""), "single block of zeros"),
        (Layer::new().raw(global("path", "x")).file("a", b""), "for all members"),
        (Layer::new().raw(global("size", "0")).file("a", b"1"), "for all members"),
        (Layer::new().typed("a", b'V'), "have no meaning"),
        (Layer::new().typed("a", b'M'), "have no meaning"),
        (Layer::new().typed("a", b'D'), "have no meaning"),
        (Layer::new().typed("a", 0xff), "have no meaning"),
        (Layer::new().raw(vec![b'x'; BLOCK]), "checksum"),
        (
            Layer::new().file("PaxHeader", b"6 a=bb\n").entry_type(b'x').file("a", b""),
            "does not end where its length says",
        ),
        (
            Layer::new().file("PaxHeader", b"99 a=b\n").entry_type(b'x').file("a", b""),
            "longer than its header",
        ),
    ]);
}

#[test]
fn headers_between_have_their_own_size() {
    // The member's size is the member's alone, whatever stands between (CVE-2025-62518).
    let long = "n".repeat(200);
    let layer = Layer::new().raw(pax_only("size", "5")).file(&long, b"12345").gnu_names().file("after", b"1");
    assert_eq!(summary(&flatten_layers([layer]).unwrap()), format!("after=1 {long}=12345"));
}

/// A PAX header with one record, without the member it is for.
fn pax_only(key: &str, value: &str) -> Vec<u8> {
    Layer::new().file("x", b"").pax(key, value).to_cut_tar()[..2 * BLOCK].to_vec()
}

/// A global PAX header with one record.
fn global(key: &str, value: &str) -> Vec<u8> {
    let local = Layer::new().file("x", b"").pax(key, value).to_cut_tar();
    let mut header = local[..2 * BLOCK].to_vec();
    header[156] = b'g';
    let sum: u32 = header[..BLOCK]
        .iter()
        .enumerate()
        .map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) })
        .sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn a_comment_for_all_members_changes_nothing() {
    let layer = Layer::new().raw(global("comment", "0123456789")).file("a", b"1");
    assert_eq!(summary(&flatten_layers([layer]).unwrap()), "a=1");
}

#[test]
fn notes_of_the_builders_host_are_counted_not_kept() {
    let layer =
        Layer::new().directory("d").xattr("trusted.overlay.opaque", "y").xattr("security.selinux", "label\0");
    let flat = flatten_layers([layer]).unwrap();
    assert_eq!(flat.dropped_xattrs, 1);
    let directory = flat.tree.find(&path("d")).unwrap().as_inode().unwrap();
    assert_eq!(
        directory.metadata.xattrs.keys().map(|name| &name[..]).collect::<Vec<_>>(),
        [b"security.selinux"]
    );
}
