//! Images made by hand, and what they are when they are flattened.
//!
//! The specification that notes quote is that of OCI image layers, `layer.md` of image-spec 1.1, unless they name another.

mod kinds;
mod links;
mod names;
mod records;
mod replacements;
mod sparse;
mod whiteouts;
mod xattrs;

use skiff_testkit::{Layer, SparseFormat};

/// An image, and the paths it should have, as [`summary`](super::summary) shows them.
pub struct Case {
    pub name: String,
    pub layers: Vec<Layer>,
    /// Directories that no layer declares, whose metadata every unpacker chooses for itself, and those that umoci leaves with the
    /// time of its own changes in them.
    pub unspecified: &'static [&'static str],
    pub expected: String,
    /// Paths, and the metadata they should have, as [`attributes`](super::attributes) shows it.
    pub attributes: Vec<(Vec<u8>, String)>,
    /// Why umoci makes something else of it, or refuses it, and is wrong.
    pub umoci_deviates: Option<&'static str>,
    /// Why GNU tar, extracting a single layer, makes something else of it.
    pub tar_deviates: Option<&'static str>,
}

pub fn cases() -> Vec<Case> {
    let modules = [
        kinds::cases,
        whiteouts::cases,
        replacements::cases,
        links::cases,
        names::cases,
        records::cases,
        sparse::cases,
        xattrs::cases,
    ];
    modules.into_iter().flat_map(|cases| cases()).collect()
}

impl Case {
    /// Whether GNU tar means the same by the layer: there is only one, and nothing in it hides.
    pub fn is_for_tar(&self) -> bool {
        self.layers.len() == 1 && !self.layers[0].to_tar().windows(4).any(|bytes| bytes == b".wh.")
    }

    fn unspecified(self, unspecified: &'static [&'static str]) -> Self {
        Self { unspecified, ..self }
    }

    fn with(mut self, path: impl AsRef<[u8]>, attributes: impl Into<String>) -> Self {
        self.attributes.push((path.as_ref().to_vec(), attributes.into()));
        self
    }

    fn umoci_deviates(self, note: &'static str) -> Self {
        Self { umoci_deviates: Some(note), ..self }
    }

    fn tar_deviates(self, note: &'static str) -> Self {
        Self { tar_deviates: Some(note), ..self }
    }
}

fn case(name: impl Into<String>, layers: Vec<Layer>, expected: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        layers,
        unspecified: &[],
        expected: expected.into(),
        attributes: Vec::new(),
        umoci_deviates: None,
        tar_deviates: None,
    }
}

fn root() -> Layer {
    Layer::new().directory("./")
}
