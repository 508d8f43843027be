//! Executables without what moved: for a matcher that is to see what is the same.
//!
//! The idea of matching on labels is Zucchini's; the labels here are digests of what is at the places that references
//! name, so that those of two files agree before any match is known.

use std::collections::HashMap;
use std::ops::Range;

use super::layout::{Content, Layout};
use super::reference::{Kind, Kinds, Reference};
use super::{Map, Predictor};

/// How many bytes of the file are gone through at a time.
const CHUNK: usize = 64 << 10;
/// How many bytes of what a reference names make its label: fewer name too much alike, more change too often.
const LABEL: usize = 16;

/// An executable whose references are replaced by labels that depend on what is at the places named, not on where they
/// are; none if it is not of a known kind. As long as the file.
///
/// References of `silent` kinds stay.
pub(crate) fn neutralise(bytes: &[u8], silent: Kinds) -> Option<Vec<u8>> {
    let layout = Layout::of(bytes, bytes)?.silent_on(silent);
    let mut predictor = Predictor::new(layout, &[]);
    let mut neutral = bytes.to_vec();
    each(&mut predictor, bytes, |_, _, reference| fill(&mut neutral, reference, 0));

    let mut labels = Labels { places: false, ..Labels::default() };
    let blank = neutral.clone();
    each(&mut predictor, bytes, |map, layout, reference| {
        let label = labels.label(&Executable { map, layout, bytes: &blank }, reference);
        if reference.kind == Kind::RelocationSymbol {
            labels.relocate(&Executable { map, layout, bytes }, reference);
        }
        fill(&mut neutral, reference, label);
    });

    // What is all references, as tables and stubs are, is told apart by their labels only.
    let labelled = neutral.clone();
    labels.places = true;
    let body = predictor.layout.body();
    each(&mut predictor, bytes, |map, layout, reference| {
        let executable = Executable { map, layout, bytes: &labelled };
        if executable.section(reference.target).is_some_and(|(index, content)| {
            matches!(content, Content::Pointers | Content::Table | Content::Unwind)
                || content == Content::Code && Some(index) != body
        }) {
            let label = labels.label(&executable, reference);
            fill(&mut neutral, reference, label);
        }
    });
    Some(neutral)
}

/// Visits every reference of a file that is neutralised.
fn each(predictor: &mut Predictor, bytes: &[u8], mut visit: impl FnMut(&Map, &Layout, &Reference)) {
    let mut found = Vec::new();
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        found.clear();
        predictor.find((index * CHUNK) as u64, chunk, &mut found);
        // Short branches stay within a function, and seldom change.
        for reference in found.iter().filter(|reference| reference.kind != Kind::Short) {
            visit(&predictor.map, &predictor.layout, reference);
        }
    }
}

fn fill(neutral: &mut [u8], reference: &Reference, label: u32) {
    let length = usize::from(reference.length);
    let from = usize::try_from(reference.position).expect("because it is within the file");
    neutral[from..from + length].copy_from_slice(&reference.labelled(label).to_le_bytes()[..length]);
}

struct Executable<'a> {
    map: &'a Map,
    layout: &'a Layout,
    bytes: &'a [u8],
}

impl Executable<'_> {
    /// The section an address is in, and what that holds.
    fn section(&self, address: u64) -> Option<(usize, Content)> {
        let index = self.map.section(address)?;
        Some((index, self.layout.old[index].content))
    }

    /// The bytes from an address on, to the end of the section.
    fn at(&self, address: u64) -> Option<&[u8]> {
        let (index, _) = self.section(address)?;
        let section = self.layout.old[index];
        let inside = address - section.place.address;
        let range: Range<u64> = section.place.offset + inside..section.place.offset + section.file_size();
        self.bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    /// The text from an address on.
    fn text(&self, address: u64) -> Option<&[u8]> {
        self.at(address)?.split(|byte| *byte == 0).next()
    }
}

/// What is known of places.
#[derive(Default)]
struct Labels {
    /// Labels of places that the loader fills in, by what it fills in.
    relocated: HashMap<u64, u32>,
    /// Where the relocation applies whose place was seen last.
    place: u64,
    /// Whether places that relocations apply to are labelled.
    places: bool,
}

impl Labels {
    /// Takes the label of a relocated place from the name of the symbol it gets.
    fn relocate(&mut self, executable: &Executable<'_>, reference: &Reference) {
        let name = || {
            let (symbols, _) = executable.section(reference.target)?;
            let names = executable.layout.old.get(executable.layout.old[symbols].link)?;
            let name = executable.at(reference.target)?.first_chunk::<4>()?;
            let name = names.place.address.checked_add(u64::from(u32::from_le_bytes(*name)))?;
            executable.text(name)
        };
        if let Some(name) = name() {
            self.relocated.insert(self.place, hash(name));
        }
    }

    fn label(&mut self, executable: &Executable<'_>, reference: &Reference) -> u32 {
        match reference.kind {
            Kind::RelocationPlace => {
                self.place = reference.target;
                if !self.places {
                    return 0;
                }
            }
            // What an entry is of is known by the labels in it only.
            Kind::IndexEntry if !self.places => return 0,
            // Told by what they are beside.
            Kind::UnwindParent | Kind::UnwindSize | Kind::SymbolSize | Kind::Header => return 0,
            _ => {}
        }
        if let Some(label) = self.relocated.get(&reference.target) {
            return *label;
        }
        let Some((index, content)) = executable.section(reference.target) else { return 0 };
        let bytes = match content {
            Content::Unset => return index as u32,
            Content::ReadOnly | Content::Strings => executable.text(reference.target),
            _ => executable.at(reference.target),
        };
        let bytes = bytes.unwrap_or_default();
        hash(&bytes[..bytes.len().min(LABEL)])
    }
}

/// Fowler, Noll and Vo's hash (FNV-1a) with its upper bits brought down.
fn hash(bytes: &[u8]) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = bytes.iter().fold(0x811c_9dc5, mix);
    hash ^ hash >> 15
}
