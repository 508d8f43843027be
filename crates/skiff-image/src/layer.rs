//! One layer, laid over the tree.

use skiff_fs::Control;
use skiff_tree::{EntryPath, Inode, Kind, Metadata, Mode, Xattrs};

use crate::ImageError;
use crate::archive::{Member, MemberKind, Members};
use crate::contents::{ContentStore, Destination};
use crate::error::escape;
use crate::input::Input;
use crate::merge::{Merge, Refusal, Target};

/// The longest value of an extended attribute, and the longest name (Linux: `XATTR_SIZE_MAX`, `XATTR_NAME_MAX`).
const XATTR_VALUE_MAX: usize = 65_536;
const XATTR_NAME_MAX: usize = 255;
/// What overlayfs and NFS keep about one host's own directories. Some builders let it slip into layers; no engine applies it.
const HOST_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"system.nfs4_acl"];
/// What the mode of a symbolic link is, whatever the archive says: Linux has no other.
const SYMLINK_MODE: u32 = 0o777;

/// What an extended attribute takes in memory beside its name and value, in bytes.
const XATTR_OVERHEAD: usize = 64;

/// What layers are laid over, and where their contents go to.
pub(crate) struct Flattening<'a> {
    pub(crate) merge: Merge,
    pub(crate) store: ContentStore,
    /// Extended attributes left out, as they are a host's own.
    pub(crate) dropped_xattrs: u64,
    pub(crate) control: Control<'a>,
}

impl Flattening<'_> {
    /// Lays all members of a layer over the tree.
    pub(crate) fn add_layer<I: Input>(
        &mut self,
        members: &mut Members<I>,
        destination: Destination,
    ) -> Result<(), ImageError> {
        self.merge.begin_layer();
        while let Some(member) = members.next_member()? {
            self.control.check()?;
            self.add_member(members, member, destination)?;
        }
        Ok(())
    }

    fn add_member<I: Input>(
        &mut self,
        members: &mut Members<I>,
        mut member: Member,
        destination: Destination,
    ) -> Result<(), ImageError> {
        self.merge.count(names(&member)).map_err(|refusal| refused(members, refusal))?;
        let path = match self.merge.target(&member.name).map_err(|refusal| refused(members, refusal))? {
            Target::Whiteout(path) => {
                self.merge.whiteout(&path);
                return Ok(());
            }
            Target::Opaque(directory) => {
                self.merge.opaque(&directory);
                return Ok(());
            }
            Target::Path(path) => path,
        };
        // Through links a short name becomes a long path.
        let longer = path.as_bytes().len().saturating_sub(member.name.len());
        self.merge.count_names(longer).map_err(|refusal| refused(members, refusal))?;
        let xattrs = self.checked_xattrs(members, std::mem::take(&mut member.xattrs))?;
        let Member { mode, uid, gid, mtime, .. } = member;
        let mut metadata = Metadata { mode, uid, gid, mtime, xattrs };
        let kind = match member.kind {
            // The metadata is the file's, which another entry has given.
            MemberKind::HardLink(target) => {
                return self.merge.link(path, &target).map_err(|refusal| refused(members, refusal));
            }
            MemberKind::File => {
                self.merge.count_content(member.size).map_err(|refusal| refused(members, refusal))?;
                let mut writer = self.store.begin(destination, member.offset)?;
                members.read_content(|piece| writer.write(piece))?;
                Kind::File(writer.finish())
            }
            MemberKind::Directory => Kind::Directory,
            MemberKind::Symlink(target) => {
                if target.is_empty() || target.len() > EntryPath::MAX_LEN || target.contains(&0) {
                    let what = "its link target is empty, longer than 4095 bytes, or contains a NUL byte";
                    return Err(members.corrupt(what));
                }
                metadata.mode = Mode::from_st_mode(SYMLINK_MODE);
                Kind::Symlink(target.into())
            }
            MemberKind::CharDevice(device) => Kind::CharDevice(device),
            MemberKind::BlockDevice(device) => Kind::BlockDevice(device),
            MemberKind::Fifo => Kind::Fifo,
        };
        self.merge.insert(path, Inode { metadata, kind }).map_err(|refusal| refused(members, refusal))
    }

    fn checked_xattrs<I: Input>(
        &mut self,
        members: &Members<I>,
        xattrs: Xattrs,
    ) -> Result<Xattrs, ImageError> {
        let mut kept = Xattrs::new();
        for (name, value) in xattrs {
            if HOST_XATTRS.iter().any(|prefix| name.starts_with(prefix)) {
                self.dropped_xattrs += 1;
                continue;
            }
            let shown = escape(&name);
            if name.is_empty() || name.len() > XATTR_NAME_MAX || name.contains(&0) {
                return Err(members.corrupt(format!("{shown:?} cannot name an extended attribute")));
            }
            if value.len() > XATTR_VALUE_MAX {
                let what = format!("its extended attribute {shown} is longer than {XATTR_VALUE_MAX} bytes");
                return Err(members.corrupt(what));
            }
            kept.insert(name, value);
        }
        Ok(kept)
    }
}

/// How many bytes its names take: with what a map takes for each, which is more than many a name and value.
fn names(member: &Member) -> usize {
    let xattrs = member.xattrs.iter().map(|(name, value)| name.len() + value.len() + XATTR_OVERHEAD);
    let link = match &member.kind {
        MemberKind::Symlink(target) => target.len(),
        _ => 0,
    };
    xattrs.fold(member.name.len() + link, usize::saturating_add)
}

/// The error that says what was refused, and where that is.
fn refused<I: Input>(members: &Members<I>, refusal: Refusal) -> ImageError {
    match refusal {
        Refusal::Corrupt(what) => members.corrupt(what),
        Refusal::Limit { what, wanted, limit } => {
            ImageError::LimitExceeded { at: members.location(), what, wanted, limit }
        }
    }
}
