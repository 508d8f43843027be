//! Which unit of the old archive a member is made from.

use std::collections::HashMap;
use std::io::Cursor;

use super::archive::{Archive, Entry};
use super::old::{Extent, OldArchive, UnitKind, Units};
use super::records::{DEFLATED, STORED, Sums};
use crate::Source;

/// An old archive, as the decoder sees it, and ways to find its members.
pub(super) struct Bases<'a> {
    file: &'a [u8],
    source: Source<Cursor<&'a [u8]>>,
    pub(super) archives: Vec<OldArchive>,
    units: Units,
    by_path: HashMap<Vec<u8>, u64>,
    by_sums: HashMap<Sums, u64>,
    /// Without what tells versions apart, and without the archive.
    by_likeness: HashMap<Vec<u8>, u64>,
}

/// A unit that may serve.
#[derive(Clone, Copy)]
pub(super) struct Base {
    pub(super) unit: u64,
    pub(super) method: u16,
    pub(super) sums: Sums,
}

impl<'a> Bases<'a> {
    pub(super) fn new(file: &'a [u8]) -> Option<Self> {
        let archive = Archive::read(file)?;
        let mut nested = Vec::new();
        collect(file, &archive, Vec::new(), &mut nested);
        nested.sort_by_key(|(archive, _)| archive.directory);
        let archives: Vec<_> = nested.iter().map(|(archive, _)| archive.as_old()).collect();
        let mut source = Source::new(Cursor::new(file), file.len() as u64);
        let units = Units::read(&archives, &mut source).ok()?;
        let mut bases = Self {
            file,
            source,
            archives,
            units,
            by_path: HashMap::new(),
            by_sums: HashMap::new(),
            by_likeness: HashMap::new(),
        };
        let mut unit = 0;
        for (archive, path) in nested {
            for entry in &archive.entries {
                let name = &file[entry.name.clone()];
                bases.by_path.entry(joined(&path, name)).or_insert(unit);
                bases.by_likeness.entry(likeness(name)).or_insert(unit);
                if entry.sums.plain > 0 {
                    bases.by_sums.entry(entry.sums).or_insert(unit);
                }
                unit += 1;
            }
            bases.by_path.insert(joined(&path, b""), unit);
            bases.by_likeness.entry(likeness(&path)).or_insert(unit);
            unit += 1;
        }
        Some(bases)
    }

    /// The unit with the same content as a member, else one of its name, else one like it.
    pub(super) fn find(&self, path: &[u8], name: &[u8], entry: &Entry) -> Option<Base> {
        let named = self.by_path.get(&joined(path, name)).and_then(|&unit| self.member(unit));
        if named.is_some_and(|named| named.sums == entry.sums) {
            return named;
        }
        let same = self.by_sums.get(&entry.sums).and_then(|&unit| self.member(unit));
        same.or(named).or_else(|| self.by_likeness.get(&likeness(name)).and_then(|&unit| self.member(unit)))
    }

    /// The directory of the archive at this path.
    pub(super) fn directory(&self, path: &[u8]) -> Option<u64> {
        let unit = self.by_path.get(&joined(path, b"")).or_else(|| self.by_likeness.get(&likeness(path)));
        let unit = *unit?;
        matches!(self.units.get(unit)?.kind, UnitKind::Directory { .. }).then_some(unit)
    }

    fn member(&self, unit: u64) -> Option<Base> {
        match self.units.get(unit)?.kind {
            UnitKind::Member { method, sums } => Some(Base { unit, method, sums }),
            UnitKind::Directory { .. } => None,
        }
    }

    /// All bytes from a unit to the next.
    pub(super) fn whole(&self, unit: u64) -> Option<&'a [u8]> {
        let (start, end) = (self.units.get(unit)?.offset, self.units.get(unit + 1)?.offset);
        self.file.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// A member's content as it is.
    pub(super) fn packed(&mut self, base: Base) -> Option<&'a [u8]> {
        let offset = self.units.get(base.unit)?.offset;
        let start = offset + super::old::header_length(&mut self.source, offset).ok()?;
        let start = usize::try_from(start).ok()?;
        self.file.get(start..start.checked_add(base.sums.packed as usize)?)
    }

    /// Whether the decoder can read a unit's content.
    pub(super) fn can_open(base: Base) -> bool {
        base.method == DEFLATED || (base.method == STORED && base.sums.packed == base.sums.plain)
    }

    /// The unit's text, as the decoder makes it.
    pub(super) fn text(&mut self, unit: u64, extent: Extent) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        self.units.append_text(&mut self.source, (unit, extent), &mut text).ok()?;
        Some(text)
    }
}

/// The archive and those in it, with the names of the members that they are.
fn collect<'a>(file: &[u8], archive: &'a Archive, path: Vec<u8>, into: &mut Vec<(&'a Archive, Vec<u8>)>) {
    for entry in &archive.entries {
        if let Some(nested) = &entry.archive {
            collect(file, nested, joined(&path, &file[entry.name.clone()]), into);
        }
    }
    into.push((archive, path));
}

/// The path of what has this name in the archive at `path`.
pub(super) fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, b"!", name].concat()
}

/// A name with every number the same, as versions of one thing have it.
fn likeness(name: &[u8]) -> Vec<u8> {
    let mut like = Vec::with_capacity(name.len());
    for &byte in name {
        if !byte.is_ascii_digit() {
            like.push(byte);
        } else if like.last() != Some(&b'0') {
            like.push(b'0');
        }
    }
    like
}
