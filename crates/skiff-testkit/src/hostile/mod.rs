//! Images that are made to mislead, to escape or to exhaust, and what becomes of each: one table for whoever reads images.
//!
//! Names and links lead to [`OUTSIDE`](crate::OUTSIDE), where a test that writes to a disk has a [`Canary`](crate::Canary).

mod archives;
mod bombs;
mod documents;
mod links;
mod metadata;
mod paths;
mod records;
mod whiteouts;

use std::fmt;
use std::path::Path;
use std::rc::Rc;

use crate::{Image, Layer, OciLayout};

/// An image, and what is to become of it.
#[derive(Clone)]
pub struct HostileImage {
    /// What is wrong with it: what it is about, and after a colon what it does.
    pub name: String,
    /// What is to become of it.
    pub fate: Fate,
    write: Rc<dyn Fn(&Path) -> String>,
}

/// What becomes of an image: always one thing, told in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is refused before anything is written.
    Refused(Fault, Vec<&'static str>),
    /// It is taken, and makes this tree, as a [`Picture`](crate::Picture) shows it.
    Taken(String),
    /// It makes this tree, of which something cannot be stored on a disk, and that is told in these words.
    NotStored(String, &'static str),
}

/// Why an image is refused; the message has the words beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not what its format asks for, or would mean different things to different readers.
    Corrupt,
    /// It uses what is not read.
    Unsupported,
    /// It is more than the limits allow, unless they are raised.
    Limit,
    /// A part of it is not what its digest names.
    Digest,
    /// A part of it is not there.
    Missing,
    /// A part of it is no regular file.
    NoFile,
}

impl HostileImage {
    /// An image of these layers, from the bottom up.
    #[must_use]
    pub fn of_layers(name: &str, fate: Fate, layers: Vec<Layer>) -> Self {
        written(name, fate, move |directory| {
            let image = layers.iter().cloned().fold(Image::new(), Image::layer);
            OciLayout::new().image("hostile", image).write_directory(directory);
            format!("oci:{}", directory.display())
        })
    }

    /// Writes the image into a directory, and returns what names it there: `oci:DIRECTORY`.
    #[must_use]
    pub fn write(&self, directory: &Path) -> String {
        (self.write)(directory)
    }
}

impl fmt::Debug for HostileImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostileImage").field("name", &self.name).field("fate", &self.fate).finish()
    }
}

/// All of them, under names that are all different.
#[must_use]
pub fn hostile_images() -> Vec<HostileImage> {
    let groups = [
        ("paths", paths::cases()),
        ("links", links::cases()),
        ("whiteouts", whiteouts::cases()),
        ("archives", archives::cases()),
        ("records", records::cases()),
        ("metadata", metadata::cases()),
        ("bombs", bombs::cases()),
        ("documents", documents::cases()),
    ];
    let named = |(group, cases): (&'static str, Vec<HostileImage>)| {
        cases.into_iter().map(move |case| HostileImage { name: format!("{group}: {}", case.name), ..case })
    };
    groups.into_iter().flat_map(named).collect()
}

/// What lies beneath the layer that is hostile.
fn base() -> Layer {
    Layer::new().directory("./").file("base", b"1")
}

/// A layer between two ordinary ones that is refused.
fn refused(name: &str, layer: Layer, words: &'static str) -> HostileImage {
    faulty(name, Fault::Corrupt, layer, words)
}

fn faulty(name: &str, fault: Fault, layer: Layer, words: &'static str) -> HostileImage {
    let fate = Fate::Refused(fault, vec![words, "layer 1"]);
    HostileImage::of_layers(name, fate, vec![base(), layer, Layer::new()])
}

/// Layers over an ordinary one that are taken.
fn taken(name: &str, layers: impl IntoIterator<Item = Layer>, picture: impl Into<String>) -> HostileImage {
    let layers = [base()].into_iter().chain(layers).collect();
    HostileImage::of_layers(name, Fate::Taken(picture.into()), layers)
}

/// One whose bytes are made when they are written.
fn written(name: &str, fate: Fate, write: impl Fn(&Path) -> String + 'static) -> HostileImage {
    HostileImage { name: name.into(), fate, write: Rc::new(write) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_is_used_twice_and_there_are_enough() {
        let names: Vec<String> = hostile_images().into_iter().map(|image| image.name).collect();
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.len() >= 120, "{}", names.len());
    }
}
