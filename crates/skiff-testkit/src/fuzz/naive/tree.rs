//! Trees: their encoding, and what makes one sound.

use std::collections::HashMap;

use super::bytes::{Bytes, Digest};
use super::{Refusal, Result, must};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) node: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Inode(Metadata, Holds),
    Link(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Metadata {
    pub(crate) mode: u64,
    pub(crate) owner: (u64, u64),
    pub(crate) mtime: (i64, u64),
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holds {
    Nothing(Type),
    File(Content),
    Symlink(Vec<u8>),
    Device(Type, u64, u64),
}

/// As the encoding has it.
pub(crate) type Type = u8;
pub(crate) const DIRECTORY: Type = 1;
pub(crate) const FILE: Type = 2;
pub(crate) const SYMLINK: Type = 3;
pub(crate) const CHARACTER: Type = 4;
pub(crate) const BLOCK: Type = 5;
pub(crate) const FIFO: Type = 6;
pub(crate) const LINK: Type = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Known { size: u64, digest: Digest },
    New { size: u64, number: usize },
}

impl Content {
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Known { size, .. } | Self::New { size, .. } => size,
        }
    }
}

impl Entry {
    /// What it has of a file.
    pub(crate) fn file(&self) -> Option<Content> {
        match &self.node {
            Node::Inode(_, Holds::File(content)) => Some(*content),
            _ => None,
        }
    }

    pub(crate) fn kind(&self) -> Type {
        match &self.node {
            Node::Link(_) => LINK,
            Node::Inode(_, Holds::Nothing(kind) | Holds::Device(kind, ..)) => *kind,
            Node::Inode(_, Holds::File(_)) => FILE,
            Node::Inode(_, Holds::Symlink(_)) => SYMLINK,
        }
    }

    /// Gives a new content the digest that it turned out to have.
    pub(crate) fn complete(&mut self, digests: &[Digest]) {
        if let Node::Inode(_, Holds::File(content)) = &mut self.node
            && let Content::New { size, number } = *content
        {
            *content = Content::Known { size, digest: digests[number] };
        }
    }
}

pub(crate) fn read_attributes(bytes: &mut Bytes<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut attributes: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for _ in 0..bytes.integer()? {
        let (name, value) = (bytes.bytes()?.to_vec(), bytes.bytes()?.to_vec());
        must((1..=255).contains(&name.len()) && !name.contains(&0), "an attribute's name")?;
        must(value.len() <= 65_536, "an attribute's value")?;
        must(attributes.last().is_none_or(|last| last.0 < name), "attributes out of order")?;
        attributes.push((name, value));
    }
    Ok(attributes)
}

pub(crate) fn read_time(seconds: i64, bytes: &mut Bytes<'_>) -> Result<(i64, u64)> {
    Ok((seconds, bytes.below(1_000_000_000, "nanoseconds")?))
}

pub(crate) fn read_pair(bytes: &mut Bytes<'_>) -> Result<(u64, u64)> {
    Ok((bytes.below(1 << 32, "a number of 32 bits")?, bytes.below(1 << 32, "a number of 32 bits")?))
}

pub(crate) fn read_mode(bytes: &mut Bytes<'_>) -> Result<u64> {
    bytes.below(0o10000, "a mode")
}

pub(crate) fn read_symlink(bytes: &mut Bytes<'_>) -> Result<Holds> {
    let target = bytes.bytes()?;
    must((1..=4095).contains(&target.len()) && !target.contains(&0), "a link's target")?;
    Ok(Holds::Symlink(target.to_vec()))
}

/// Reads the encoding of a tree.
pub(crate) fn read_tree(encoding: &[u8]) -> Result<Vec<Entry>> {
    let mut bytes = Bytes(encoding);
    must(bytes.take(13)? == b"skiff-tree 1\n", "no tree")?;
    let mut entries = Vec::new();
    loop {
        let kind = bytes.byte()?;
        if kind == 0 {
            break;
        }
        let path = bytes.bytes()?.to_vec();
        let node =
            if kind == LINK { Node::Link(bytes.bytes()?.to_vec()) } else { read_inode(kind, &mut bytes)? };
        entries.push(Entry { path, node });
    }
    bytes.at_end()?;
    check(&entries)?;
    Ok(entries)
}

fn read_inode(kind: Type, bytes: &mut Bytes<'_>) -> Result<Node> {
    let mode = read_mode(bytes)?;
    let owner = read_pair(bytes)?;
    let seconds = bytes.signed()?;
    let mtime = read_time(seconds, bytes)?;
    let metadata = Metadata { mode, owner, mtime, attributes: read_attributes(bytes)? };
    let holds = match kind {
        DIRECTORY | FIFO => Holds::Nothing(kind),
        FILE => {
            let size = bytes.integer()?;
            Holds::File(Content::Known { size, digest: bytes.digest()? })
        }
        SYMLINK => read_symlink(bytes)?,
        CHARACTER | BLOCK => {
            let (major, minor) = read_pair(bytes)?;
            Holds::Device(kind, major, minor)
        }
        _ => return Err(Refusal::Wrong("an unknown type")),
    };
    Ok(Node::Inode(metadata, holds))
}

/// Whether these entries are a tree.
pub(crate) fn check(entries: &[Entry]) -> Result<()> {
    must(entries.first().is_some_and(|root| root.path.is_empty() && root.kind() == DIRECTORY), "no root")?;
    let mut before: HashMap<&[u8], Type> = HashMap::new();
    let mut last: Option<Vec<&[u8]>> = None;
    for entry in entries {
        must(is_path(&entry.path), "no path")?;
        let components: Vec<&[u8]> = entry.path.split(|&byte| byte == b'/').collect();
        // The root's only component is empty, which is before every other.
        must(last.is_none_or(|last| last < components), "entries out of order")?;
        if !entry.path.is_empty() {
            let above = components[..components.len() - 1].join(&b'/');
            must(before.get(&above[..]) == Some(&DIRECTORY), "an entry in no directory")?;
        }
        if let Node::Link(owner) = &entry.node {
            let owned = before.get(&owner[..]);
            must(owned.is_some_and(|kind| ![DIRECTORY, LINK].contains(kind)), "a hard link to nothing")?;
        }
        before.insert(&entry.path, entry.kind());
        last = Some(components);
    }
    Ok(())
}

/// Whether this is a path: the root's, or components.
pub(crate) fn is_path(path: &[u8]) -> bool {
    let is_component = |part: &[u8]| (1..=255).contains(&part.len()) && part != b"." && part != b"..";
    path.is_empty()
        || (path.len() <= 4095 && !path.contains(&0) && path.split(|&byte| byte == b'/').all(is_component))
}

pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"skiff-tree 1\n".to_vec();
    for entry in entries {
        out.push(entry.kind());
        put_bytes(&mut out, &entry.path);
        match &entry.node {
            Node::Link(owner) => put_bytes(&mut out, owner),
            Node::Inode(metadata, holds) => {
                let (mode, owner, mtime) = (metadata.mode, metadata.owner, metadata.mtime);
                for number in [mode, owner.0, owner.1, unsigned(mtime.0), mtime.1] {
                    put(&mut out, number);
                }
                put(&mut out, metadata.attributes.len() as u64);
                for (name, value) in &metadata.attributes {
                    put_bytes(&mut out, name);
                    put_bytes(&mut out, value);
                }
                put_holds(&mut out, holds);
            }
        }
    }
    out.push(0);
    out
}

fn put_holds(out: &mut Vec<u8>, holds: &Holds) {
    match holds {
        Holds::Nothing(_) => {}
        Holds::File(Content::Known { size, digest }) => {
            put(out, *size);
            out.extend(digest);
        }
        Holds::File(Content::New { .. }) => panic!("a tree is encoded when all of it is known"),
        Holds::Symlink(target) => put_bytes(out, target),
        Holds::Device(_, major, minor) => {
            put(out, *major);
            put(out, *minor);
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(0x80 | (number % 0x80) as u8);
        number /= 0x80;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend(bytes);
}

/// The integer that stands for a signed number.
fn unsigned(number: i64) -> u64 {
    let double = i128::from(number) * 2;
    u64::try_from(if number >= 0 { double } else { -double - 1 }).unwrap_or(u64::MAX)
}
