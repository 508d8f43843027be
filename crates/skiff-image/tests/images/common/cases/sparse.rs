//! Files stored without their holes, and sizes of 64 bits.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![binary_size(), pax_size()];
    cases.extend(SparseFormat::ALL.map(in_every_way));
    cases.extend(SparseFormat::ALL.map(in_many_pieces));
    cases
}

/// Of GNU's own format, umoci knows nothing.
const NOTE: &str = "umoci does not know the type; the specification says of sparse files only that they \"lack consistent support across \
                    tar implementations\", and the GNU tar manual, Basic Tar Format, of type S: \"This is for sparse files\"";

fn in_every_way(format: SparseFormat) -> Case {
    // All pieces but the last fill their blocks, as where GNU tar finds holes.
    let (a, b) = ([b'a'; 512], [b'b'; 1024]);
    let layer = root()
        .sparse_file("middle", format, &[(0, &a[..]), (1024, &b), (4096, b"end"), (4099, b"")], 4099)
        .mode(0o600)
        .owner(3, 4)
        .sparse_file("first", format, &[(4, b"x")], 5)
        .sparse_file("last", format, &[(0, b"x"), (5, b"")], 5)
        .sparse_file("nothing", format, &[(5, b"")], 5)
        .sparse_file("dense", format, &[(0, b"xyz")], 3)
        .hard_link("other", "middle")
        .file("after", b"1");
    let zeros = |count: usize| r"\x00".repeat(count);
    let middle = format!("{}{}{}{}end", "a".repeat(512), zeros(512), "b".repeat(1024), zeros(2048));
    let expected = format!(
        "after=1 dense=xyz first={}x last=x{} middle={middle} nothing={} other==middle",
        zeros(4),
        zeros(4),
        zeros(5)
    );
    let case = case(format!("sparse files, {format:?}"), vec![layer], expected);
    let case = case.with("middle", "600 3:4 1600000000.000000000");
    if format == SparseFormat::Gnu { case.umoci_deviates(NOTE) } else { case }
}

fn in_many_pieces(format: SparseFormat) -> Case {
    // More than GNU's header has room for, and one block after it, and one block of a map before the content.
    let piece = [b'x'; 512];
    let mut pieces: Vec<(u64, &[u8])> = (0..60).map(|number| (number * 1024, &piece[..])).collect();
    // What GNU tar takes the size from, whatever else says it.
    pieces.push((61_440, b""));
    let layer = root().sparse_file("many", format, &pieces, 61_440).file("after", b"1");
    let expected = format!("after=1 many={}", ("x".repeat(512) + &r"\x00".repeat(512)).repeat(60));
    let case = case(format!("a sparse file in many pieces, {format:?}"), vec![layer], expected);
    if format == SparseFormat::Gnu { case.umoci_deviates(NOTE) } else { case }
}

fn binary_size() -> Case {
    let layer = root().file("a", b"12345").binary_numbers().file("b", b"6");
    case("a binary size", vec![layer], "a=12345 b=6")
}

fn pax_size() -> Case {
    // Where the header says the same, as it must where it can: readers that do not look for the record see the same members.
    let layer = root().file("a", b"12345").pax("size", "5").file("b", b"6").pax("size", "0000001");
    case("a size in a PAX record", vec![layer], "a=12345 b=6")
}
