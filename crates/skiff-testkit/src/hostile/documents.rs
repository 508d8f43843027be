//! Indexes, manifests and configs that lie, and archives and layouts whose files are elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{Fate, Fault, HostileImage, base, written};
use crate::image::digest;
use crate::{DockerForm, Encoding, Image, Layer, docker_archive, sha256_hex};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(super) fn cases() -> Vec<HostileImage> {
    [
        configs(),
        manifests(),
        digests(),
        indexes(),
        directories(),
        archives(),
        saved_layers(),
        saved_documents(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The documents of an image of one layer, each as text that can be changed; what names it follows the change.
#[derive(Clone)]
struct Documents {
    config: fn(String) -> String,
    manifest: fn(String) -> String,
    index: fn(String) -> String,
}

const SOUND: Documents = Documents { config: same, manifest: same, index: same };

fn same(text: String) -> String {
    text
}

impl Documents {
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut add = |bytes: &[u8], media_type: &str| {
            files.insert(format!("blobs/sha256/{}", sha256_hex(bytes)), bytes.to_vec());
            json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
        };
        let tar = base().to_tar();
        let config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
        });
        let config =
            add((self.config)(config.to_string()).as_bytes(), "application/vnd.oci.image.config.v1+json");
        let layer = add(&Encoding::Gzip.encode(&tar), Encoding::Gzip.media_type());
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let manifest = add((self.manifest)(manifest.to_string()).as_bytes(), MANIFEST);
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        files.insert("index.json".into(), (self.index)(index.to_string()).into_bytes());
        files.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        files
    }

    fn case(self, name: &str, fault: Fault, words: Vec<&'static str>) -> HostileImage {
        written(name, Fate::Refused(fault, words), move |directory| write_directory(directory, &self.files()))
    }
}

fn write_directory(directory: &Path, files: &BTreeMap<String, Vec<u8>>) -> String {
    std::fs::create_dir_all(directory.join("blobs/sha256")).expect("a directory for blobs");
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).expect("a file of the layout");
    }
    format!("oci:{}", directory.display())
}

/// Changes a document by its values.
fn edit(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::from_str(text).expect("a document");
    change(&mut value);
    value.to_string()
}

fn configs() -> Vec<HostileImage> {
    let case = |name: &str, fault, words: Vec<&'static str>, config| {
        Documents { config, ..SOUND }.case(name, fault, words)
    };
    let json = "not the JSON it should be";
    vec![
        case("a config without layers", Fault::Corrupt, vec!["it names 0 layers"], |text| {
            edit(&text, |config| config["rootfs"]["diff_ids"] = json!([]))
        }),
        case("a config with a layer more", Fault::Corrupt, vec!["it names 2 layers"], |text| {
            edit(&text, |config| {
                let ids = &mut config["rootfs"]["diff_ids"];
                *ids = json!([ids[0], ids[0]]);
            })
        }),
        case("a config for another layer", Fault::Digest, vec!["layer 0"], |text| {
            edit(&text, |config| config["rootfs"]["diff_ids"] = json!([digest(b"another")]))
        }),
        case("a config without a root file system", Fault::Corrupt, vec![json, "rootfs"], |text| {
            text.replace("rootfs", "rootfz")
        }),
        case(
            "a config of which one key is there twice",
            Fault::Corrupt,
            vec![json, "duplicate field"],
            |text| text.replacen('{', r#"{"rootfs":{"diff_ids":[]},"#, 1),
        ),
        case("a config by a digest of another kind", Fault::Unsupported, vec!["not a SHA-256"], |text| {
            text.replace("sha256:", "sha512:")
        }),
        case("a config by a path in place of a digest", Fault::Unsupported, vec!["not a SHA-256"], |text| {
            edit(&text, |config| {
                config["rootfs"]["diff_ids"] = json!(["sha256:../../../../media/canary/secret"])
            })
        }),
        case("a config with something after it", Fault::Corrupt, vec![json, "trailing"], |text| text + "{}"),
        case("a config that is empty", Fault::Corrupt, vec![json], |_| String::new()),
        case("a config that is a number", Fault::Corrupt, vec![json], |_| "7".into()),
        case("a config of 100,000 levels", Fault::Corrupt, vec![json, "recursion"], |text| {
            text.replacen('{', &format!("{{\"x\":{},", "[".repeat(100_000)), 1)
        }),
    ]
}

fn manifests() -> Vec<HostileImage> {
    let case = |name: &str, fault, words: Vec<&'static str>, manifest| {
        Documents { manifest, ..SOUND }.case(name, fault, words)
    };
    let json = "not the JSON it should be";
    let neither = "neither an index nor an image's manifest";
    vec![
        case("a manifest that is an index too", Fault::Corrupt, vec![neither], |text| {
            text.replacen('{', r#"{"manifests":[],"#, 1)
        }),
        case("a manifest without layers", Fault::Corrupt, vec![neither], |text| {
            text.replace("\"layers\"", "\"layerz\"")
        }),
        case("a manifest with layers twice", Fault::Corrupt, vec![json, "duplicate field"], |text| {
            text.replacen('{', r#"{"layers":[],"#, 1)
        }),
        case("a manifest that says it is an index", Fault::Corrupt, vec!["and is named as"], |text| {
            text.replace(MANIFEST, INDEX)
        }),
        case("a layer below zero bytes", Fault::Corrupt, vec![json], |text| {
            edit(&text, |manifest| manifest["layers"][0]["size"] = json!(-1))
        }),
        case("a layer of half a byte", Fault::Corrupt, vec![json], |text| {
            edit(&text, |manifest| manifest["layers"][0]["size"] = json!(0.5))
        }),
        case("a layer of more bytes than there are", Fault::Corrupt, vec!["the manifest says"], |text| {
            edit(&text, |manifest| manifest["layers"][0]["size"] = json!(u64::MAX))
        }),
        case("a layer of fewer bytes than there are", Fault::Corrupt, vec!["the manifest says 1"], |text| {
            edit(&text, |manifest| manifest["layers"][0]["size"] = json!(1))
        }),
        case("a config of more bytes than there are", Fault::Corrupt, vec!["is named with"], |text| {
            edit(&text, |manifest| manifest["config"]["size"] = json!(5000))
        }),
        case("a layer that is text", Fault::Unsupported, vec!["not that of a tar archive"], |text| {
            text.replace("layer.v1.tar+gzip", "layer.v1.text")
        }),
        case("a layer that is encrypted", Fault::Unsupported, vec!["+encrypted"], |text| {
            text.replace("tar+gzip", "tar+gzip+encrypted")
        }),
        case("a layer that is elsewhere", Fault::Missing, vec!["layer 0"], |text| {
            edit(&text, |manifest| manifest["layers"][0]["digest"] = json!(digest(b"elsewhere")))
        }),
        case("a layer that is the config", Fault::Corrupt, vec!["the manifest says"], |text| {
            edit(&text, |manifest| manifest["layers"][0]["digest"] = manifest["config"]["digest"].clone())
        }),
        case("a config that is the layer", Fault::Corrupt, vec!["config"], |text| {
            edit(&text, |manifest| {
                let layer = manifest["layers"][0].clone();
                manifest["config"]["digest"] = layer["digest"].clone();
                manifest["config"]["size"] = layer["size"].clone();
            })
        }),
    ]
}

/// What is in the place of the digest that names a layer.
fn digests() -> Vec<HostileImage> {
    let case = |name: &str, manifest| {
        Documents { manifest, ..SOUND }.case(name, Fault::Unsupported, vec!["is not a SHA-256"])
    };
    vec![
        case("a path upwards for a digest", |text| {
            edit(&text, |manifest| {
                manifest["layers"][0]["digest"] = json!("sha256:../../../../media/canary/secret")
            })
        }),
        case("an absolute path for a digest", |text| {
            edit(&text, |manifest| manifest["layers"][0]["digest"] = json!("/media/canary/secret"))
        }),
        case("a digest of another kind", |text| {
            edit(&text, |manifest| {
                manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))
            })
        }),
        case("a digest that is too short", |text| {
            edit(&text, |manifest| manifest["layers"][0]["digest"] = json!("sha256:00"))
        }),
        case("a digest with control characters", |text| {
            edit(&text, |manifest| manifest["layers"][0]["digest"] = json!("sha256:\u{1b}[2J\0"))
        }),
        case("no digest", |text| edit(&text, |manifest| manifest["layers"][0]["digest"] = json!(""))),
    ]
}

fn indexes() -> Vec<HostileImage> {
    let case = |name: &str, fault, words: Vec<&'static str>, index| {
        Documents { index, ..SOUND }.case(name, fault, words)
    };
    let json = "not the JSON it should be";
    let nested = |directory: &Path| {
        let mut files = SOUND.files();
        for _ in 0..6 {
            let index = std::mem::take(files.get_mut("index.json").expect("an index"));
            let inner =
                edit(&String::from_utf8(index).expect("text"), |index| index["mediaType"] = json!(INDEX));
            let named =
                json!({ "mediaType": INDEX, "digest": digest(inner.as_bytes()), "size": inner.len() });
            files.insert(format!("blobs/sha256/{}", sha256_hex(inner.as_bytes())), inner.into_bytes());
            let outer = json!({ "schemaVersion": 2, "manifests": [named] }).to_string();
            files.insert("index.json".into(), outer.into_bytes());
        }
        write_directory(directory, &files)
    };
    vec![
        case("an index of nothing", Fault::Missing, vec!["there is no image"], |_| {
            r#"{"manifests":[]}"#.into()
        }),
        case("an index that is a list", Fault::Corrupt, vec![json], |_| "[]".into()),
        case("an index of 100,000 levels", Fault::Corrupt, vec![json, "EOF"], |_| {
            format!("{{\"x\":{}", "[".repeat(100_000))
        }),
        case("an index in UTF-16", Fault::Corrupt, vec![json], |text| {
            text.chars().flat_map(|letter| [letter, '\0']).collect()
        }),
        case("an index of a manifest that is elsewhere", Fault::Missing, vec!["blobs/sha256/"], |text| {
            edit(&text, |index| index["manifests"][0]["digest"] = json!(digest(b"elsewhere")))
        }),
        case("an index by a path upwards", Fault::Unsupported, vec!["is not a SHA-256"], |text| {
            edit(&text, |index| index["manifests"][0]["digest"] = json!("sha256:../../index.json"))
        }),
        case(
            "an index that says its manifest is an index",
            Fault::Corrupt,
            vec!["and is named as"],
            |text| text.replace(MANIFEST, INDEX),
        ),
        case(
            "an index of two, with a tag of control characters",
            Fault::Missing,
            vec![r"\x1b[2J", "say which"],
            |text| {
                edit(&text, |index| {
                    let mut other = index["manifests"][0].clone();
                    other["annotations"] = json!({ "org.opencontainers.image.ref.name": "\u{1b}[2J" });
                    index["manifests"].as_array_mut().expect("a list").push(other);
                })
            },
        ),
        case("a manifest of more bytes than there are", Fault::Corrupt, vec!["is named with"], |text| {
            edit(&text, |index| index["manifests"][0]["size"] = json!(u64::MAX))
        }),
        written(
            "six indexes, each leading to the next",
            Fate::Refused(Fault::Corrupt, vec!["indexes lead on to others"]),
            nested,
        ),
    ]
}

/// Layouts in directories, whose files are links to others, or no files.
fn directories() -> Vec<HostileImage> {
    use std::os::unix::fs::symlink;
    let case = |name: &str, fault, words: Vec<&'static str>, change: fn(&Path, &Path)| {
        written(name, Fate::Refused(fault, words), move |directory| {
            let files = SOUND.files();
            let reference = write_directory(directory, &files);
            let layer = format!("blobs/sha256/{}", sha256_hex(&Encoding::Gzip.encode(&base().to_tar())));
            let layer = directory.join(layer);
            std::fs::remove_file(&layer).expect("a layer");
            change(directory, &layer);
            reference
        })
    };
    vec![
        case(
            "a layer that is a link to another file",
            Fault::Corrupt,
            vec!["the manifest says"],
            |_, layer| {
                symlink("../../oci-layout", layer).expect("a link");
            },
        ),
        case("a layer that is a dangling link", Fault::Missing, vec!["layer 0"], |_, layer| {
            symlink("/media/canary/none", layer).expect("a link");
        }),
        case("a layer that is a directory", Fault::NoFile, vec!["not a regular file"], |_, layer| {
            std::fs::create_dir(layer).expect("a directory");
        }),
        case("a layer that is a device", Fault::NoFile, vec!["not a regular file"], |_, layer| {
            symlink("/dev/zero", layer).expect("a link");
        }),
        case("a layer that is a socket", Fault::NoFile, vec!["not a regular file"], |directory, layer| {
            // The addresses of sockets are short.
            let socket = directory.join("s");
            drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
            std::fs::rename(socket, layer).expect("renaming");
        }),
        case("an index that is a directory", Fault::NoFile, vec!["not a regular file"], |directory, _| {
            std::fs::remove_file(directory.join("index.json")).expect("an index");
            std::fs::create_dir(directory.join("index.json")).expect("a directory");
        }),
    ]
}

fn archives() -> Vec<HostileImage> {
    let case = |name: &str, fate: Fate, make: fn(Layer, &BTreeMap<String, Vec<u8>>) -> Layer| {
        written(name, fate, move |directory| {
            let file = directory.join("layout.tar");
            std::fs::write(&file, make(Layer::new(), &SOUND.files()).to_tar()).expect("an archive");
            format!("oci-archive:{}", file.display())
        })
    };
    let refused = |fault, words: &'static str| Fate::Refused(fault, vec![words]);
    let taken = || Fate::Taken("base=1".into());
    vec![
        case("an archive whose names lead upwards and back", taken(), |layer, files| {
            files.iter().fold(layer, |layer, (name, bytes)| layer.file(format!("../../{name}"), bytes))
        }),
        case("an archive whose names are absolute", taken(), |layer, files| {
            files.iter().fold(layer, |layer, (name, bytes)| layer.file(format!("/./{name}"), bytes))
        }),
        case(
            "an archive whose index is a link outside",
            refused(Fault::Missing, "index.json"),
            |layer, files| add_all(layer, files, "index.json").symlink("index.json", "/media/canary/secret"),
        ),
        case(
            "an archive whose index is a link upwards",
            refused(Fault::Missing, "index.json"),
            |layer, files| {
                add_all(layer, files, "index.json").symlink("index.json", "../../../media/canary/secret")
            },
        ),
        case(
            "an archive whose index is a link to itself",
            refused(Fault::Missing, "index.json"),
            |layer, files| add_all(layer, files, "index.json").symlink("index.json", "index.json"),
        ),
        case(
            "an archive whose index is a hard link outside",
            refused(Fault::Missing, "index.json"),
            |layer, files| {
                add_all(layer, files, "index.json").hard_link("index.json", "/media/canary/secret")
            },
        ),
        case("an archive whose index is a pipe", refused(Fault::Missing, "index.json"), |layer, files| {
            add_all(layer, files, "index.json").fifo("index.json")
        }),
        case(
            "an archive whose index is a sparse file",
            refused(Fault::Unsupported, "sparse"),
            |layer, files| {
                add_all(layer, files, "index.json").sparse_file(
                    "index.json",
                    crate::SparseFormat::Pax10,
                    &[(0, b"x"), (5, b"")],
                    5,
                )
            },
        ),
        case("an archive with two indexes, of which the last counts", taken(), |layer, files| {
            add_all(layer.file("index.json", b"{}"), files, "")
        }),
        case("an archive that is cut off", refused(Fault::Corrupt, "cut off"), |layer, files| {
            layer
                .raw(add_all(Layer::new(), files, "").file("z", vec![0; 2000]).to_cut_tar()[..].to_vec())
                .file("y", b"")
                .declared_size(1 << 30)
        }),
    ]
}

/// All files of a layout but one.
fn add_all(layer: Layer, files: &BTreeMap<String, Vec<u8>>, but: &str) -> Layer {
    files.iter().filter(|(name, _)| *name != but).fold(layer, |layer, (name, bytes)| layer.file(name, bytes))
}

/// What `docker save` writes, with another `manifest.json`, and links in the place of layers.
fn saved(name: &str, fate: Fate, manifest: &'static str, make: fn(Layer) -> Layer) -> HostileImage {
    written(name, fate, move |directory| {
        let file = directory.join("saved.tar");
        let image = Image::new().encoded_layer(base(), Encoding::Plain);
        let files = docker_archive(DockerForm::Layers, &[(&["app:1"], &image)]);
        let config = format!("{}.json", sha256_hex(&image.config_bytes()));
        let layer = files.keys().find(|name| name.ends_with("/layer.tar")).expect("a layer").clone();
        let manifest = manifest.replace("CONFIG", &config).replace("LAYER", &layer);
        let archive = make(add_all(Layer::new(), &files, "manifest.json").file("manifest.json", manifest));
        std::fs::write(&file, archive.to_tar()).expect("an archive");
        format!("docker-archive:{}", file.display())
    })
}

const SAVED: &str = r#"[{"Config":"CONFIG","RepoTags":["app:1"],"Layers":["l.tar"]}]"#;

/// Saved images whose layers are elsewhere, or others.
fn saved_layers() -> Vec<HostileImage> {
    let refused = |fault, words: &'static str| Fate::Refused(fault, vec![words]);
    let same = |layer| layer;
    vec![
        saved(
            "saved, with a layer by a path upwards",
            refused(Fault::Missing, "media/canary/secret"),
            r#"[{"Config":"CONFIG","Layers":["../../media/canary/secret"]}]"#,
            same,
        ),
        saved(
            "saved, with a layer by an absolute path",
            refused(Fault::Missing, "/media/canary/secret"),
            r#"[{"Config":"CONFIG","Layers":["/media/canary/secret"]}]"#,
            same,
        ),
        saved(
            "saved, with a layer that is a link outside",
            refused(Fault::Missing, "l.tar"),
            SAVED,
            |layer| layer.symlink("l.tar", "/media/canary/secret"),
        ),
        saved(
            "saved, with a layer that is a link upwards",
            refused(Fault::Missing, "l.tar"),
            SAVED,
            |layer| layer.symlink("l.tar", "../../media/canary/secret"),
        ),
        saved(
            "saved, with a layer that is a hard link outside",
            refused(Fault::Missing, "l.tar"),
            SAVED,
            |layer| layer.hard_link("l.tar", "/media/canary/secret"),
        ),
        saved(
            "saved, with layers that are links in a circle",
            refused(Fault::Missing, "l.tar"),
            SAVED,
            |layer| layer.symlink("l.tar", "m.tar").symlink("m.tar", "l.tar"),
        ),
        saved(
            "saved, with a layer that is the manifest",
            refused(Fault::Digest, "layer 0"),
            r#"[{"Config":"CONFIG","Layers":["manifest.json"]}]"#,
            |layer| {
                layer
                    .file("manifest.json", br#"[{"Config":"c.json","Layers":["manifest.json"]}]"#)
                    .file("c.json", Image::new().raw_layer(vec![], Encoding::Plain).config_bytes())
            },
        ),
        saved(
            "saved, with a layer that is there twice",
            refused(Fault::Corrupt, "it names 1 layers"),
            r#"[{"Config":"CONFIG","Layers":["LAYER","LAYER"]}]"#,
            same,
        ),
        saved(
            "saved, with a layer by a path upwards and back",
            Fate::Taken("base=1".into()),
            r#"[{"Config":"CONFIG","Layers":["../x/.././LAYER"]}]"#,
            same,
        ),
    ]
}

/// Saved images whose manifest or config is another.
fn saved_documents() -> Vec<HostileImage> {
    let refused = |fault, words: &'static str| Fate::Refused(fault, vec![words]);
    let same = |layer| layer;
    vec![
        saved(
            "saved, with a config by a path upwards",
            refused(Fault::Missing, "media/canary/secret"),
            r#"[{"Config":"../../media/canary/secret","Layers":[]}]"#,
            same,
        ),
        saved(
            "saved, with a manifest that is none",
            refused(Fault::Corrupt, "not the JSON"),
            r#"{"Config":"CONFIG"}"#,
            same,
        ),
        saved(
            "saved, with a config in a manifest twice",
            refused(Fault::Corrupt, "duplicate field"),
            r#"[{"Config":"CONFIG","Config":"x","Layers":["LAYER"]}]"#,
            same,
        ),
        saved(
            "saved, with a manifest that is a link outside",
            refused(Fault::Unsupported, "before 1.10"),
            SAVED,
            |layer| layer.symlink("manifest.json", "/media/canary/secret"),
        ),
        saved(
            "saved, with a config whose name is another's digest",
            refused(Fault::Digest, "config"),
            r#"[{"Config":"0000000000000000000000000000000000000000000000000000000000000000.json","Layers":["LAYER"]}]"#,
            |layer| layer.file("0".repeat(64) + ".json", b"{}"),
        ),
    ]
}
