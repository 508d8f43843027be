//! Archives as `docker save` has written them over the years.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::image::{sha256_hex, write_archive};
use crate::{Image, OciLayout};

/// What a docker archive's files are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerForm {
    /// Since Docker 25: `blobs/sha256/HEX`, which is an OCI layout as well.
    Blobs,
    /// Since Docker 1.10: `HEX.json` and `ID/layer.tar`.
    Layers,
    /// Before: `ID/json`, each naming its parent, and `ID/layer.tar`; no `manifest.json`.
    Chains,
}

/// The files of a docker archive, by name, for images with their names (`name:tag`): for those who want to break one.
#[must_use]
pub fn docker_archive(form: DockerForm, images: &[(&[&str], &Image)]) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut manifest, mut repositories) = (Vec::new(), json!({}));
    if form == DockerForm::Blobs {
        let tagged = |layout: OciLayout, (index, (_, image)): (usize, &(&[&str], &Image))| {
            layout.image(&index.to_string(), (*image).clone())
        };
        files = images.iter().enumerate().fold(OciLayout::new(), tagged).files();
    }
    for (names, image) in images {
        let config = image.config_bytes();
        let config_name = match form {
            DockerForm::Blobs => format!("blobs/sha256/{}", sha256_hex(&config)),
            _ => format!("{}.json", sha256_hex(&config)),
        };
        let (mut layers, mut parent) = (Vec::new(), None);
        for (tar, encoding) in &image.layers {
            let encoded = encoding.encode(tar);
            if form == DockerForm::Blobs {
                layers.push(format!("blobs/sha256/{}", sha256_hex(&encoded)));
                continue;
            }
            let id = sha256_hex(format!("{parent:?} {}", sha256_hex(tar)).as_bytes());
            files.insert(format!("{id}/VERSION"), b"1.0".to_vec());
            files.insert(format!("{id}/json"), version_1(&id, parent.as_deref()).to_string().into_bytes());
            files.insert(format!("{id}/layer.tar"), encoded);
            layers.push(format!("{id}/layer.tar"));
            parent = Some(id);
        }
        for (name, tag) in names.iter().filter_map(|name| name.rsplit_once(':')) {
            repositories[name][tag] = json!(parent.clone().unwrap_or_else(|| sha256_hex(&config)));
        }
        if form != DockerForm::Chains {
            files.insert(config_name.clone(), config);
        }
        manifest.push(json!({ "Config": config_name, "RepoTags": names, "Layers": layers }));
    }
    files.insert("repositories".into(), repositories.to_string().into_bytes());
    if form != DockerForm::Chains {
        files.insert("manifest.json".into(), json!(manifest).to_string().into_bytes());
    }
    files
}

/// Writes images as `docker save` did before it wrote OCI layouts, each with its names (`name:tag`).
pub fn write_docker_archive(file: &Path, images: &[(&[&str], &Image)]) {
    write_archive(file, &docker_archive(DockerForm::Layers, images));
}

/// What said of a layer what it is, before there were configs.
fn version_1(id: &str, parent: Option<&str>) -> Value {
    let mut version = json!({
        "id": id, "created": "1970-01-01T00:00:00Z", "os": "linux", "architecture": "amd64", "config": {},
    });
    if let Some(parent) = parent {
        version["parent"] = json!(parent);
    }
    version
}
