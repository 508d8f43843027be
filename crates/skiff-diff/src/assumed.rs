//! A base that is not here, as far as a delta reads it: what the target has where the delta copies from.
//!
//! Where a block of the target hashes to what a block of the base was signed with, the two are taken to be equal. So the proof
//! can read those blocks of the base from the target. What nobody knows reads as zeros: a delta that used it would not lead
//! to the target.

use std::collections::HashMap;
use std::io;

use skiff_block::{Command, Commands};
use skiff_patch::Codec;
use skiff_replay::record::{Origin, Record};
use skiff_tree::{ContentSource, EntryPath, ReadAt, Tree};

use crate::DiffError;

/// The files of a base that was signed.
pub(crate) struct Assumed<'a> {
    tree: &'a Tree,
    target: &'a dyn ContentSource,
    /// For each file of the base, by its place among the entries, what is known of it.
    known: HashMap<u32, Vec<Known>>,
    /// The files of the target that copy from the base.
    paths: Vec<EntryPath>,
}

/// Some bytes of a file of the base, and where the target has the same ones.
#[derive(Debug, Clone, Copy)]
struct Known {
    offset: u64,
    length: u64,
    /// The target's file, among those that were learned from, and where in it.
    path: u32,
    at: u64,
}

impl<'a> Assumed<'a> {
    pub(crate) fn new(tree: &'a Tree, target: &'a dyn ContentSource) -> Self {
        Self { tree, target, known: HashMap::new(), paths: Vec::new() }
    }

    /// Takes note of what the records of the target's file at `path` copy from where.
    pub(crate) fn learn(&mut self, path: &EntryPath, records: &[Record]) -> Result<(), DiffError> {
        let number = u32::try_from(self.paths.len()).expect("because contents are numbered in 32 bits");
        self.paths.push(path.clone());
        let mut at = 0;
        for record in records {
            let start = at;
            at += record.output_len;
            let Some(Origin::Base(index)) = record.source.first().map(|part| part.origin) else { continue };
            if record.codec != Codec::Block.id() {
                continue;
            }
            let known = self.known.entry(index).or_default();
            let mut position = start;
            let mut commands = Commands::new(&record.payload[..])?;
            while let Some(command) = commands.next_command()? {
                match command {
                    Command::Literal { .. } => commands.skip_literal()?,
                    Command::Copy { offset, length } => {
                        known.push(Known { offset, length, path: number, at: position });
                    }
                }
                position += command.output_len();
            }
        }
        Ok(())
    }
}

impl Assumed<'_> {
    /// Makes what was learned ready to be read.
    pub(crate) fn settle(&mut self) {
        self.known.values_mut().for_each(apart);
    }
}

impl ContentSource for Assumed<'_> {
    fn open(&self, path: &EntryPath) -> io::Result<Box<dyn ReadAt + '_>> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let index = self.tree.position(path).ok_or_else(missing)?;
        let content = self.tree.entries()[index].as_file().ok_or_else(missing)?;
        let known = u32::try_from(index).ok().and_then(|index| self.known.get(&index));
        let known = known.map_or(&[][..], Vec::as_slice);
        Ok(Box::new(AssumedContent { size: content.size, known, assumed: self }))
    }
}

/// In order, and each byte once: what several blocks of the target are equal to is read from one of them.
fn apart(known: &mut Vec<Known>) {
    known.sort_unstable_by_key(|known| (known.offset, std::cmp::Reverse(known.length), known.path, known.at));
    let mut end = 0;
    known.retain_mut(|known| {
        let before = end.max(known.offset) - known.offset;
        end = end.max(known.offset + known.length);
        known.offset += before;
        known.at += before;
        known.length = known.length.saturating_sub(before);
        known.length > 0
    });
    known.shrink_to_fit();
}

struct AssumedContent<'a> {
    size: u64,
    known: &'a [Known],
    assumed: &'a Assumed<'a>,
}

impl ReadAt for AssumedContent<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let after = self.known.partition_point(|known| known.offset <= offset);
        let known = self.known[..after].last().filter(|known| offset - known.offset < known.length);
        let end = match known {
            Some(known) => known.offset + known.length,
            None => self.known.get(after).map_or(self.size, |next| next.offset),
        };
        let left = usize::try_from(end.min(self.size).saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let buffer = &mut buffer[..count];
        match known {
            Some(known) => {
                let content = self.assumed.target.open(&self.assumed.paths[known.path as usize])?;
                content.read_at(buffer, known.at + (offset - known.offset))
            }
            None => {
                buffer.fill(0);
                Ok(count)
            }
        }
    }

    fn size(&self) -> u64 {
        self.size
    }
}
