//! What layers over layers become, judged by what was written down for each case, and by umoci and GNU tar.

use crate::common::cases::{Case, cases};
use crate::common::*;
use proptest::prelude::*;
use skiff_testkit::{Encoding, Image, Layer, OciLayout};
use skiff_tree::Tree;

#[test]
fn layers_become_what_the_specification_says() {
    let mut found = Vec::new();
    for case in cases() {
        let flat = match flatten_layers(case.layers) {
            Ok(flat) => flat,
            Err(error) => {
                found.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        let mut expect = |shown: String, expected: String| {
            if shown != expected {
                found.push(format!("{}:\n  {shown}, but expected is\n  {expected}", case.name));
            }
        };
        expect(summary(&flat), case.expected);
        for (name, expected) in case.attributes {
            expect(attributes(&flat, &path(name)), expected);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What is wrong with what another program makes of a case: differences from ours that no note explains, or none where one does.
fn judge(case: &Case, ours: &Tree, theirs: Result<Tree, String>, note: Option<&str>) -> Vec<String> {
    let found = match theirs {
        Ok(theirs) => differences(ours, &theirs, case.unspecified),
        Err(said) => vec![said],
    };
    match note {
        None => found.into_iter().map(|difference| format!("{}: {difference}", case.name)).collect(),
        Some(note) if found.is_empty() => {
            vec![format!("{}: it no longer deviates, and the note on it is out of date: {note}", case.name)]
        }
        Some(_) => Vec::new(),
    }
}

#[test]
#[ignore = "needs umoci and root"]
fn layers_become_what_umoci_unpacks() {
    let mut found = Vec::new();
    for case in cases() {
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("layout");
        let image = case.layers.iter().cloned().fold(Image::new(), Image::layer);
        OciLayout::new().image("test", image).write_directory(&layout);
        let flat = flatten(&format!("oci:{}:test", layout.display())).unwrap();
        let theirs = unpack_with_umoci(&layout, "test", &directory.path().join("bundle"));
        found.extend(judge(&case, &flat.tree, theirs, case.umoci_deviates));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
#[ignore = "needs GNU tar and root"]
fn single_layers_become_what_gnu_tar_extracts() {
    let (mut found, mut count) = (Vec::new(), 0);
    for case in cases().into_iter().filter(Case::is_for_tar) {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("layer.tar");
        std::fs::write(&archive, case.layers[0].to_tar()).unwrap();
        let flat = flatten(&format!("tar:{}", archive.display())).unwrap();
        let theirs = extract_archive_with_gnu_tar(&archive, &directory.path().join("extracted"));
        found.extend(judge(&case, &flat.tree, theirs, case.tar_deviates));
        count += 1;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(count > 30, "only {count} cases were compared");
}

#[test]
#[ignore = "needs GNU tar and root"]
fn gnu_tar_extracts_what_is_written() {
    let mut found = Vec::new();
    for case in cases() {
        let flat = flatten_layers(case.layers).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let differences = differences(&flat.tree, &extract_with_gnu_tar(&flat, directory.path()), &[]);
        found.extend(differences.into_iter().map(|difference| format!("{}: {difference}", case.name)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_is_written_as_an_archive_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rootfs.tar");
    for case in cases() {
        let flat = flatten_layers(case.layers).unwrap();
        let write = || {
            let mut bytes = Vec::new();
            skiff_image::write_tar(&flat.tree, &flat.contents, &mut bytes, Default::default()).unwrap();
            bytes
        };
        let bytes = write();
        assert!(bytes == write(), "{}: two archives of one tree differ", case.name);
        std::fs::write(&file, bytes).unwrap();
        let again = flatten(&format!("tar:{}", file.display())).unwrap();
        assert_eq!(differences(&flat.tree, &again.tree, &[]), [""; 0], "{}", case.name);
        assert_eq!(summary(&again), case.expected, "{}", case.name);
    }
}

#[test]
fn layers_are_the_same_however_they_are_compressed() {
    let layers = || cases().into_iter().flat_map(|case| case.layers).take(12);
    let expected = flatten_layers(layers()).unwrap();
    for encoding in Encoding::ALL {
        let image = layers().fold(Image::new(), |image, layer| image.encoded_layer(layer, encoding));
        let flat = flatten_image(image).unwrap();
        assert_eq!(flat.tree, expected.tree, "{encoding:?}");
        assert_eq!(summary(&flat), summary(&expected), "{encoding:?}");
    }
}

/// Layers of few names, so that they meet.
fn any_layer() -> impl Strategy<Value = Layer> {
    let name = || prop::sample::select(vec!["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/b/a"]);
    let entry = (0..7_u8, name(), name());
    prop::collection::vec(entry, 0..8).prop_map(|entries| {
        entries.into_iter().fold(Layer::new(), |layer, (kind, name, other)| match kind {
            0 => layer.file(name, other),
            1 => layer.directory(name).mode(0o700 + other.len() as u32),
            2 => layer.symlink(name, format!("/{other}")),
            3 => layer.symlink(name, other),
            4 => layer.hard_link(name, other),
            5 => layer.whiteout(name),
            _ => layer.opaque(name),
        })
    })
}

proptest! {
    #[test]
    fn a_layer_over_others_is_a_layer_over_what_they_make(lower in prop::collection::vec(any_layer(), 1..4), upper in any_layer()) {
        let Ok(below) = flatten_layers(lower.clone()) else { return Ok(()) };
        let mut tar = Vec::new();
        skiff_image::write_tar(&below.tree, &below.contents, &mut tar, Default::default()).unwrap();
        let as_one = Image::new().raw_layer(tar, Encoding::Plain).layer(upper.clone());
        let stacked = flatten_layers(lower.into_iter().chain([upper]));
        match (stacked, flatten_image(as_one)) {
            (Ok(stacked), Ok(as_one)) => prop_assert_eq!(stacked.tree, as_one.tree),
            (Err(_), Err(_)) => {}
            (stacked, as_one) => prop_assert!(false, "{:?}, but {:?}", stacked.map(|flat| summary(&flat)), as_one.map(|flat| summary(&flat))),
        }
    }
}
