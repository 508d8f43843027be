use std::sync::Arc;

use skiff_tree::{Mode, Mtime};

use super::files::{Body, Files, Inode, InodeId, Slot};

/// What a program did to a disk, and what it waited for.
#[derive(Debug, Clone)]
pub struct Log {
    /// As it was before, with every inode that came to be, to which nothing leads there yet.
    pub(super) base: Files,
    pub(super) events: Vec<Event>,
    pub(super) barriers: Vec<Barrier>,
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    Change {
        effect: Effect,
        label: String,
    },
    /// The sync of this number begins.
    Begun(usize),
    /// It has returned.
    Done(usize),
    Mark,
}

/// A sync.
#[derive(Debug, Clone)]
pub(super) struct Barrier {
    /// An inode; none for all of the file system.
    pub(super) covers: Option<InodeId>,
    pub(super) label: String,
}

/// A step that is taken whole or not at all.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// What names lead to, in which directory; none to nothing.
    Names(Vec<(InodeId, Box<[u8]>, Option<InodeId>)>),
    Bytes {
        inode: InodeId,
        offset: usize,
        bytes: Box<[u8]>,
    },
    /// The file is at least so long.
    Grown {
        inode: InodeId,
        length: usize,
    },
    Length {
        inode: InodeId,
        length: usize,
    },
    Mode(InodeId, Mode),
    Owner(InodeId, u32, u32),
    Time(InodeId, Mtime),
    Xattr(InodeId, Box<[u8]>, Option<Box<[u8]>>),
}

/// An instant at which the power may go.
#[derive(Debug, Clone)]
pub struct Moment {
    /// How many events of the log came before.
    pub position: usize,
    /// How many of them were [`Recorder::mark`](super::Recorder::mark)s.
    pub marks: usize,
    /// With everything before the first change that may not have arrived.
    pub(super) base: Files,
    /// What comes after that, in order.
    pub(super) changes: Vec<Pending>,
}

/// A change that the base does not have yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) number: usize,
    pub(super) effect: Effect,
    pub(super) label: String,
    /// Whether it has arrived for certain.
    pub(super) is_certain: bool,
}

impl Log {
    /// What each sync was of, in the order in which they began.
    #[must_use]
    pub fn barriers(&self) -> Vec<String> {
        self.barriers.iter().map(|barrier| barrier.label.clone()).collect()
    }

    /// How many changes there are.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Change { .. })).count()
    }

    /// The position of the first event of a kind: that of the change whose text contains this.
    #[must_use]
    pub fn position_of(&self, text: &str) -> Option<usize> {
        self.events
            .iter()
            .position(|event| matches!(event, Event::Change { label, .. } if label.contains(text)))
    }

    /// The instants that between them have every state that any instant has, with what a program may rely on at each: just before each sync that
    /// ends and each mark, and the end. Between two syncs, more and more may or may not have arrived.
    ///
    /// `without` is a sync that says it is done and guarantees nothing: the instants after it are given, as those before are what they are
    /// anyway.
    #[must_use]
    pub fn moments(&self, without: Option<usize>) -> Vec<Moment> {
        let mut begun_at = vec![0; self.barriers.len()];
        let mut certain = vec![false; self.events.len()];
        let (mut moments, mut marks) = (Vec::new(), 0);
        let first = without.map_or(0, |number| self.position_of_end(number) + 1);
        for (position, event) in self.events.iter().enumerate() {
            match event {
                Event::Change { .. } => {}
                Event::Begun(number) => begun_at[*number] = position,
                Event::Done(_) | Event::Mark if position >= first => {
                    moments.push(self.moment(position, marks, &certain));
                }
                Event::Done(_) | Event::Mark => {}
            }
            match event {
                Event::Done(number) if Some(*number) != without => {
                    let covers = self.barriers[*number].covers;
                    for (at, event) in self.events[..begun_at[*number]].iter().enumerate() {
                        if let Event::Change { effect, .. } = event {
                            certain[at] |= covers.is_none_or(|inode| effect.inodes().contains(&inode));
                        }
                    }
                }
                Event::Mark => marks += 1,
                _ => {}
            }
        }
        moments.push(self.moment(self.events.len(), marks, &certain));
        moments
    }

    /// What is there for certain at first and just after each sync, and the position of its end.
    #[must_use]
    pub fn certain(&self) -> Vec<(usize, Files)> {
        let ends = self.events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Done(_)));
        let ends: Vec<usize> = ends.map(|(position, _)| position + 1).collect();
        let until = |&end: &usize| {
            let log = Self { events: self.events[..end].to_vec(), ..self.clone() };
            let moments = log.moments(None);
            let moment = moments.last().expect("because the end is one");
            (end, moment.state(&vec![false; moment.changes.len()]))
        };
        std::iter::once((0, self.base.clone())).chain(ends.iter().map(until)).collect()
    }

    /// What there is when everything has arrived.
    #[must_use]
    pub fn end(&self) -> Files {
        let mut files = self.base.clone();
        for (number, event) in self.events.iter().enumerate() {
            if let Event::Change { effect, .. } = event {
                effect.apply(&mut files, number + 1);
            }
        }
        files
    }

    /// Where in the log a sync ends: past its end where it does not.
    fn position_of_end(&self, barrier: usize) -> usize {
        let is_end = |event: &Event| matches!(event, Event::Done(number) if *number == barrier);
        self.events.iter().position(is_end).unwrap_or(self.events.len())
    }

    fn moment(&self, position: usize, marks: usize, certain: &[bool]) -> Moment {
        let mut base = self.base.clone();
        let mut changes = Vec::new();
        for (at, event) in self.events[..position].iter().enumerate() {
            let Event::Change { effect, label } = event else { continue };
            let number = at + 1;
            if certain[at] && changes.is_empty() {
                effect.apply(&mut base, number);
            } else {
                let (effect, label) = (effect.clone(), label.clone());
                changes.push(Pending { number, effect, label, is_certain: certain[at] });
            }
        }
        Moment { position, marks, base, changes }
    }
}

impl Moment {
    /// What is on the disk where these changes have arrived, and those that have for certain.
    pub(super) fn state(&self, arrived: &[bool]) -> Files {
        let mut files = self.base.clone();
        for (change, arrived) in self.changes.iter().zip(arrived) {
            if change.is_certain || *arrived {
                change.effect.apply(&mut files, change.number);
            }
        }
        files
    }
}

impl Effect {
    /// The inodes that it changes.
    pub(super) fn inodes(&self) -> Vec<InodeId> {
        match self {
            Self::Names(names) => names.iter().map(|(directory, ..)| *directory).collect(),
            Self::Bytes { inode, .. }
            | Self::Grown { inode, .. }
            | Self::Length { inode, .. }
            | Self::Mode(inode, _)
            | Self::Owner(inode, ..)
            | Self::Time(inode, _)
            | Self::Xattr(inode, ..) => vec![*inode],
        }
    }

    pub(super) fn apply(&self, files: &mut Files, number: usize) {
        let mut change =
            |inode: &InodeId, how: &dyn Fn(&mut Inode)| how(Arc::make_mut(&mut files.inodes[*inode]));
        match self {
            Self::Names(names) => {
                for (directory, name, inode) in names {
                    change(directory, &|directory| {
                        let Body::Directory(names) = &mut directory.body else { return };
                        match inode {
                            Some(inode) => names.insert(name.clone(), Slot { inode: *inode, since: number }),
                            None => names.remove(name),
                        };
                    });
                }
            }
            Self::Bytes { inode, offset, bytes } => change(inode, &|file| {
                let Body::File { bytes: all, .. } = &mut file.body else { return };
                let end = offset + bytes.len();
                all.resize(all.len().max(end), 0);
                all[*offset..end].copy_from_slice(bytes);
            }),
            Self::Grown { inode, length } => change(inode, &|file| {
                let Body::File { length: old, .. } = &mut file.body else { return };
                *old = (*old).max(*length);
            }),
            Self::Length { inode, length } => change(inode, &|file| {
                let Body::File { bytes, length: old } = &mut file.body else { return };
                bytes.truncate(*length);
                *old = *length;
            }),
            Self::Mode(inode, mode) => change(inode, &|inode| inode.mode = *mode),
            Self::Owner(inode, uid, gid) => change(inode, &|inode| inode.owner = (*uid, *gid)),
            Self::Time(inode, mtime) => change(inode, &|inode| inode.mtime = Some(*mtime)),
            Self::Xattr(inode, name, value) => change(inode, &|inode| {
                match value {
                    Some(value) => inode.xattrs.insert(name.clone(), value.clone()),
                    None => inode.xattrs.remove(name),
                };
            }),
        }
    }
}
