//! Stores whose own directories are links to elsewhere from the start.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use skiff_testkit::{Canary, Image, Layer, OUTSIDE, OciLayout, in_mount_namespace};

use crate::place::Place;

/// What in a store can be a link, and where that leads.
const PLANTED: [(&str, &str); 12] = [
    ("staging", OUTSIDE),
    ("staging", "../../canary"),
    ("staging", "/media/canary/staging"),
    ("releases", OUTSIDE),
    ("releases", "/media/canary/releases"),
    ("current", OUTSIDE),
    ("current", "../../canary"),
    ("current", "/media/canary/none"),
    ("lock", "/media/canary/secret"),
    ("lock", "/media/canary/none"),
    ("releases/RELEASE", OUTSIDE),
    ("releases/RELEASE/rootfs", "/media/canary/rootfs"),
];

#[test]
#[ignore = "needs root"]
fn links_in_the_place_of_a_stores_own_directories_are_not_followed() {
    in_mount_namespace("store::links_in_the_place_of_a_stores_own_directories_are_not_followed", |scratch| {
        let mut place = Place::new(scratch);
        let image =
            |text: &str| Image::new().layer(Layer::new().directory("d").file("d/a", text).file("base", "1"));
        OciLayout::new()
            .image("1", image("old"))
            .image("2", image("new"))
            .write_directory(&place.path("images"));
        place.succeeds(&["install", "oci:images:1", "--store", "sound"]);
        place.succeeds(&["diff", "oci:images:1", "oci:images:2", "-o", "delta"]);
        let release = fs::read_link(place.path("sound/current")).unwrap();
        let release = release.file_name().unwrap().to_str().unwrap();
        let commands: [&[&str]; 7] = [
            &["apply", "delta", "--store", "store", "--trust-delta"],
            &["install", "oci:images:2", "--store", "store"],
            &["install", "oci:images:1", "--store", "store"],
            &["verify", "--store", "store"],
            &["rollback", "--store", "store"],
            &["recover", "--store", "store"],
            &["sign-tree", "--store", "store", "-o", "signature"],
        ];
        let mut refused = 0;
        for (name, target) in PLANTED {
            for command in commands {
                place.copy("sound", "store");
                let planted = place.path("store").join(name.replace("RELEASE", release));
                match fs::symlink_metadata(&planted) {
                    Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&planted).unwrap(),
                    Ok(_) => fs::remove_file(&planted).unwrap(),
                    Err(_) => {}
                }
                symlink(target, &planted).unwrap();
                let run = place.skiff(command);
                refused += u32::from(run.code != 0);
                place.canary.assert_untouched(&format!("{name} -> {target}, {command:?}: {}", run.said));
            }
        }
        println!(
            "{} links, {} runs, of which {refused} failed",
            PLANTED.len(),
            PLANTED.len() * commands.len()
        );
        assert!(refused > 0);
    });
}

#[test]
#[ignore = "needs root"]
fn a_canary_tells_whatever_is_done_to_it() {
    in_mount_namespace("store::a_canary_tells_whatever_is_done_to_it", |scratch| {
        let root = scratch.join("canary");
        let harms: [fn(&Path); 8] = [
            |root| drop(fs::read(root.join("secret")).unwrap()),
            |root| assert_eq!(fs::read_dir(root.join("directory")).unwrap().count(), 2),
            |root| fs::write(root.join("new"), "").unwrap(),
            |root| fs::write(root.join("secret"), "").unwrap(),
            |root| fs::remove_file(root.join("pipe")).unwrap(),
            |root| fs::hard_link(root.join("x"), root.join("../stolen")).unwrap(),
            |root| drop(fs::read_link(root.join("link")).unwrap()),
            |root| {
                let file = fs::File::open(root.join("d")).unwrap();
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            },
        ];
        for (number, harm) in harms.into_iter().enumerate() {
            let mut canary = Canary::plant(&root);
            canary.assert_untouched("nobody");
            harm(&root);
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                canary.assert_untouched("somebody")
            }));
            assert!(told.is_err(), "harm {number} was not told");
            fs::remove_dir_all(&root).unwrap();
        }
    });
}
