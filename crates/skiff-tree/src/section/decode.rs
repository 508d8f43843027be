use std::collections::HashSet;

use skiff_wire::{Input, WireError, unzigzag};

use super::{COLUMNS, Skeleton, SkeletonContent, change, content, operation};
use crate::encoding::{SYMLINK_MAX, check_limit, read_device, read_mode, read_xattrs, tag};
use crate::tree::check;
use crate::wire::{bytes, varint32};
use crate::{
    BaseContent, Entry, EntryPath, Inode, Kind, Limits, Metadata, Mtime, NewContent, Node, Tree, TreeError,
    Xattrs,
};

impl Skeleton {
    /// Reads a tree section against the base it was made for.
    ///
    /// # Errors
    /// [`TreeError::Corrupt`] for anything that [`encode`](super::encode) does not write, [`TreeError::Entry`] for a tree
    /// that is not sound, [`TreeError::LimitExceeded`].
    pub fn decode(base: &Tree, section: &[u8], limits: &Limits) -> Result<Self, TreeError> {
        check_limit("bytes", section.len() as u64, limits.bytes)?;
        let mut decoder = Decoder::new(base, section, limits)?;
        decoder.entries()?;
        let skeleton = decoder.finish()?;
        check(&skeleton.entries)?;
        Ok(skeleton)
    }
}

/// One column, with its place in the section for messages.
struct Column<'a> {
    input: Input<&'a [u8]>,
    start: u64,
    name: &'static str,
}

impl<'a> Column<'a> {
    fn corrupt(&self, what: impl std::fmt::Display) -> TreeError {
        TreeError::Corrupt {
            offset: self.start + self.input.offset(),
            what: format!("{}: {what}", self.name),
        }
    }

    /// Runs a reader that is not about columns, and tells its errors from the section's start.
    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Input<&'a [u8]>) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        let (start, name) = (self.start, self.name);
        read(&mut self.input).map_err(|error| match error {
            TreeError::Corrupt { offset, what } => {
                TreeError::Corrupt { offset: start + offset, what: format!("{name}: {what}") }
            }
            other => other,
        })
    }

    fn varint(&mut self) -> Result<u64, TreeError> {
        self.read(|input| Ok(input.varint()?))
    }

    fn byte(&mut self) -> Result<u8, TreeError> {
        self.read(|input| Ok(input.byte()?))
    }

    fn is_empty(&self) -> bool {
        self.input.rest().is_empty()
    }
}

struct Decoder<'a> {
    base: &'a [Entry],
    limits: &'a Limits,
    columns: [Column<'a>; COLUMNS.len()],
    times: Vec<Mtime>,
    times_used: HashSet<usize>,
    next_base: i64,
    entries: Vec<Entry<SkeletonContent>>,
    new_contents: Vec<NewContent>,
    held_bytes: u64,
}

// The columns by name: indices into COLUMNS.
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

impl<'a> Decoder<'a> {
    fn new(base: &'a Tree, section: &'a [u8], limits: &'a Limits) -> Result<Self, TreeError> {
        let mut input = Input::new(section);
        let mut lengths = [0; COLUMNS.len()];
        for length in &mut lengths {
            *length = input.varint()?;
        }
        let column = |index: usize| -> Result<Column<'a>, WireError> {
            let start = input.offset();
            Ok(Column { input: Input::new(input.slice(lengths[index])?), start, name: COLUMNS[index] })
        };
        let columns: Vec<Column<'a>> = (0..COLUMNS.len()).map(column).collect::<Result<_, _>>()?;
        if !input.rest().is_empty() {
            return Err(TreeError::Corrupt {
                offset: input.offset(),
                what: "bytes follow the last column".into(),
            });
        }
        let columns =
            columns.try_into().unwrap_or_else(|_| unreachable!("because there is one for each name"));
        let mut decoder = Self {
            base: base.entries(),
            limits,
            columns,
            times: Vec::new(),
            times_used: HashSet::new(),
            next_base: 0,
            entries: Vec::new(),
            new_contents: Vec::new(),
            held_bytes: 0,
        };
        decoder.times()?;
        Ok(decoder)
    }

    fn times(&mut self) -> Result<(), TreeError> {
        let column = &mut self.columns[TIMES];
        let mut seconds = 0_i64;
        while !column.is_empty() {
            seconds = seconds.wrapping_add(unzigzag(column.varint()?));
            let nanoseconds = column.read(|input| varint32(input, "nanoseconds"))?;
            let time =
                Mtime::new(seconds, nanoseconds).ok_or_else(|| column.corrupt("too many nanoseconds"))?;
            if self.times.last().is_some_and(|last| *last >= time) {
                return Err(column.corrupt("times out of order"));
            }
            self.times.push(time);
        }
        Ok(())
    }

    fn entries(&mut self) -> Result<(), TreeError> {
        let base = self.base;
        let mut next = 0_usize;
        let mut previous = None;
        while !self.columns[OPERATIONS].is_empty() {
            let told = self.columns[OPERATIONS].varint()?;
            let (operation, run) = (told & 3, told >> 2);
            if run == 0 || previous == Some(operation) {
                return Err(self.columns[OPERATIONS].corrupt("an empty run, or two runs that are one"));
            }
            previous = Some(operation);
            if operation == operation::INSERT {
                for _ in 0..run {
                    self.insert()?;
                }
                continue;
            }
            let end = usize::try_from(run)
                .ok()
                .and_then(|run| next.checked_add(run))
                .filter(|&end| end <= base.len());
            let end =
                end.ok_or_else(|| self.columns[OPERATIONS].corrupt("a run past the base's last entry"))?;
            for (index, entry) in base.iter().enumerate().take(end).skip(next) {
                match operation {
                    operation::KEEP => self.keep(index, entry)?,
                    operation::CHANGE => self.change(index, entry)?,
                    _ => debug_assert_eq!(operation, operation::DELETE),
                }
            }
            next = end;
        }
        if next < base.len() {
            return Err(self.columns[OPERATIONS].corrupt("the base's last entries are not told"));
        }
        Ok(())
    }

    fn push(&mut self, path: EntryPath, node: Node<SkeletonContent>) -> Result<(), TreeError> {
        check_limit("entries", self.entries.len() as u64 + 1, self.limits.entries)?;
        // A path of 4 KiB takes a few bytes in the section where it goes on from the one before.
        self.held_bytes = self.held_bytes.saturating_add(path.as_bytes().len() as u64);
        check_limit("bytes", self.held_bytes, self.limits.bytes)?;
        self.entries.push(Entry { path, node });
        Ok(())
    }

    fn keep(&mut self, index: usize, entry: &Entry) -> Result<(), TreeError> {
        let node = match &entry.node {
            Node::HardLink { owner } => Node::HardLink { owner: owner.clone() },
            Node::Inode(inode) => Node::Inode(Inode {
                metadata: inode.metadata.clone(),
                kind: same_content(index, &inode.kind),
            }),
        };
        self.push(entry.path.clone(), node)
    }

    fn change(&mut self, index: usize, entry: &Entry) -> Result<(), TreeError> {
        let flags = self.columns[CHANGES].byte()?;
        let alone = flags & change::ALL != 0 && flags != change::ALL;
        if flags == 0 || flags & !change::KNOWN != 0 || alone {
            return Err(self.columns[CHANGES].corrupt(format!("changes {flags:#04x}")));
        }
        if flags == change::ALL {
            let node = self.whole(&entry.path)?;
            return self.push(entry.path.clone(), node);
        }
        let node = match &entry.node {
            Node::HardLink { .. } if flags == change::HOLDS => self.hard_link()?,
            Node::HardLink { .. } => return Err(self.columns[CHANGES].corrupt("a hard link has no metadata")),
            Node::Inode(inode) => Node::Inode(Inode {
                metadata: self.metadata(&inode.metadata, flags)?,
                kind: if flags & change::HOLDS == 0 {
                    same_content(index, &inode.kind)
                } else {
                    self.holds(crate::encoding::tag_of(&entry.node), inode.kind_size())?
                },
            }),
        };
        self.push(entry.path.clone(), node)
    }

    fn insert(&mut self) -> Result<(), TreeError> {
        let shared = self.columns[PREFIXES].varint()?;
        let name = self.columns[NAMES].read(|input| bytes(input, EntryPath::MAX_LEN as u64, "a name"))?;
        let previous = self.entries.last().map_or(&[][..], |entry| entry.path.as_bytes());
        let shared = usize::try_from(shared).ok().and_then(|shared| previous.get(..shared));
        let shared = shared.ok_or_else(|| self.columns[PREFIXES].corrupt("longer than the path before"))?;
        let path =
            EntryPath::new([shared, &name].concat()).map_err(|error| self.columns[NAMES].corrupt(error))?;
        let node = self.whole(&path)?;
        self.push(path, node)
    }

    fn whole(&mut self, path: &EntryPath) -> Result<Node<SkeletonContent>, TreeError> {
        let tag = self.columns[TYPES].byte()?;
        if tag == tag::HARD_LINK {
            return self.hard_link();
        }
        let metadata = self.metadata(&Metadata::default(), change::KNOWN)?;
        let position = self.base.binary_search_by(|entry| entry.path.cmp(path));
        let size =
            position.ok().and_then(|index| self.base[index].as_file()).map_or(0, |content| content.size);
        Ok(Node::Inode(Inode { metadata, kind: self.holds(tag, size)? }))
    }

    fn hard_link(&mut self) -> Result<Node<SkeletonContent>, TreeError> {
        let back = self.columns[HARD_LINKS].varint()?;
        let owner = usize::try_from(back).ok().and_then(|back| self.entries.len().checked_sub(back));
        let owner = owner.and_then(|index| self.entries.get(index));
        let owner = owner.ok_or_else(|| self.columns[HARD_LINKS].corrupt("no such entry before this one"))?;
        Ok(Node::HardLink { owner: owner.path.clone() })
    }

    fn metadata(&mut self, was: &Metadata, flags: u8) -> Result<Metadata, TreeError> {
        let mut metadata = Metadata { xattrs: Xattrs::new(), ..*was };
        if flags & change::MODE != 0 {
            metadata.mode = self.columns[MODES].read(read_mode)?;
        }
        if flags & change::OWNER != 0 {
            metadata.uid = self.columns[OWNERS].read(|input| varint32(input, "a user"))?;
            metadata.gid = self.columns[OWNERS].read(|input| varint32(input, "a group"))?;
        }
        if flags & change::MTIME != 0 {
            let index = usize::try_from(self.columns[TIME_INDICES].varint()?).unwrap_or(usize::MAX);
            let time = self.times.get(index).copied();
            metadata.mtime = time.ok_or_else(|| self.columns[TIME_INDICES].corrupt("no such time"))?;
            self.times_used.insert(index);
        }
        metadata.xattrs = if flags & change::XATTRS != 0 {
            self.columns[ATTRIBUTES].read(read_xattrs)?
        } else {
            was.xattrs.clone()
        };
        let held: usize = metadata.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.held_bytes = self.held_bytes.saturating_add(held as u64);
        check_limit("bytes", self.held_bytes, self.limits.bytes)?;
        Ok(metadata)
    }

    fn holds(&mut self, tag: u8, base_size: u64) -> Result<Kind<SkeletonContent>, TreeError> {
        Ok(match tag {
            tag::DIRECTORY => Kind::Directory,
            tag::FIFO => Kind::Fifo,
            tag::FILE => Kind::File(self.content(base_size)?),
            tag::SYMLINK => Kind::Symlink(
                self.columns[LINKS].read(|input| bytes(input, SYMLINK_MAX, "a link target"))?.into(),
            ),
            tag::CHAR_DEVICE => Kind::CharDevice(self.columns[DEVICES].read(read_device)?),
            tag::BLOCK_DEVICE => Kind::BlockDevice(self.columns[DEVICES].read(read_device)?),
            other => return Err(self.columns[TYPES].corrupt(format!("unknown entry type {other}"))),
        })
    }

    fn content(&mut self, base_size: u64) -> Result<SkeletonContent, TreeError> {
        let told = self.columns[CONTENTS].varint()?;
        if told == content::NEW {
            let change = unzigzag(self.columns[SIZES].varint()?);
            let size = base_size.wrapping_add(change.cast_unsigned());
            let number = u32::try_from(self.new_contents.len())
                .map_err(|_| self.columns[CONTENTS].corrupt("too many"))?;
            let entry =
                u32::try_from(self.entries.len()).map_err(|_| self.columns[CONTENTS].corrupt("too many"))?;
            self.new_contents.push(NewContent { size, entry });
            return Ok(SkeletonContent::New { number });
        }
        if told & 1 == content::REPEATED {
            let back = usize::try_from(told >> 1).ok().filter(|&back| back > 0);
            let number = back.and_then(|back| self.new_contents.len().checked_sub(back));
            let number = number.and_then(|number| u32::try_from(number).ok());
            let number = number.ok_or_else(|| self.columns[CONTENTS].corrupt("no such content before"))?;
            return Ok(SkeletonContent::New { number });
        }
        let distance = unzigzag((told - content::BASE) >> 1);
        let entry = self.next_base.checked_add(distance).and_then(|index| u32::try_from(index).ok());
        let file = entry.and_then(|index| {
            let file = self.base.get(usize::try_from(index).ok()?)?.as_file()?;
            Some(BaseContent { entry: index, content: *file })
        });
        let base = file.ok_or_else(|| self.columns[CONTENTS].corrupt("no such file in the base"))?;
        self.next_base = i64::from(base.entry) + 1;
        Ok(SkeletonContent::Base(base))
    }

    fn finish(self) -> Result<Skeleton, TreeError> {
        if let Some(left) = self.columns.iter().find(|column| !column.is_empty()) {
            return Err(left.corrupt("bytes that no entry needs"));
        }
        if self.times_used.len() < self.times.len() {
            return Err(self.columns[TIMES].corrupt("a time that no entry has"));
        }
        Ok(Skeleton { entries: self.entries, new_contents: self.new_contents })
    }
}

impl Inode {
    fn kind_size(&self) -> u64 {
        if let Kind::File(content) = &self.kind { content.size } else { 0 }
    }
}

fn same_content(index: usize, kind: &Kind) -> Kind<SkeletonContent> {
    let entry = u32::try_from(index).expect("because a tree in memory has fewer than 2^32 entries");
    let same = |content: crate::FileContent| -> Result<_, std::convert::Infallible> {
        Ok(SkeletonContent::Base(BaseContent { entry, content }))
    };
    match kind.clone().try_map(same) {
        Ok(kind) => kind,
        Err(never) => match never {},
    }
}
