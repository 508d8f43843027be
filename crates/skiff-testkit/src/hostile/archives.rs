//! Archives that mean different things to different readers, or are none.

use super::{Fate, Fault, HostileImage, base, faulty, refused, taken, written};
use crate::{Encoding, Image, Layer, OciLayout};

const BLOCK: usize = 512;

pub(super) fn cases() -> Vec<HostileImage> {
    [sizes(), types(), checksums(), ends(), sparse()].into_iter().flatten().collect()
}

fn sizes() -> Vec<HostileImage> {
    let new = Layer::new;
    let smuggled = Layer::new().file("media/canary/secret", b"2").to_cut_tar();
    let words = "64 bits without sign";
    vec![
        // CVE-2025-62518, and the reverse.
        refused(
            "a size in a PAX record that hides members",
            new().file("a", b"").raw(smuggled.clone()).file("b", b"").pax("size", "1024"),
            "readers differ",
        ),
        refused(
            "a size in a header that hides members",
            new().file("a", smuggled).pax("size", "0"),
            "size is 0 in its PAX header",
        ),
        refused(
            "a size in a PAX record where the header has none",
            new().file("a", b"12345").declared_size(0).pax("size", "5"),
            "readers differ",
        ),
        refused(
            "below zero in binary",
            new().file("a", b"1").patch(|header| header[124..136].fill(0xff)),
            words,
        ),
        refused(
            "larger than any number",
            new().file("a", b"1").patch(|header| header[124..136].fill(0xbf)),
            words,
        ),
        refused(
            "the largest number",
            new().file("a", b"1").declared_size(u64::MAX).binary_numbers(),
            "more than any archive",
        ),
        refused(
            "below zero in digits",
            new().file("a", b"1").patch(|header| header[124..136].copy_from_slice(b"-0000000001\0")),
            words,
        ),
        refused("not octal", new().file("a", b"1").patch(|header| header[124] = b'9'), words),
        refused(
            "two numbers",
            new().file("a", b"1").patch(|header| header[124..136].copy_from_slice(b"1 2        \0")),
            words,
        ),
        refused(
            "hexadecimal",
            new().file("a", b"1").patch(|header| header[124..136].copy_from_slice(b"0x000000001\0")),
            words,
        ),
        refused("of a directory", new().directory("d").declared_size(5), "declares content"),
        refused("of a symbolic link", new().symlink("l", "x").declared_size(512), "declares content"),
        refused("of a device", new().character_device("c", 1, 3).declared_size(1), "declares content"),
        refused("of a pipe, in a PAX record", new().fifo("p").pax("size", "99999999999"), "declares content"),
        refused("more than there is", new().file("a", b"1").declared_size(1 << 20), "cut off"),
        taken(
            "of a hard link, which has none",
            [new().hard_link("a", "base").declared_size(1 << 30).file("b", b"2")],
            "a=1 b=2 base==a",
        ),
    ]
}

fn types() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "have no meaning";
    let mut cases: Vec<HostileImage> = [
        ("a volume's name", b'V'),
        ("the rest of a file of another volume", b'M'),
        ("a list of a directory", b'D'),
        ("a name of an incremental archive", b'N'),
        ("Solaris's extended header", b'X'),
        ("Solaris's ACL", b'A'),
        ("an inode without content", b'I'),
        ("reserved", b'8'),
        ("not ASCII", 0xff),
        ("a blank", b' '),
    ]
    .into_iter()
    .map(|(name, kind)| {
        faulty(&format!("of a type that is {name}"), Fault::Unsupported, new().typed("a", kind), words)
    })
    .collect();
    cases.extend([
        taken(
            "of older types",
            [new().typed("old", 0).typed("olddir/", 0).typed("contiguous", b'7')],
            "base=1 contiguous= old= olddir/{644}",
        ),
        refused("a contiguous file with a slash", new().typed("a/", b'7'), "ends with a slash"),
        refused(
            "a device in a header that has no numbers for it",
            new().block_device("a", 1, 1).patch(|header| header[257..263].fill(0)),
            "no device numbers",
        ),
        refused(
            "a sparse file in a header that has no map",
            new().typed("a", b'S'),
            "in a format that has none",
        ),
    ]);
    cases
}

fn checksums() -> Vec<HostileImage> {
    let new = Layer::new;
    let words = "checksum";
    // After it was made to fit.
    let with_sum = |sum: &[u8; 8]| {
        let mut tar = Layer::new().file("a", b"2").to_cut_tar();
        tar[148..156].copy_from_slice(sum);
        Layer::new().raw(tar)
    };
    let mut signed = Layer::new().file(b"\xff\xfe", b"2").to_cut_tar();
    let byte = |(index, &byte): (usize, &u8)| {
        if (148..156).contains(&index) { 32 } else { i64::from(byte.cast_signed()) }
    };
    let sum: i64 = signed[..BLOCK].iter().enumerate().map(byte).sum();
    signed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    vec![
        refused("no header at all", new().raw(vec![b'x'; BLOCK]), words),
        refused("a wrong sum", with_sum(b"000001\0 "), words),
        refused("a blank sum", with_sum(&[b' '; 8]), words),
        refused("a sum that is no number", with_sum(b"checksum"), words),
        taken("a sum of signed bytes, as Sun had it", [new().raw(signed)], r"base=1 \xff\xfe=2"),
        refused("compressed twice", new().raw(Encoding::Gzip.encode(&new().file("a", b"").to_tar())), ""),
    ]
}

fn ends() -> Vec<HostileImage> {
    let new = Layer::new;
    let with_layer = |name: &str, bytes: Vec<u8>, fate: Fate| {
        written(name, fate, move |directory| {
            let image = Image::new().layer(base()).raw_layer(bytes.clone(), Encoding::Zstd);
            OciLayout::new().image("hostile", image).write_directory(directory);
            format!("oci:{}", directory.display())
        })
    };
    let cut = || Fate::Refused(Fault::Corrupt, vec!["cut off", "layer 1"]);
    let taken_as = |picture: &str| Fate::Taken(picture.into());
    let tar = new().file("a", b"2").to_tar();
    vec![
        refused(
            "a block of zeros between members",
            new().file("a", b"").raw(vec![0; BLOCK]).file("b", b""),
            "single block of zeros",
        ),
        refused(
            "a block of zeros before all",
            new().raw(vec![0; BLOCK]).file("b", b""),
            "single block of zeros",
        ),
        refused("a PAX header for nobody", new().typed("a", b'x'), "describes a further member"),
        refused("a GNU header for nobody", new().typed("a", b'L'), "describes a further member"),
        with_layer("a layer without a byte", Vec::new(), taken_as("base=1")),
        with_layer("a layer of zeros", vec![0; 10 * BLOCK], taken_as("base=1")),
        with_layer("a layer of one byte", vec![0], cut()),
        with_layer("a layer cut in its header", tar[..100].to_vec(), cut()),
        with_layer("a layer cut in its content", tar[..BLOCK + 1].to_vec(), cut()),
        with_layer("a layer cut before its content", tar[..BLOCK].to_vec(), cut()),
        with_layer("a layer without its end", tar[..2 * BLOCK].to_vec(), taken_as("a=2 base=1")),
        with_layer(
            "members after the end",
            [&tar[..], &new().file("media/canary/secret", b"3").to_tar()].concat(),
            taken_as("a=2 base=1"),
        ),
    ]
}

fn sparse() -> Vec<HostileImage> {
    let new = Layer::new;
    let with_map =
        |map: &str, size: &str| new().file("a", b"x").pax("GNU.sparse.map", map).pax("GNU.sparse.size", size);
    let order = "overlap, are out of order or beyond its end";
    vec![
        refused("a sparse file's pieces that overlap", with_map("0,1,0,0", "5"), order),
        refused("a sparse file's piece beyond its end", with_map("5,1", "5"), order),
        refused("a sparse file's piece beyond any end", with_map("18446744073709551615,1", "5"), order),
        refused("a sparse file with more stored than in its pieces", with_map("0,0", "5"), "are stored"),
        refused("a sparse file with less stored than in its pieces", with_map("0,2", "5"), "are stored"),
        refused("a sparse file's map with an odd number", with_map("0,1,2", "5"), "pairs of numbers"),
        refused("a sparse file's map below zero", with_map("-1,1", "5"), "pairs of numbers"),
        refused(
            "a sparse file without its size",
            new().file("a", b"x").pax("GNU.sparse.map", "0,1"),
            "size is missing",
        ),
        refused(
            "a sparse directory",
            new().directory("d").pax("GNU.sparse.map", "0,0").pax("GNU.sparse.size", "0"),
            "said to be sparse",
        ),
        faulty(
            "a sparse file of a later format",
            Fault::Unsupported,
            new()
                .file("a", b"")
                .pax("GNU.sparse.major", "2")
                .pax("GNU.sparse.minor", "0")
                .pax("GNU.sparse.realsize", "0"),
            "in a format other than",
        ),
        refused(
            "a sparse file's records in front of a header of GNU's",
            with_map("0,1", "5").gnu_names(),
            "readers differ in whether that is a sparse file",
        ),
        refused(
            "a sparse file whose map is cut off",
            new()
                .file("a", b"")
                .pax("GNU.sparse.major", "1")
                .pax("GNU.sparse.minor", "0")
                .pax("GNU.sparse.realsize", "0"),
            "map is longer than its content",
        ),
        refused(
            "a sparse file whose name leads upwards",
            with_map("0,1", "1").pax("GNU.sparse.name", "../../media/canary/secret"),
            "leads upwards",
        ),
        taken(
            "a sparse file whose name leads to another than its path",
            [with_map("0,1", "3").pax("GNU.sparse.name", "b").pax("path", "c")],
            r"b=x\x00\x00 base=1",
        ),
    ]
}
