use std::collections::{BTreeSet, HashMap};

use skiff_wire::{put_bytes, put_varint, zigzag};

use super::{COLUMNS, change, content, operation};
use crate::encoding::{put_xattrs, tag_of};
use crate::{
    Change, ContentDigest, Difference, Entry, EntryPath, FileContent, Inode, Kind, Metadata, Mtime,
    NewContent, Node, Tree,
};

/// A target's tree, told for those who have the base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSection {
    /// The section's payload.
    pub bytes: Vec<u8>,
    /// The contents that the base has not, by number.
    pub new_contents: Vec<NewContent>,
}

/// Tells `target` as a difference from `base`.
///
/// A content that any file of the base has is taken from there (from the same path where that has it); every other
/// content is numbered when first met. Equal trees give equal bytes.
#[must_use]
pub fn encode(base: &Tree, target: &Tree) -> EncodedSection {
    let mut encoder = Encoder::new(base, target);
    let mut target_index = 0;
    for step in Difference::new(base, target) {
        match step {
            Change::Same { .. } => encoder.run(operation::KEEP),
            Change::Removed { .. } => encoder.run(operation::DELETE),
            Change::Changed { base, target } => {
                encoder.run(operation::CHANGE);
                encoder.changed(target_index, base, target);
            }
            Change::Added { target } => {
                encoder.run(operation::INSERT);
                encoder.path(&target.path);
                encoder.whole(target_index, target);
            }
        }
        if let Change::Same { target, .. } | Change::Changed { target, .. } | Change::Added { target } = step
        {
            encoder.previous_path.clone_from(&target.path);
            target_index += 1;
        }
    }
    encoder.finish()
}

#[derive(Default)]
struct Columns {
    operations: Vec<u8>,
    changes: Vec<u8>,
    prefixes: Vec<u8>,
    names: Vec<u8>,
    types: Vec<u8>,
    modes: Vec<u8>,
    owners: Vec<u8>,
    times: Vec<u8>,
    time_indices: Vec<u8>,
    attributes: Vec<u8>,
    contents: Vec<u8>,
    sizes: Vec<u8>,
    links: Vec<u8>,
    devices: Vec<u8>,
    hard_links: Vec<u8>,
}

struct Encoder<'a> {
    columns: Columns,
    target: &'a Tree,
    /// The operation under way and how often it was met in a row.
    current: (u64, u64),
    previous_path: EntryPath,
    base_contents: HashMap<ContentDigest, u32>,
    base_files: HashMap<&'a EntryPath, (u32, FileContent)>,
    next_base: i64,
    numbers: HashMap<ContentDigest, u32>,
    new_contents: Vec<NewContent>,
    mtimes: Vec<Mtime>,
}

impl<'a> Encoder<'a> {
    fn new(base: &'a Tree, target: &'a Tree) -> Self {
        let mut base_contents = HashMap::new();
        let mut base_files = HashMap::new();
        for (index, entry, content) in base.files() {
            let index = index as u32;
            base_contents.entry(content.digest).or_insert(index);
            base_files.insert(&entry.path, (index, content));
        }
        Self {
            columns: Columns::default(),
            target,
            current: (operation::KEEP, 0),
            previous_path: EntryPath::root(),
            base_contents,
            base_files,
            next_base: 0,
            numbers: HashMap::new(),
            new_contents: Vec::new(),
            mtimes: Vec::new(),
        }
    }

    fn run(&mut self, operation: u64) {
        if self.current.0 == operation {
            self.current.1 += 1;
        } else {
            self.flush_run();
            self.current = (operation, 1);
        }
    }

    fn flush_run(&mut self) {
        let (operation, count) = self.current;
        if count > 0 {
            put_varint(&mut self.columns.operations, count << 2 | operation);
        }
    }

    fn path(&mut self, path: &EntryPath) {
        let (previous, path) = (self.previous_path.as_bytes(), path.as_bytes());
        let shared = previous.iter().zip(path).take_while(|(a, b)| a == b).count();
        put_varint(&mut self.columns.prefixes, shared as u64);
        put_bytes(&mut self.columns.names, &path[shared..]);
    }

    fn changed(&mut self, index: u32, old: &Entry, new: &Entry) {
        let (Some(was), Some(is)) = (old.as_inode(), new.as_inode()) else {
            // Of two hard links only the owner can differ; anything else became another type.
            let both_links = tag_of(&old.node) == tag_of(&new.node);
            self.columns.changes.push(if both_links { change::HOLDS } else { change::ALL });
            return if both_links { self.hard_link(index, new) } else { self.whole(index, new) };
        };
        if tag_of(&old.node) != tag_of(&new.node) {
            self.columns.changes.push(change::ALL);
            return self.whole(index, new);
        }
        let (before, after) = (&was.metadata, &is.metadata);
        let flag = |differs: bool, bit: u8| if differs { bit } else { 0 };
        let flags = flag(before.mode != after.mode, change::MODE)
            | flag((before.uid, before.gid) != (after.uid, after.gid), change::OWNER)
            | flag(before.mtime != after.mtime, change::MTIME)
            | flag(before.xattrs != after.xattrs, change::XATTRS)
            | flag(was.kind != is.kind, change::HOLDS);
        self.columns.changes.push(flags);
        self.metadata(after, flags);
        if flags & change::HOLDS != 0 {
            self.holds(index, new, is);
        }
    }

    fn whole(&mut self, index: u32, entry: &Entry) {
        self.columns.types.push(tag_of(&entry.node));
        match &entry.node {
            Node::HardLink { .. } => self.hard_link(index, entry),
            Node::Inode(inode) => {
                self.metadata(&inode.metadata, change::KNOWN);
                self.holds(index, entry, inode);
            }
        }
    }

    fn hard_link(&mut self, index: u32, entry: &Entry) {
        if let Node::HardLink { owner } = &entry.node {
            let owner =
                self.target.position(owner).expect("because a tree's hard links lead to its own entries");
            put_varint(&mut self.columns.hard_links, u64::from(index) - owner as u64);
        }
    }

    fn metadata(&mut self, metadata: &Metadata, flags: u8) {
        if flags & change::MODE != 0 {
            put_varint(&mut self.columns.modes, u64::from(metadata.mode.bits()));
        }
        if flags & change::OWNER != 0 {
            put_varint(&mut self.columns.owners, u64::from(metadata.uid));
            put_varint(&mut self.columns.owners, u64::from(metadata.gid));
        }
        if flags & change::MTIME != 0 {
            self.mtimes.push(metadata.mtime);
        }
        if flags & change::XATTRS != 0 {
            put_xattrs(&mut self.columns.attributes, &metadata.xattrs);
        }
    }

    fn holds(&mut self, index: u32, entry: &Entry, inode: &Inode) {
        match &inode.kind {
            Kind::Directory | Kind::Fifo => {}
            Kind::File(known) => self.content(index, &entry.path, *known),
            Kind::Symlink(target) => put_bytes(&mut self.columns.links, target),
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                put_varint(&mut self.columns.devices, u64::from(device.major));
                put_varint(&mut self.columns.devices, u64::from(device.minor));
            }
        }
    }

    fn content(&mut self, index: u32, path: &EntryPath, known: FileContent) {
        let same_path = self.base_files.get(path);
        let in_base = match same_path {
            Some((index, content)) if content.digest == known.digest => Some(*index),
            _ => self.base_contents.get(&known.digest).copied(),
        };
        if let Some(base) = in_base {
            let distance = i64::from(base) - self.next_base;
            self.next_base = i64::from(base) + 1;
            put_varint(&mut self.columns.contents, content::BASE + 2 * zigzag(distance));
        } else if let Some(number) = self.numbers.get(&known.digest) {
            let back = self.new_contents.len() as u64 - u64::from(*number);
            put_varint(&mut self.columns.contents, content::REPEATED + 2 * back);
        } else {
            let expected = same_path.map_or(0, |(_, content)| content.size);
            put_varint(&mut self.columns.contents, content::NEW);
            // Wraps both ways, so that every pair of sizes can be told.
            put_varint(&mut self.columns.sizes, zigzag(known.size.wrapping_sub(expected).cast_signed()));
            self.numbers.insert(known.digest, self.new_contents.len() as u32);
            self.new_contents.push(NewContent { size: known.size, entry: index });
        }
    }

    fn finish(mut self) -> EncodedSection {
        self.flush_run();
        self.times();
        let columns = self.columns;
        let in_order: [Vec<u8>; COLUMNS.len()] = [
            columns.operations,
            columns.changes,
            columns.prefixes,
            columns.names,
            columns.types,
            columns.modes,
            columns.owners,
            columns.times,
            columns.time_indices,
            columns.attributes,
            columns.contents,
            columns.sizes,
            columns.links,
            columns.devices,
            columns.hard_links,
        ];
        let mut bytes = Vec::new();
        for column in &in_order {
            put_varint(&mut bytes, column.len() as u64);
        }
        for column in &in_order {
            bytes.extend_from_slice(column);
        }
        EncodedSection { bytes, new_contents: self.new_contents }
    }

    /// A build touches many files in few distinct seconds: the distinct times are told once, in order.
    fn times(&mut self) {
        let distinct: BTreeSet<Mtime> = self.mtimes.iter().copied().collect();
        let mut previous = 0_i64;
        for time in &distinct {
            put_varint(&mut self.columns.times, zigzag(time.seconds().wrapping_sub(previous)));
            put_varint(&mut self.columns.times, u64::from(time.nanoseconds()));
            previous = time.seconds();
        }
        let places: HashMap<Mtime, usize> =
            distinct.into_iter().enumerate().map(|(i, time)| (time, i)).collect();
        for time in &self.mtimes {
            put_varint(&mut self.columns.time_indices, places[time] as u64);
        }
    }
}
