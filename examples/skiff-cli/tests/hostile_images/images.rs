//! Hostile images through `flatten`, `install` and `apply`.

use std::fs;

use skiff_testkit::{
    Fate, Fault, HostileImage, Image, Layer, OciLayout, Picture, hostile_images, in_mount_namespace,
};

use crate::place::{Place, Run};

/// A place with an image and a store that has it.
fn place(scratch: &std::path::Path) -> Place {
    let place = Place::new(scratch);
    OciLayout::new().image("base", Image::new().layer(base())).write_directory(&place.path("base"));
    place.succeeds(&["install", "oci:base", "--store", "installed"]);
    place
}

/// What a device has before it is updated to something hostile.
fn base() -> Layer {
    Layer::new().directory("./").file("base", b"1").directory("d").file("d/a", b"old").symlink("l", "d")
}

/// The words of a report that stand for a key.
fn value(run: &Run, key: &str) -> String {
    let report: serde_json::Value = serde_json::from_str(&run.told).unwrap();
    report[key].as_str().unwrap().to_owned()
}

/// Each command on an image, in a place that is made anew for it: how it ended, and the picture of what it has written.
fn run_all(place: &Place, image: &HostileImage) -> Vec<(&'static str, Run, Option<String>)> {
    let reference = image.write(&place.fresh("image"));
    place.fresh("out");
    place.fresh("store");
    place.copy("installed", "updated");
    let _ = fs::remove_file(place.path("delta"));
    let picture = |root: &str| place.path(root).exists().then(|| Picture::of_directory(&place.path(root)));
    let run = place.skiff(&["flatten", &reference, "--rootfs", "out/root"]);
    let mut runs = vec![("flatten", run, picture("out/root"))];
    let run = place.skiff(&["install", &reference, "--store", "store"]);
    runs.push(("install", run, picture("store/current/rootfs")));
    let run = place.skiff(&["diff", "oci:base", &reference, "-o", "delta", "--json"]);
    if run.code != 0 {
        assert!(!place.path("delta").exists(), "{}: a delta was written all the same", image.name);
        runs.push(("diff", run, None));
        return runs;
    }
    let target = value(&run, "target");
    let run = place.skiff(&["apply", "delta", "--store", "updated", "--target", &target]);
    let is_current = fs::read_link(place.path("updated/current")).unwrap().ends_with(&target);
    runs.push(("apply", run, is_current.then(|| picture("updated/current/rootfs")).flatten()));
    runs
}

/// What is wrong with what became of an image.
fn judge(fate: &Fate, command: &str, run: &Run, picture: Option<&str>) -> Option<String> {
    let is_right = match fate {
        Fate::Refused(fault, words) => {
            let code = match fault {
                Fault::Missing | Fault::NoFile => 2,
                Fault::Corrupt | Fault::Unsupported | Fault::Limit | Fault::Digest => 4,
            };
            run.code == code && words.iter().all(|words| run.said.contains(words)) && picture.is_none()
        }
        Fate::Taken(expected) => run.code == 0 && picture == Some(expected),
        // That it is written at all is for `flatten` to try; a store knows before.
        Fate::NotStored(_, words) => {
            !matches!(run.code, 0..=2)
                && run.said.contains(words)
                && (command == "flatten" || picture.is_none())
        }
    };
    (!is_right).then(|| format!("{command} ended with {}: {}and made {picture:?}", run.code, run.said))
}

#[test]
#[ignore = "needs root"]
fn hostile_images_leave_everything_outside_as_it_was() {
    in_mount_namespace("images::hostile_images_leave_everything_outside_as_it_was", |scratch| {
        let mut place = place(scratch);
        let (mut found, mut runs) = (Vec::new(), 0);
        let images = hostile_images();
        for image in &images {
            for (command, run, picture) in run_all(&place, image) {
                let wrong = judge(&image.fate, command, &run, picture.as_deref());
                found.extend(wrong.map(|wrong| format!("{}: {wrong}", image.name)));
                runs += 1;
            }
            place.canary.assert_untouched(&image.name);
        }
        println!("{} hostile images in {runs} runs; outside is {}", images.len(), place.canary.digest());
        assert!(found.is_empty(), "{}", found.join("\n"));
        assert!(images.len() >= 120);
    });
}

/// The commands on an image while directories are swapped for links: how many swaps there were, and how the runs ended.
fn run_racing(place: &mut Place, image: &HostileImage) -> (u64, Vec<Run>) {
    let reference = image.write(&place.fresh("image"));
    place.fresh("out");
    place.fresh("store");
    place.copy("installed", "updated");
    let _ = fs::remove_file(place.path("delta"));
    let diff = place.succeeds(&["diff", "oci:base", &reference, "-o", "delta", "--json"]);
    let target = value(&diff, "target");
    place.swapping(&["out/root", "store", "updated"], |place| {
        vec![
            place.skiff(&["flatten", &reference, "--rootfs", "out/root"]),
            place.skiff(&["install", &reference, "--store", "store"]),
            place.skiff(&["apply", "delta", "--store", "updated", "--target", &target]),
            place.skiff(&["verify", "--store", "updated"]),
            place.skiff(&["rollback", "--store", "updated"]),
            place.skiff(&["recover", "--store", "updated"]),
        ]
    })
}

fn race(place: &mut Place, images: &[HostileImage]) {
    let (mut swaps, mut won, mut lost) = (0, 0, 0);
    for image in images {
        let (more, runs) = run_racing(place, image);
        place.canary.assert_untouched(&image.name);
        swaps += more;
        won += runs.iter().filter(|run| run.code == 0).count();
        lost += runs.iter().filter(|run| run.code != 0).count();
    }
    println!("{} images, {swaps} swaps: {won} runs succeeded, {lost} did not", images.len());
    assert!(swaps > 0 && lost > 0, "the race was never won, so nothing was shown");
}

#[test]
#[ignore = "needs root"]
fn nothing_outside_is_touched_while_directories_are_swapped_for_links() {
    in_mount_namespace(
        "images::nothing_outside_is_touched_while_directories_are_swapped_for_links",
        |scratch| {
            let mut place = place(scratch);
            // What is refused writes nothing that could be raced for.
            let is_written = |image: &HostileImage| !matches!(image.fate, Fate::Refused(..));
            let images: Vec<HostileImage> = hostile_images().into_iter().filter(is_written).collect();
            race(&mut place, &images);
        },
    );
}

#[test]
#[ignore = "needs root"]
fn nothing_outside_is_touched_while_directories_of_many_files_are_swapped_for_links() {
    let name = "images::nothing_outside_is_touched_while_directories_of_many_files_are_swapped_for_links";
    in_mount_namespace(name, |scratch| {
        let mut place = place(scratch);
        let layer = (0..600).fold(Layer::new(), |layer, number: u32| {
            let directory = format!("d/{}/{}", number % 3, number % 5);
            layer
                .file(format!("{directory}/{number}"), vec![b'x'; 300])
                .hard_link(format!("{directory}/{number}.h"), "base")
                .symlink(format!("{directory}/{number}.l"), "/media/canary/secret")
        });
        let image = HostileImage::of_layers("many files", Fate::Taken(String::new()), vec![base(), layer]);
        let images: Vec<HostileImage> = (0..20).map(|_| image.clone()).collect();
        race(&mut place, &images);
    });
}
