//! The same tree makes the same archive, byte for byte, whatever its layers were.

use crate::common::cases::cases;
use crate::common::*;
use proptest::prelude::*;
use skiff_image::*;
use skiff_testkit::{Encoding, Image as TestImage, Layer, SparseFormat};

fn archive(flat: &FlatImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_tar(&flat.tree, &flat.contents, &mut bytes, Default::default()).expect("an archive");
    bytes
}

fn of_layers(layers: Vec<Layer>, encoding: Encoding) -> Vec<u8> {
    let image =
        layers.into_iter().fold(TestImage::new(), |image, layer| image.encoded_layer(layer, encoding));
    archive(&flatten_image(image).expect("an image"))
}

fn long() -> String {
    format!("usr/{}", "n".repeat(150))
}

/// One tree, written in one go.
fn in_one_layer() -> Vec<Layer> {
    let layer = Layer::new()
        .directory("./")
        .directory("bin")
        .mode(0o711)
        .file("bin/a", b"binary")
        .mode(0o4755)
        .owner(3, 4)
        .mtime(1_700_000_000, 5)
        .xattr("user.one", "1")
        .xattr("user.two", "2")
        .hard_link("bin/b", "bin/a")
        .hard_link("bin/c", "bin/a")
        .directory("usr")
        .file(long(), vec![b'l'; 3000])
        .file("usr/holes", [&[b'x'; 512][..], &[0; 1500], b"end"].concat())
        .owner(3_000_000, 7)
        .symlink("usr/link", "t".repeat(120))
        .character_device("usr/null", 1, 3)
        .file("usr/old", b"")
        .mtime(-5, 0);
    vec![layer]
}

/// The same, in another order, with other names of the linked file first, and in headers of GNU's kind.
fn in_another_order() -> Vec<Layer> {
    let holes = [(0_u64, &[b'x'; 512][..]), (2012, b"end")];
    let layer = Layer::new()
        .file("/usr/old", b"")
        .mtime(-5, 0)
        .binary_numbers()
        .sparse_file("usr//holes", SparseFormat::Gnu, &holes, 2015)
        .owner(3_000_000, 7)
        .character_device("./usr/null", 1, 3)
        .symlink("usr/link", "t".repeat(120))
        .gnu_names()
        .file(long(), vec![b'l'; 3000])
        .gnu_names()
        .file("bin/c", b"binary")
        .mode(0o4755)
        .owner(3, 4)
        .owner_names("somebody", "users")
        .xattr("user.two", "2")
        .pax("mtime", "1700000000.00000000599")
        .xattr("user.one", "1")
        .pax("atime", "7")
        .hard_link("bin/b", "bin/c")
        .hard_link("bin/a", "bin/b")
        .directory("usr/")
        .directory("bin/")
        .mode(0o40_711)
        .directory("/");
    vec![layer]
}

/// The same, after detours: what is hidden, replaced, whited out and added again over many layers.
fn in_many_layers() -> Vec<Layer> {
    let [one] = &in_one_layer()[..] else { unreachable!("it is one layer") };
    let holes = [(0_u64, &[b'x'; 512][..]), (2012, b"end")];
    vec![
        Layer::new().file("gone", b"1").directory("bin").file("bin/z", b"2").symlink("usr", "bin"),
        Layer::new().whiteout("gone").whiteout("usr").opaque("bin"),
        one.clone(),
        Layer::new()
            .file("usr/holes", b"other")
            .whiteout("bin/a")
            .directory("usr/null")
            .file("usr/null/x", b""),
        Layer::new()
            .hard_link("bin/a", "bin/c")
            .whiteout("usr/holes")
            .sparse_file("usr/holes", SparseFormat::Pax10, &holes, 2015)
            .owner(3_000_000, 7),
        Layer::new()
            .character_device("usr/null", 1, 3)
            .directory("bin")
            .mode(0o711)
            .directory("usr")
            .directory("./"),
    ]
}

#[test]
fn one_tree_makes_one_archive_whatever_its_layers_were() {
    let expected = of_layers(in_one_layer(), Encoding::Plain);
    for (name, layers) in [
        ("one layer", in_one_layer()),
        ("another order", in_another_order()),
        ("many layers", in_many_layers()),
    ] {
        for encoding in Encoding::ALL {
            let found = of_layers(layers.clone(), encoding);
            assert!(found == expected, "{name}, {encoding:?}: {} bytes and {}", found.len(), expected.len());
        }
    }
    // And again, from the archive that it makes, and from a further one on top that changes nothing.
    let twice = TestImage::new().raw_layer(expected.clone(), Encoding::Xz);
    let twice = twice.raw_layer(expected.clone(), Encoding::Plain);
    assert!(archive(&flatten_image(twice).unwrap()) == expected);
}

#[test]
fn the_archive_of_an_archive_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rootfs.tar");
    for case in cases() {
        let bytes = archive(&flatten_layers(case.layers).unwrap());
        std::fs::write(&file, &bytes).unwrap();
        let again = archive(&flatten(&format!("tar:{}", file.display())).unwrap());
        assert!(again == bytes, "{}", case.name);
    }
}

/// Files of few names, to be spread over layers.
fn any_files() -> impl Strategy<Value = Vec<(String, Vec<u8>, bool)>> {
    let name = prop::sample::select(vec!["a", "b", "d/a", "d/b", "d/e/a", "f/a"]);
    let content = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec((name.prop_map(str::to_owned), content, any::<bool>()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn layers_merged_into_one_make_the_same_archive(files in any_files(), splits in prop::collection::vec(any::<bool>(), 12)) {
        let directories = || ["d", "d/e", "f"].iter().fold(Layer::new().directory("./"), |layer, name| layer.directory(name));
        let add = |layer: Layer, (name, content, is_executable): &(String, Vec<u8>, bool)| {
            layer.file(name, content).mode(if *is_executable { 0o755 } else { 0o644 })
        };
        let one = files.iter().fold(directories(), add);
        let mut many = vec![directories()];
        for (file, is_split) in files.iter().zip(splits) {
            let layer = if is_split { Layer::new() } else { many.pop().expect("because there is one at least") };
            many.push(add(layer, file));
        }
        prop_assert!(of_layers(vec![one], Encoding::Zstd) == of_layers(many, Encoding::Gzip));
    }
}
