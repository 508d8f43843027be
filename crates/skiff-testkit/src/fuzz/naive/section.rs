//! The tree section: the target's tree as it differs from the base's.

use std::collections::HashSet;

use super::bytes::{Bytes, signed};
use super::tree::{self, Content, Entry, Holds, Metadata, Node, Type};
use super::{Base, Refusal, Result, must};

const OPERATIONS: usize = 0;
const CHANGES: usize = 1;
const PREFIXES: usize = 2;
const NAMES: usize = 3;
const TYPES: usize = 4;
const MODES: usize = 5;
const OWNERS: usize = 6;
const TIMES: usize = 7;
const TIME_INDICES: usize = 8;
const ATTRIBUTES: usize = 9;
const CONTENTS: usize = 10;
const SIZES: usize = 11;
const LINKS: usize = 12;
const DEVICES: usize = 13;
const HARD_LINKS: usize = 14;

/// A content that the base does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewContent {
    pub(crate) size: u64,
    /// Of the first entry that has it.
    pub(crate) path: Vec<u8>,
    /// The place of the base's file at that path.
    pub(crate) home: Option<usize>,
}

/// What a tree section tells.
pub(crate) struct Told {
    pub(crate) entries: Vec<Entry>,
    pub(crate) new: Vec<NewContent>,
}

pub(crate) fn read(section: &[u8], base: &Base, limits: &skiff_tree::Limits) -> Result<Told> {
    let mut bytes = Bytes(section);
    let mut lengths = [0; 15];
    for length in &mut lengths {
        *length = bytes.integer()?;
    }
    let mut columns = [Bytes(&[]); 15];
    for (column, length) in columns.iter_mut().zip(lengths) {
        *column = Bytes(bytes.take(length)?);
    }
    bytes.at_end()?;
    let times = read_times(columns[TIMES])?;
    columns[TIMES] = Bytes(&[]);
    let mut reader = Reader {
        base,
        columns,
        times,
        used: HashSet::new(),
        told: Told { entries: Vec::new(), new: Vec::new() },
        next_file: 0,
        room: limits.entries,
    };
    reader.entries()?;
    must(reader.columns.iter().all(|column| column.0.is_empty()), "a column is not used up")?;
    must(reader.used.len() == reader.times.len(), "a time that nothing has")?;
    tree::check(&reader.told.entries)?;
    Ok(reader.told)
}

fn read_times(mut column: Bytes<'_>) -> Result<Vec<(i64, u64)>> {
    let mut times: Vec<(i64, u64)> = Vec::new();
    while !column.0.is_empty() {
        let before = times.last().map_or(0, |last| last.0);
        let seconds = before.wrapping_add(column.signed()?);
        let time = tree::read_time(seconds, &mut column)?;
        must(times.last().is_none_or(|last| *last < time), "times out of order")?;
        times.push(time);
    }
    Ok(times)
}

struct Reader<'a> {
    base: &'a Base,
    columns: [Bytes<'a>; 15],
    times: Vec<(i64, u64)>,
    used: HashSet<usize>,
    told: Told,
    /// The place behind the file of the base that was told last.
    next_file: i64,
    room: u64,
}

impl Reader<'_> {
    fn entries(&mut self) -> Result<()> {
        let (mut next, mut last) = (0, None);
        while !self.columns[OPERATIONS].0.is_empty() {
            let told = self.columns[OPERATIONS].integer()?;
            let (run, operation) = (told / 4, told % 4);
            must(run > 0 && last != Some(operation), "a run of nothing, or two that are one")?;
            last = Some(operation);
            for _ in 0..run {
                if operation == 3 {
                    self.insert()?;
                    continue;
                }
                let entry = self.base.entries.get(next).ok_or(Refusal::Wrong("past the base's end"))?;
                next += 1;
                match operation {
                    0 => self.push(entry.path.clone(), entry.node.clone())?,
                    1 => self.change(entry)?,
                    _ => {}
                }
            }
        }
        must(next == self.base.entries.len(), "not all of the base is told")
    }

    fn push(&mut self, path: Vec<u8>, node: Node) -> Result<()> {
        if self.told.entries.len() as u64 == self.room {
            return Err(Refusal::TooMuch);
        }
        self.told.entries.push(Entry { path, node });
        Ok(())
    }

    fn insert(&mut self) -> Result<()> {
        let shared = self.columns[PREFIXES].integer()?;
        let name = self.columns[NAMES].bytes()?;
        let before = self.told.entries.last().map_or(&[][..], |entry| &entry.path);
        let shared = Bytes(before).take(shared)?;
        let path = [shared, name].concat();
        must(tree::is_path(&path), "no path")?;
        let node = self.whole(&path)?;
        self.push(path, node)
    }

    fn change(&mut self, entry: &Entry) -> Result<()> {
        let flags = self.columns[CHANGES].byte()?;
        must(flags == 1 || (flags & 1 == 0 && flags != 0 && flags < 64), "flags of a change")?;
        let node = match &entry.node {
            _ if flags == 1 => self.whole(&entry.path)?,
            Node::Link(_) => {
                must(flags == 32, "a hard link has no metadata")?;
                self.link()?
            }
            Node::Inode(metadata, holds) => {
                let metadata = self.metadata(metadata, flags)?;
                let holds =
                    if flags & 32 == 0 { holds.clone() } else { self.holds(entry.kind(), &entry.path)? };
                Node::Inode(metadata, holds)
            }
        };
        self.push(entry.path.clone(), node)
    }

    fn whole(&mut self, path: &[u8]) -> Result<Node> {
        let kind = self.columns[TYPES].byte()?;
        if kind == tree::LINK {
            return self.link();
        }
        let metadata = self.metadata(&Metadata::default(), 2 + 4 + 8 + 16)?;
        Ok(Node::Inode(metadata, self.holds(kind, path)?))
    }

    fn link(&mut self) -> Result<Node> {
        let back = self.columns[HARD_LINKS].integer()?;
        let entries = &self.told.entries;
        let place = usize::try_from(back).ok().filter(|&back| back > 0 && back <= entries.len());
        let place = place.ok_or(Refusal::Wrong("a hard link to no entry"))?;
        Ok(Node::Link(entries[entries.len() - place].path.clone()))
    }

    fn metadata(&mut self, before: &Metadata, flags: u8) -> Result<Metadata> {
        let mut metadata = before.clone();
        if flags & 2 != 0 {
            metadata.mode = tree::read_mode(&mut self.columns[MODES])?;
        }
        if flags & 4 != 0 {
            metadata.owner = tree::read_pair(&mut self.columns[OWNERS])?;
        }
        if flags & 8 != 0 {
            let place = usize::try_from(self.columns[TIME_INDICES].integer()?).unwrap_or(usize::MAX);
            metadata.mtime = *self.times.get(place).ok_or(Refusal::Wrong("no such time"))?;
            self.used.insert(place);
        }
        if flags & 16 != 0 {
            metadata.attributes = tree::read_attributes(&mut self.columns[ATTRIBUTES])?;
        }
        Ok(metadata)
    }

    fn holds(&mut self, kind: Type, path: &[u8]) -> Result<Holds> {
        match kind {
            tree::DIRECTORY | tree::FIFO => Ok(Holds::Nothing(kind)),
            tree::FILE => Ok(Holds::File(self.content(path)?)),
            tree::SYMLINK => tree::read_symlink(&mut self.columns[LINKS]),
            tree::CHARACTER | tree::BLOCK => {
                let (major, minor) = tree::read_pair(&mut self.columns[DEVICES])?;
                Ok(Holds::Device(kind, major, minor))
            }
            _ => Err(Refusal::Wrong("an unknown type")),
        }
    }

    fn content(&mut self, path: &[u8]) -> Result<Content> {
        let told = self.columns[CONTENTS].integer()?;
        let new = &mut self.told.new;
        if told == 0 {
            let home = self.base.entries.iter().position(|entry| entry.path == path);
            let home = home.and_then(|place| Some((place, self.base.entries[place].file()?.size())));
            let more = self.columns[SIZES].signed()?;
            let size = home.map_or(0, |home| home.1).wrapping_add_signed(more);
            new.push(NewContent { size, path: path.to_vec(), home: home.map(|home| home.0) });
            return Ok(Content::New { size, number: new.len() - 1 });
        }
        if told % 2 == 1 {
            let back = usize::try_from((told - 1) / 2).ok().filter(|&back| back > 0 && back <= new.len());
            let number = new.len() - back.ok_or(Refusal::Wrong("no such new content"))?;
            return Ok(Content::New { size: new[number].size, number });
        }
        let place = self.next_file.checked_add(signed((told - 2) / 2));
        let place = place.and_then(|place| usize::try_from(place).ok());
        let file = place.and_then(|place| Some((place, self.base.entries.get(place)?.file()?)));
        let (place, content) = file.ok_or(Refusal::Wrong("no such file of the base"))?;
        self.next_file = i64::try_from(place).map_err(|_| Refusal::TooMuch)? + 1;
        Ok(content)
    }
}
