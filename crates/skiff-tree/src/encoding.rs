//! The canonical encoding of a tree, whose SHA-256 is the tree's digest. `doc/format.md` has it byte by byte.

use std::io::{BufRead, Write};

use sha2::{Digest as _, Sha256};
use skiff_wire::{Input, put_bytes, put_varint, unzigzag, zigzag};

use crate::wire::{bytes, varint32};
use crate::{
    ContentDigest, Device, Entry, EntryPath, FileContent, Inode, Kind, Metadata, Mode, Mtime, Node, Tree,
    TreeDigest, TreeError, Xattrs,
};

const MAGIC: &[u8; 13] = b"skiff-tree 1\n";
pub(crate) const XATTR_NAME_MAX: u64 = 255;
pub(crate) const XATTR_VALUE_MAX: u64 = 65_536;
pub(crate) const SYMLINK_MAX: u64 = 4095;

/// What decoding a tree may cost. The defaults fit the largest images in use several times over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Stops floods of entries: each takes about 200 bytes of memory. Default 2,000,000.
    pub entries: u64,
    /// Stops floods of long paths and extended attributes: the whole encoding, in bytes. Default 256 MiB.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 2_000_000, bytes: 256 << 20 }
    }
}

/// The tags of entries: part of the format.
pub(crate) mod tag {
    pub(crate) const END: u8 = 0;
    pub(crate) const DIRECTORY: u8 = 1;
    pub(crate) const FILE: u8 = 2;
    pub(crate) const SYMLINK: u8 = 3;
    pub(crate) const CHAR_DEVICE: u8 = 4;
    pub(crate) const BLOCK_DEVICE: u8 = 5;
    pub(crate) const FIFO: u8 = 6;
    pub(crate) const HARD_LINK: u8 = 7;
}

pub(crate) fn tag_of<C>(node: &Node<C>) -> u8 {
    match node {
        Node::HardLink { .. } => tag::HARD_LINK,
        Node::Inode(inode) => match inode.kind {
            Kind::Directory => tag::DIRECTORY,
            Kind::File(_) => tag::FILE,
            Kind::Symlink(_) => tag::SYMLINK,
            Kind::CharDevice(_) => tag::CHAR_DEVICE,
            Kind::BlockDevice(_) => tag::BLOCK_DEVICE,
            Kind::Fifo => tag::FIFO,
        },
    }
}

impl Tree {
    /// Writes the canonical encoding.
    ///
    /// # Errors
    /// [`TreeError::Io`] where writing fails.
    pub fn encode(&self, mut out: impl Write) -> Result<(), TreeError> {
        let failed = |source| TreeError::Io { op: "writing", source };
        out.write_all(MAGIC).map_err(failed)?;
        let mut buffer = Vec::with_capacity(1024);
        for entry in self.entries() {
            buffer.clear();
            put_entry(&mut buffer, entry);
            out.write_all(&buffer).map_err(failed)?;
        }
        out.write_all(&[tag::END]).map_err(failed)
    }

    /// The SHA-256 of the canonical encoding.
    #[must_use]
    pub fn digest(&self) -> TreeDigest {
        let mut hasher = Sha256::new();
        hasher.update(MAGIC);
        let mut buffer = Vec::with_capacity(1024);
        for entry in self.entries() {
            buffer.clear();
            put_entry(&mut buffer, entry);
            hasher.update(&buffer);
        }
        hasher.update([tag::END]);
        TreeDigest::from_bytes(hasher.finalize().into())
    }

    /// Reads a canonical encoding to the reader's end, and checks that it is one.
    ///
    /// # Errors
    /// [`TreeError::Corrupt`] for anything that [`encode`](Self::encode) does not write, [`TreeError::LimitExceeded`],
    /// [`TreeError::Io`].
    pub fn decode(reader: impl BufRead, limits: &Limits) -> Result<Self, TreeError> {
        let mut input = Input::new(reader.take(limits.bytes));
        Self::decode_limited(&mut input, limits).map_err(|error| match error {
            // Cut off by the limit, not by the reader.
            TreeError::Corrupt { .. } if input.offset() >= limits.bytes => TreeError::LimitExceeded {
                what: "bytes",
                wanted: limits.bytes.saturating_add(1),
                limit: limits.bytes,
            },
            error => error,
        })
    }

    fn decode_limited<R: BufRead>(input: &mut Input<R>, limits: &Limits) -> Result<Self, TreeError> {
        if &input.array::<13>()? != MAGIC {
            return Err(TreeError::Corrupt {
                offset: 0,
                what: "it does not begin like a tree of version 1".into(),
            });
        }
        let mut entries = Vec::new();
        loop {
            let offset = input.offset();
            let tag = input.byte()?;
            if tag == tag::END {
                break;
            }
            check_limit("entries", entries.len() as u64 + 1, limits.entries)?;
            entries.push(read_entry(input, tag, offset)?);
        }
        if !input.is_at_end()? {
            return Err(TreeError::Corrupt { offset: input.offset(), what: "bytes follow the end".into() });
        }
        Self::new(entries)
    }
}

pub(crate) fn check_limit(what: &'static str, wanted: u64, limit: u64) -> Result<(), TreeError> {
    if wanted > limit { Err(TreeError::LimitExceeded { what, wanted, limit }) } else { Ok(()) }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(tag_of(&entry.node));
    put_bytes(out, entry.path.as_bytes());
    match &entry.node {
        Node::HardLink { owner } => put_bytes(out, owner.as_bytes()),
        Node::Inode(inode) => {
            put_metadata(out, &inode.metadata);
            match &inode.kind {
                Kind::Directory | Kind::Fifo => {}
                Kind::File(content) => {
                    put_varint(out, content.size);
                    out.extend_from_slice(content.digest.as_bytes());
                }
                Kind::Symlink(target) => put_bytes(out, target),
                Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                    put_varint(out, u64::from(device.major));
                    put_varint(out, u64::from(device.minor));
                }
            }
        }
    }
}

fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    put_varint(out, u64::from(metadata.mode.bits()));
    put_varint(out, u64::from(metadata.uid));
    put_varint(out, u64::from(metadata.gid));
    put_varint(out, zigzag(metadata.mtime.seconds()));
    put_varint(out, u64::from(metadata.mtime.nanoseconds()));
    put_xattrs(out, &metadata.xattrs);
}

pub(crate) fn put_xattrs(out: &mut Vec<u8>, xattrs: &Xattrs) {
    put_varint(out, xattrs.len() as u64);
    for (name, value) in xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn read_entry<R: BufRead>(input: &mut Input<R>, tag: u8, offset: u64) -> Result<Entry, TreeError> {
    let path = read_path(input)?;
    if tag == tag::HARD_LINK {
        let owner = read_path(input)?;
        return Ok(Entry::hard_link(path, owner));
    }
    let metadata = read_metadata(input)?;
    let kind = match tag {
        tag::DIRECTORY => Kind::Directory,
        tag::FILE => {
            let size = input.varint()?;
            Kind::File(FileContent { size, digest: ContentDigest::from_bytes(input.array()?) })
        }
        tag::SYMLINK => Kind::Symlink(bytes(input, SYMLINK_MAX, "a link target")?.into()),
        tag::CHAR_DEVICE => Kind::CharDevice(read_device(input)?),
        tag::BLOCK_DEVICE => Kind::BlockDevice(read_device(input)?),
        tag::FIFO => Kind::Fifo,
        other => return Err(TreeError::Corrupt { offset, what: format!("unknown entry type {other}") }),
    };
    Ok(Entry { path, node: Node::Inode(Inode { metadata, kind }) })
}

fn read_path<R: BufRead>(input: &mut Input<R>) -> Result<EntryPath, TreeError> {
    let offset = input.offset();
    EntryPath::new(bytes(input, EntryPath::MAX_LEN as u64, "a path")?)
        .map_err(|error| TreeError::Corrupt { offset, what: error.to_string() })
}

fn read_metadata<R: BufRead>(input: &mut Input<R>) -> Result<Metadata, TreeError> {
    let mode = read_mode(input)?;
    let (uid, gid) = (varint32(input, "a user")?, varint32(input, "a group")?);
    let seconds = unzigzag(input.varint()?);
    let offset = input.offset();
    let mtime = Mtime::new(seconds, varint32(input, "nanoseconds")?).ok_or_else(|| TreeError::Corrupt {
        offset,
        what: "nanoseconds that make a whole second or more".into(),
    })?;
    Ok(Metadata { mode, uid, gid, mtime, xattrs: read_xattrs(input)? })
}

pub(crate) fn read_mode<R: BufRead>(input: &mut Input<R>) -> Result<Mode, TreeError> {
    let offset = input.offset();
    Mode::new(varint32(input, "a mode")?)
        .ok_or_else(|| TreeError::Corrupt { offset, what: "a mode above 0o7777".into() })
}

pub(crate) fn read_device<R: BufRead>(input: &mut Input<R>) -> Result<Device, TreeError> {
    Ok(Device { major: varint32(input, "a device number")?, minor: varint32(input, "a device number")? })
}

pub(crate) fn read_xattrs<R: BufRead>(input: &mut Input<R>) -> Result<Xattrs, TreeError> {
    let mut xattrs = Xattrs::new();
    for _ in 0..input.varint()? {
        let offset = input.offset();
        let name: Box<[u8]> = bytes(input, XATTR_NAME_MAX, "an attribute name")?.into();
        let value = bytes(input, XATTR_VALUE_MAX, "an attribute value")?.into();
        if xattrs.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(TreeError::Corrupt { offset, what: "extended attributes out of order".into() });
        }
        xattrs.insert(name, value);
    }
    Ok(xattrs)
}
