//! Trees as tar archives.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};
use skiff_fs::Control;
use skiff_tree::{
    ContentDigest, ContentSource, Device, Entry, EntryPath, FileContent, Kind, Metadata, Mtime, Node, Tree,
};
use tar::{EntryType, Header};

use crate::archive::{BLOCK, HEADER_SIZE_MAX, XATTR, encode_xattr_name};
use crate::{ImageError, Location, Part};

/// What a name or a link target takes in a header.
const NAME: usize = 100;
/// The largest owner, group or device number that seven octal digits hold.
const ID_MAX: u32 = 0o777_7777;
/// The name of headers with PAX records, for readers that know none.
const RECORDS_NAME: &[u8] = b"././@PaxHeader";
const READ_BUFFER: usize = 128 << 10;

/// Writes a tree as a tar archive: ustar, with PAX records where a header cannot hold what there is. The same tree gives the
/// same bytes. Contents are checked against the tree as they are written.
///
/// GNU tar reproduces the tree exactly from it, if told to: `tar --xattrs --xattrs-include='*' --numeric-owner -xpf`. Progress counts
/// the bytes of files.
///
/// # Errors
/// [`ImageError::Io`] with the entry where reading its content or writing failed; [`ImageError::DigestMismatch`] where a content
/// is not what the tree says; [`ImageError::Unsupported`] for a device number that no archive can hold; [`ImageError::Interrupted`].
pub fn write_tar(
    tree: &Tree,
    contents: &dyn ContentSource,
    mut out: impl Write,
    control: Control<'_>,
) -> Result<(), ImageError> {
    let mut buffer = vec![0; READ_BUFFER];
    for entry in tree.entries() {
        control.check()?;
        let failed = |op| move |source| ImageError::Io { op, path: entry.path.to_string().into(), source };
        let headers = headers(tree, entry)?;
        out.write_all(&headers).map_err(failed("writing to an archive"))?;
        if let Some(content) = entry.as_file() {
            let copying = Copying { entry, content, contents, control };
            copying.run(&mut buffer, &mut out)?;
            let padding = usize::try_from(content.size.wrapping_neg() % BLOCK as u64);
            let padding = padding.expect("because it is less than a block");
            out.write_all(&[0; BLOCK][..padding]).map_err(failed("writing to an archive"))?;
        }
    }
    let end = out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush());
    end.map_err(|source| ImageError::Io { op: "writing the end of an archive of", path: "/".into(), source })
}

/// A content on its way into the archive.
struct Copying<'a> {
    entry: &'a Entry,
    content: &'a FileContent,
    contents: &'a dyn ContentSource,
    control: Control<'a>,
}

impl Copying<'_> {
    fn run(&self, buffer: &mut [u8], out: &mut impl Write) -> Result<(), ImageError> {
        let reader = self.contents.open(&self.entry.path).map_err(|error| self.failed("opening", error))?;
        let (mut hasher, mut position) = (Sha256::new(), 0);
        while position < self.content.size {
            self.control.check()?;
            let left = usize::try_from(self.content.size - position).unwrap_or(usize::MAX);
            let wanted = left.min(buffer.len());
            let count = match reader.read_at(&mut buffer[..wanted], position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                result => result,
            };
            let count = count.map_err(|error| self.failed("reading", error))?;
            hasher.update(&buffer[..count]);
            out.write_all(&buffer[..count]).map_err(|error| self.failed("writing to an archive", error))?;
            position += count as u64;
            self.control.advance(count as u64);
        }
        let found = ContentDigest::from_bytes(hasher.finalize().into());
        if found == self.content.digest {
            return Ok(());
        }
        let (expected, found) = (self.content.digest.to_string(), found.to_string());
        Err(ImageError::DigestMismatch { what: self.entry.path.to_string(), expected, found })
    }

    fn failed(&self, op: &'static str, source: io::Error) -> ImageError {
        ImageError::Io { op, path: self.entry.path.to_string().into(), source }
    }
}

/// The header of an entry, after one with its PAX records where it needs any.
fn headers(tree: &Tree, entry: &Entry) -> Result<Vec<u8>, ImageError> {
    let mut draft = Draft { header: Header::new_ustar(), records: Vec::new() };
    let path = entry.path.as_bytes();
    match &entry.node {
        Node::HardLink { owner } => draft.names(EntryType::Link, path, owner.as_bytes()),
        Node::Inode(inode) => match &inode.kind {
            Kind::Directory if entry.path.is_root() => draft.names(EntryType::Directory, b"./", b""),
            Kind::Directory => draft.names(EntryType::Directory, &[path, b"/"].concat(), b""),
            Kind::File(_) => draft.names(EntryType::Regular, path, b""),
            Kind::Symlink(target) => draft.names(EntryType::Symlink, path, target),
            Kind::CharDevice(_) => draft.names(EntryType::Char, path, b""),
            Kind::BlockDevice(_) => draft.names(EntryType::Block, path, b""),
            Kind::Fifo => draft.names(EntryType::Fifo, path, b""),
        },
    }
    draft.size(entry.as_file().map_or(0, |content| content.size));
    // Those who apply the metadata of a hard link are told the same twice.
    if let Some(inode) = tree.inode(entry) {
        draft.metadata(&inode.metadata);
        if let Kind::CharDevice(device) | Kind::BlockDevice(device) = &inode.kind {
            draft.device(*device, &entry.path)?;
        }
    }
    Ok(draft.into_blocks())
}

/// A header that is being filled in, and the PAX records for what does not fit into it.
struct Draft {
    header: Header,
    records: Vec<u8>,
}

impl Draft {
    fn names(&mut self, kind: EntryType, name: &[u8], link: &[u8]) {
        self.header.set_entry_type(kind);
        let old = self.header.as_old_mut();
        for (field, value, key) in [(&mut old.name, name, "path"), (&mut old.linkname, link, "linkpath")] {
            let count = value.len().min(NAME);
            field[..count].copy_from_slice(&value[..count]);
            if value.len() > NAME {
                put_record(&mut self.records, key.as_bytes(), value);
            }
        }
    }

    fn size(&mut self, size: u64) {
        let fits = size <= HEADER_SIZE_MAX;
        self.header.set_size(if fits { size } else { 0 });
        self.record_unless(fits, "size", &size);
    }

    fn metadata(&mut self, metadata: &Metadata) {
        let Metadata { mode, uid, gid, mtime, xattrs } = metadata;
        self.header.set_mode(mode.bits());
        self.header.set_uid(if *uid <= ID_MAX { u64::from(*uid) } else { 0 });
        self.record_unless(*uid <= ID_MAX, "uid", uid);
        self.header.set_gid(if *gid <= ID_MAX { u64::from(*gid) } else { 0 });
        self.record_unless(*gid <= ID_MAX, "gid", gid);
        let seconds = u64::try_from(mtime.seconds()).ok().filter(|&seconds| seconds <= HEADER_SIZE_MAX);
        self.header.set_mtime(seconds.unwrap_or(0));
        self.record_unless(seconds.is_some() && mtime.nanoseconds() == 0, "mtime", &decimal(*mtime));
        for (name, value) in xattrs {
            let key = [XATTR, &encode_xattr_name(name)[..]].concat();
            put_record(&mut self.records, &key, value);
        }
    }

    fn device(&mut self, device: Device, path: &EntryPath) -> Result<(), ImageError> {
        let Device { major, minor } = device;
        if major > ID_MAX || minor > ID_MAX {
            let at = Location { part: Part::Archive, entry: Some(path.to_string()), offset: 0 };
            let what =
                format!("its device number {major}:{minor} is larger than Linux and tar archives have them");
            return Err(ImageError::Unsupported { at, what });
        }
        let header = self.header.as_ustar_mut().expect("because it was made as one");
        header.set_device_major(major);
        header.set_device_minor(minor);
        Ok(())
    }

    fn record_unless(&mut self, fits: bool, key: &str, value: &dyn ToString) {
        if !fits {
            put_record(&mut self.records, key.as_bytes(), value.to_string().as_bytes());
        }
    }

    fn into_blocks(mut self) -> Vec<u8> {
        let mut blocks = Vec::new();
        if !self.records.is_empty() {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            header.as_old_mut().name[..RECORDS_NAME.len()].copy_from_slice(RECORDS_NAME);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(self.records.len() as u64);
            header.set_cksum();
            blocks.extend_from_slice(header.as_bytes());
            blocks.append(&mut self.records);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        self.header.set_cksum();
        blocks.extend_from_slice(self.header.as_bytes());
        blocks
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn put_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() > length {
        length += 1;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

/// Seconds with a fraction: before 1970 negative, fraction included.
fn decimal(mtime: Mtime) -> String {
    let total = i128::from(mtime.seconds()) * 1_000_000_000 + i128::from(mtime.nanoseconds());
    let sign = if total < 0 { "-" } else { "" };
    let (seconds, nanoseconds) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    format!("{sign}{seconds}.{nanoseconds:09}")
}

#[cfg(test)]
mod tests {
    use skiff_tree::Mode;

    use super::*;
    use crate::Limits;
    use crate::archive::{Members, Origin};

    fn tree_with(kind: Kind) -> Tree {
        let metadata = || Metadata { mode: Mode::from_st_mode(0o755), ..Metadata::default() };
        let root = Entry::inode(EntryPath::root(), metadata(), Kind::Directory);
        let path = EntryPath::new("x").expect("a path");
        Tree::new(vec![root, Entry::inode(path, metadata(), kind)]).expect("a tree")
    }

    impl crate::input::Input for &[u8] {}

    #[test]
    fn files_larger_than_a_header_can_say() {
        for size in [0, HEADER_SIZE_MAX, HEADER_SIZE_MAX + 1, 1 << 50] {
            let tree = tree_with(Kind::File(FileContent { size, ..FileContent::of(b"") }));
            let blocks = headers(&tree, &tree.entries()[1]).unwrap();
            let origin = Origin { part: Part::Archive, path: "x".into() };
            let mut members = Members::new(&blocks[..], origin, Limits::default());
            assert_eq!(members.next_member().unwrap().unwrap().size, size);
        }
    }

    #[test]
    fn device_numbers_that_no_header_can_say() {
        let tree = tree_with(Kind::CharDevice(Device { major: 1, minor: ID_MAX + 1 }));
        assert!(matches!(headers(&tree, &tree.entries()[1]), Err(ImageError::Unsupported { .. })));
    }

    #[test]
    fn contents_are_checked() {
        let mut contents = skiff_tree::MemoryContents::default();
        let tree = tree_with(Kind::File(FileContent::of(b"ahoy")));
        let mut write = |content: &[u8]| {
            contents.insert(EntryPath::new("x").unwrap(), content);
            write_tar(&tree, &contents, Vec::new(), Control::default())
        };
        assert!(write(b"ahoy").is_ok());
        assert!(matches!(write(b"ahoi"), Err(ImageError::DigestMismatch { .. })));
        assert!(matches!(write(b"aho"), Err(ImageError::Io { .. })));
    }
}
