//! The tree while layers are laid over it: what the image specification says of whiteouts, replacements and links.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::ops::Bound;

use skiff_tree::{Entry, EntryPath, Inode, Kind, Metadata, Mode, Mtime, Xattrs};

use crate::Limits;
use crate::contents::{ContentId, Extents, SealedStore};
use crate::error::escape;

/// How many components are followed for one name, those of links included: twice as many as Linux takes in a path. Links to
/// long paths, one after the other, would otherwise take minutes each.
const STEPS_MAX: u32 = 4096;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// How many links one name may lead through: what Linux follows (`MAXSYMLINKS`). Unpackers follow more, to where no program
/// of the image could.
const LINKS_MAX: usize = 40;

/// A tree that layers are laid over, from the bottom up.
///
/// Every path but the root lies in a directory that is in the tree too.
pub(crate) struct Merge {
    nodes: BTreeMap<EntryPath, Node>,
    /// Inodes of all layers, those that were replaced too.
    inodes: Vec<Inode<ContentId>>,
    layer: u32,
    /// Directories beneath which this layer has hidden all of those below: hiding again finds nothing, and costs nothing.
    cleared: HashSet<EntryPath>,
    limits: Limits,
    entries: u64,
    names: u64,
    content: u64,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    inode: u32,
    /// The last layer that had something to say of this path or one beneath it.
    layer: u32,
}

/// What an entry of a layer is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The path, which is new or replaces what was there.
    Path(EntryPath),
    /// Hides the path, as far as it comes from layers below.
    Whiteout(EntryPath),
    /// Hides what is in the directory, as far as it comes from layers below.
    Opaque(EntryPath),
}

/// Why an entry cannot be laid over the tree.
#[derive(Debug)]
pub(crate) enum Refusal {
    Corrupt(String),
    Limit { what: &'static str, wanted: u64, limit: u64 },
}

impl Merge {
    /// An empty root directory.
    pub(crate) fn new(limits: Limits) -> Self {
        let root = Node { inode: 0, layer: 0 };
        // So that four bytes number inodes and contents.
        let limits = Limits { entries: limits.entries.min(u32::MAX.into()), ..limits };
        Self {
            nodes: BTreeMap::from([(EntryPath::root(), root)]),
            inodes: vec![undeclared_directory()],
            layer: 0,
            cleared: HashSet::new(),
            limits,
            entries: 1,
            names: 0,
            content: 0,
        }
    }

    /// What follows belongs to a further layer.
    pub(crate) fn begin_layer(&mut self) {
        self.layer += 1;
        self.cleared.clear();
    }

    /// Counts an entry and what it takes in memory besides, against the limits.
    pub(crate) fn count(&mut self, names: usize) -> Result<(), Refusal> {
        self.entries += 1;
        let entries = self.limits.entries;
        if self.entries > entries {
            return Err(Refusal::Limit {
                what: "entries in all layers",
                wanted: self.entries,
                limit: entries,
            });
        }
        self.count_names(names)
    }

    /// Counts bytes of names, links and attributes, against the limit.
    pub(crate) fn count_names(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.names = self.names.saturating_add(bytes as u64);
        let names = self.limits.names;
        if self.names > names {
            let what = "bytes of names, link targets and extended attributes";
            return Err(Refusal::Limit { what, wanted: self.names, limit: names });
        }
        Ok(())
    }

    /// Counts a file's content, which may have more bytes than its layer, where most of it is holes.
    pub(crate) fn count_content(&mut self, size: u64) -> Result<(), Refusal> {
        self.content = self.content.saturating_add(size);
        let limit = self.limits.layer_bytes;
        if self.content > limit {
            return Err(Refusal::Limit { what: "bytes of files in all layers", wanted: self.content, limit });
        }
        Ok(())
    }

    /// Finds out what an entry of this name is about. Links on the way to it are followed, within the tree.
    pub(crate) fn target(&self, name: &[u8]) -> Result<Target, Refusal> {
        let components = components(name)?;
        let Some((&last, parents)) = components.split_last() else {
            return Ok(Target::Path(EntryPath::root()));
        };
        let parent = self.resolve(parents)?;
        if last == OPAQUE {
            return Ok(Target::Opaque(parent));
        }
        match last.strip_prefix(WHITEOUT) {
            None => Ok(Target::Path(join(&parent, last)?)),
            Some(b"" | b"." | b"..") => Err(Refusal::Corrupt("it is a whiteout that names no entry".into())),
            Some(hidden) => Ok(Target::Whiteout(join(&parent, hidden)?)),
        }
    }

    /// Hides a path, as far as it comes from layers below.
    pub(crate) fn whiteout(&mut self, path: &EntryPath) {
        match self.nodes.get(path) {
            // All beneath is from below too: an entry of this layer would have marked this path.
            Some(node) if node.layer != self.layer => self.remove(path),
            Some(_) => self.opaque(path),
            None => {}
        }
    }

    /// Hides what is beneath a path, as far as it comes from layers below.
    pub(crate) fn opaque(&mut self, directory: &EntryPath) {
        if !self.is_directory(directory) || !self.cleared.insert(directory.clone()) {
            return;
        }
        let layer = self.layer;
        let hidden = self.beneath(directory).filter(|(_, node)| node.layer != layer);
        for path in hidden.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            self.nodes.remove(&path);
        }
    }

    /// Puts an inode at a path. A directory over a directory keeps what is in it; whatever else was there is gone.
    pub(crate) fn insert(&mut self, path: EntryPath, inode: Inode<ContentId>) -> Result<(), Refusal> {
        let is_directory = matches!(inode.kind, Kind::Directory);
        if path.is_root() && !is_directory {
            return Err(Refusal::Corrupt("it would make the root something else than a directory".into()));
        }
        if !(is_directory && self.is_directory(&path)) {
            self.remove(&path);
        }
        let inode = self.add_inode(inode);
        self.place(path, inode)
    }

    /// Makes a path one more name of what `target`, an entry's name, leads to.
    pub(crate) fn link(&mut self, path: EntryPath, target: &[u8]) -> Result<(), Refusal> {
        let shown = escape(target);
        let components = components(target)?;
        let Some((&last, parents)) = components.split_last() else {
            return Err(Refusal::Corrupt("it is a hard link to the root".into()));
        };
        let target = join(&self.resolve(parents)?, last)?;
        let inode = match self.nodes.get(&target) {
            // What is put at a path takes the place of all that was there: unpackers look for the target after that.
            _ if target.starts_with(&path) => {
                return Err(Refusal::Corrupt(format!("it is a hard link to {shown:?}, which it replaces")));
            }
            None => {
                return Err(Refusal::Corrupt(format!("it is a hard link to {shown:?}, which is not there")));
            }
            Some(_) if self.is_directory(&target) => {
                return Err(Refusal::Corrupt(format!("it is a hard link to {shown:?}, a directory")));
            }
            Some(node) => node.inode,
        };
        self.remove(&path);
        self.place(path, inode)
    }

    /// The entries, in canonical order, and where the contents of those that own one are.
    pub(crate) fn finish(self, contents: &SealedStore) -> (Vec<Entry>, Extents) {
        let mut inodes: Vec<Option<Inode<ContentId>>> = self.inodes.into_iter().map(Some).collect();
        let mut owners: BTreeMap<u32, EntryPath> = BTreeMap::new();
        let mut shared = vec![0_u32; inodes.len()];
        for node in self.nodes.values() {
            shared[node.inode as usize] += 1;
        }
        let (mut entries, mut extents) = (Vec::with_capacity(self.nodes.len()), Extents::default());
        for (path, node) in self.nodes {
            let Some(inode) = inodes[node.inode as usize].take() else {
                let owner = owners[&node.inode].clone();
                entries.push(Entry::hard_link(path, owner));
                continue;
            };
            if shared[node.inode as usize] > 1 {
                owners.insert(node.inode, path.clone());
            }
            let Ok(kind) = inode.kind.try_map(|id| {
                let stored = contents.content(id);
                extents.add(&path, stored.extent);
                Ok::<_, Infallible>(stored.content)
            });
            entries.push(Entry::inode(path, inode.metadata, kind));
        }
        (entries, extents)
    }

    /// Follows names from the root, and symbolic links on the way, the last component too. What does not exist is taken as
    /// directories that are still to be made. No link leads out of the tree: `..` at the root stays there.
    fn resolve(&self, components: &[&[u8]]) -> Result<EntryPath, Refusal> {
        // Most parents are directories already, and then so is all above them.
        if let Some(path) = EntryPath::new(components.join(&b'/')).ok().filter(|path| self.is_directory(path))
        {
            return Ok(path);
        }
        let mut left: VecDeque<&[u8]> = components.iter().copied().collect();
        let (mut current, mut links, mut steps) = (EntryPath::root(), 0, 0);
        while let Some(component) = left.pop_front() {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(Refusal::Corrupt(format!(
                    "its name leads through more than {STEPS_MAX} directories"
                )));
            }
            match component {
                b"" | b"." => continue,
                b".." => {
                    current = current.parent().unwrap_or_else(EntryPath::root);
                    continue;
                }
                _ => {}
            }
            let next = join(&current, component)?;
            match self.kind(&next) {
                None | Some(Kind::Directory) => current = next,
                Some(Kind::Symlink(target)) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Refusal::Corrupt(format!(
                            "its name leads through more than {LINKS_MAX} symbolic links"
                        )));
                    }
                    if target.starts_with(b"/") {
                        current = EntryPath::root();
                    }
                    for component in target.split(|&byte| byte == b'/').rev() {
                        left.push_front(component);
                    }
                }
                Some(other) => {
                    return Err(Refusal::Corrupt(format!(
                        "it lies beneath {next}, which is a {}",
                        other.name()
                    )));
                }
            }
        }
        Ok(current)
    }

    /// Names an inode, makes the directories on the way, and marks them as touched by this layer.
    fn place(&mut self, path: EntryPath, inode: u32) -> Result<(), Refusal> {
        let mut parent = path.parent();
        self.nodes.insert(path, Node { inode, layer: self.layer });
        while let Some(directory) = parent {
            parent = directory.parent();
            match self.nodes.get_mut(&directory) {
                // Whoever marked it marked all above it.
                Some(node) if node.layer == self.layer => break,
                Some(node) => node.layer = self.layer,
                None => {
                    self.count(directory.as_bytes().len())?;
                    let inode = self.add_inode(undeclared_directory());
                    self.nodes.insert(directory, Node { inode, layer: self.layer });
                }
            }
        }
        Ok(())
    }

    fn add_inode(&mut self, inode: Inode<ContentId>) -> u32 {
        self.inodes.push(inode);
        u32::try_from(self.inodes.len() - 1).expect("because no more than so many entries are counted")
    }

    /// Removes a path and all beneath it.
    fn remove(&mut self, path: &EntryPath) {
        if self.is_directory(path) {
            for path in self.beneath(path).map(|(path, _)| path.clone()).collect::<Vec<_>>() {
                self.nodes.remove(&path);
            }
        }
        if !path.is_root() {
            self.nodes.remove(path);
        }
    }

    /// What lies beneath a path: in canonical order it follows it at once.
    fn beneath<'a>(&'a self, path: &'a EntryPath) -> impl Iterator<Item = (&'a EntryPath, &'a Node)> {
        self.nodes
            .range((Bound::Excluded(path.clone()), Bound::Unbounded))
            .take_while(|(other, _)| other.starts_with(path))
    }

    fn kind(&self, path: &EntryPath) -> Option<&Kind<ContentId>> {
        self.nodes.get(path).map(|node| &self.inodes[node.inode as usize].kind)
    }

    fn is_directory(&self, path: &EntryPath) -> bool {
        matches!(self.kind(path), Some(Kind::Directory))
    }
}

/// What a directory is that no layer declares.
fn undeclared_directory() -> Inode<ContentId> {
    let mode = Mode::from_st_mode(0o755);
    let metadata = Metadata { mode, uid: 0, gid: 0, mtime: Mtime::from_seconds(0), xattrs: Xattrs::new() };
    Inode { metadata, kind: Kind::Directory }
}

/// The components of an entry's name: absolute or not, `.` and repeated slashes dropped.
fn components(name: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::Corrupt("its name or link target is empty".into()));
    }
    let components: Vec<&[u8]> =
        name.split(|&byte| byte == b'/').filter(|component| !matches!(*component, b"" | b".")).collect();
    if components.contains(&&b".."[..]) {
        return Err(Refusal::Corrupt(format!("{:?} leads upwards with \"..\"", escape(name))));
    }
    let above = components.split_last().map_or(&[][..], |(_, above)| above);
    if above.iter().any(|component| component.starts_with(WHITEOUT)) {
        let what = format!("{:?} lies in a directory whose name is one of a whiteout", escape(name));
        return Err(Refusal::Corrupt(what));
    }
    Ok(components)
}

fn join(path: &EntryPath, component: &[u8]) -> Result<EntryPath, Refusal> {
    path.join(component).map_err(|error| Refusal::Corrupt(error.to_string()))
}
