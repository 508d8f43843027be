//! Making entries beneath a root.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use skiff_tree::{Device, EntryPath, Inode, Kind, Metadata, Mode, Mtime};

use crate::listing::{Status, XattrReader};
use crate::root::Place;
use crate::storage::{Rename, Special};
use crate::verify::decimal;
use crate::{EntryType, FsError, Ownership, Root, WritableFile};

/// The largest numbers of devices: Linux has 12 bits for the one and 20 for the other (`MINORBITS`).
const DEVICE_MAJOR_MAX: u32 = 0xfff;
const DEVICE_MINOR_MAX: u32 = 0xf_ffff;

impl Root {
    /// Makes a directory that only its owner may enter, mode 0700.
    ///
    /// # Errors
    /// [`FsError::Io`] (see [`FsError::is_already_there`], [`FsError::is_no_space`]), and [`FsError::Refused`] where a
    /// symbolic link is in the way. The same goes for everything that makes an entry.
    pub fn make_directory(&self, path: &EntryPath) -> Result<(), FsError> {
        let place = self.place("making directory", path)?;
        self.storage.make_directory(place.at()).map_err(self.failed("making directory", path))
    }

    /// Makes a directory as [`make_directory`](Self::make_directory) does, unless there is one already.
    ///
    /// # Errors
    /// As for [`make_directory`](Self::make_directory); something else that is there already is [`FsError::Refused`].
    pub fn ensure_directory(&self, path: &EntryPath) -> Result<(), FsError> {
        match self.make_directory(path) {
            Err(error) if error.is_already_there() => match self.entry_type(path)? {
                Some(EntryType::Directory) => Ok(()),
                _ => Err(FsError::Refused { path: self.display(path), what: "it is not a directory" }),
            },
            other => other,
        }
    }

    /// Makes a file that only its owner may read and write, mode 0600. Nothing may stand there yet.
    ///
    /// # Errors
    /// As for [`make_directory`](Self::make_directory).
    pub fn create_file(&self, path: &EntryPath) -> Result<WritableFile, FsError> {
        let place = self.place("creating", path)?;
        let file = self.storage.create_file(place.at()).map_err(self.failed("creating", path))?;
        Ok(WritableFile::new(file, self.display(path), Arc::clone(&self.storage)))
    }

    /// Opens a file that is there for writing, to go on where it was left.
    ///
    /// # Errors
    /// [`FsError::Io`], and [`FsError::Refused`] where something other than a regular file stands there.
    pub fn reopen_file(&self, path: &EntryPath) -> Result<WritableFile, FsError> {
        let op = "opening for writing";
        let file = self.open_beneath(op, path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let status = Status::of(file.as_fd()).map_err(self.failed(op, path))?;
        if status.file_type != rustix::fs::FileType::RegularFile {
            return Err(FsError::Refused { path: self.display(path), what: "it is not a regular file" });
        }
        Ok(WritableFile::new(file, self.display(path), Arc::clone(&self.storage)))
    }

    /// Makes a symbolic link, to wherever: it is never followed here.
    ///
    /// # Errors
    /// As for [`make_directory`](Self::make_directory).
    pub fn symlink(&self, path: &EntryPath, target: &[u8]) -> Result<(), FsError> {
        let place = self.place("making symbolic link", path)?;
        self.storage.symlink(place.at(), target).map_err(self.failed("making symbolic link", path))
    }

    /// Makes a named pipe or a device, mode 0600.
    ///
    /// # Errors
    /// As for [`make_directory`](Self::make_directory), and [`FsError::Unsupported`] for a device where this process may
    /// make none, or whose number Linux does not have.
    pub fn make_special(&self, path: &EntryPath, special: Special) -> Result<(), FsError> {
        let op = match special {
            Special::Fifo => "making named pipe",
            Special::CharDevice(_) | Special::BlockDevice(_) => "making device",
        };
        // The system call has 32 bits for both, and cuts larger ones down to the number of another device.
        if let Special::CharDevice(device) | Special::BlockDevice(device) = special
            && (device.major > DEVICE_MAJOR_MAX || device.minor > DEVICE_MINOR_MAX)
        {
            let Device { major, minor } = device;
            return Err(self.unsupported(path, format!("Linux has no device number {major}:{minor}")));
        }
        let place = self.place(op, path)?;
        self.storage.make_special(place.at(), special).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::PERM) => {
                self.unsupported(path, "device nodes need root and a file system that takes them")
            }
            _ => self.failed(op, path)(error),
        })
    }

    /// Gives the inode at `from` the further path `to`. A symbolic link at `from` is itself linked, not followed.
    ///
    /// # Errors
    /// As for [`make_directory`](Self::make_directory).
    pub fn hard_link(&self, from: &EntryPath, to: &EntryPath) -> Result<(), FsError> {
        let op = "making hard link";
        let (source, place) = (self.place(op, from)?, self.place(op, to)?);
        self.storage.hard_link(source.at(), place.at()).map_err(self.failed(op, to))
    }

    /// Renames an entry beneath this root.
    ///
    /// # Errors
    /// As for [`make_directory`](Self::make_directory).
    pub fn rename(&self, from: &EntryPath, to: &EntryPath, rename: Rename) -> Result<(), FsError> {
        let op = "renaming";
        let (source, place) = (self.place(op, from)?, self.place(op, to)?);
        let done = self.storage.rename(source.at(), place.at(), rename);
        self.forget_parent();
        done.map_err(self.failed(op, from))
    }

    /// Makes the entry of an inode that has no content: anything but a regular file. Its metadata are yet to be set.
    /// What the ownership does not make is left out.
    ///
    /// # Errors
    /// As for [`make_special`](Self::make_special); [`FsError::Refused`] for a regular file.
    pub fn make_entry<C>(
        &self,
        path: &EntryPath,
        kind: &Kind<C>,
        ownership: Ownership,
    ) -> Result<(), FsError> {
        match kind {
            kind if !ownership.makes(kind) => Ok(()),
            Kind::Directory => self.make_directory(path),
            Kind::Symlink(target) => self.symlink(path, target),
            Kind::CharDevice(device) => self.make_special(path, Special::CharDevice(*device)),
            Kind::BlockDevice(device) => self.make_special(path, Special::BlockDevice(*device)),
            Kind::Fifo => self.make_special(path, Special::Fifo),
            Kind::File(_) => {
                Err(FsError::Refused { path: self.display(path), what: "a file is made with its content" })
            }
        }
    }

    /// Gives what stands at `path` the metadata of `inode`, as far as the ownership applies them: owner, mode, extended
    /// attributes and modification time, in that order, because giving a file away takes setuid bits and capabilities
    /// from it. Extended attributes that the inode does not have are removed, but for labels that the host sets.
    ///
    /// To be done after the content is written, and for directories after everything in them is made, which would change
    /// their time (and need rights that their mode may deny).
    ///
    /// # Errors
    /// [`FsError::Io`], and [`FsError::Unsupported`] for what the file system cannot hold.
    pub fn set_metadata<C>(
        &self,
        path: &EntryPath,
        inode: &Inode<C>,
        ownership: Ownership,
    ) -> Result<(), FsError> {
        let place = self.place("setting metadata of", path)?;
        let metadata = &inode.metadata;
        if ownership == Ownership::Apply {
            if metadata.uid == u32::MAX || metadata.gid == u32::MAX {
                return Err(self.unsupported(path, "Linux has no user or group 4294967295"));
            }
            let done = self.storage.set_owner(place.at(), metadata.uid, metadata.gid);
            done.map_err(self.failed("setting the owner of", path))?;
        }
        let set_mode =
            |mode| self.storage.set_mode(place.at(), mode).map_err(self.failed("setting the mode of", path));
        let mode = ownership.mode(inode);
        // An ordinary user needs the right to write to set attributes, even to a file of his own.
        let writable = mode.filter(|_| {
            ownership == Ownership::Record && ownership.xattrs(&metadata.xattrs).next().is_some()
        });
        let writable = writable.and_then(|mode| Mode::new(mode.bits() | 0o200));
        if let Some(mode) = writable.or(mode) {
            set_mode(mode)?;
        }
        self.set_xattrs(path, &place, metadata, ownership)?;
        if let Some(mode) = mode.filter(|_| writable.is_some_and(|writable| Some(writable) != mode)) {
            set_mode(mode)?;
        }
        self.set_mtime_at(path, &place, metadata.mtime)
    }

    /// Sets the modification time alone.
    ///
    /// # Errors
    /// As for [`set_metadata`](Self::set_metadata).
    pub fn set_mtime(&self, path: &EntryPath, mtime: Mtime) -> Result<(), FsError> {
        let place = self.place("setting the time of", path)?;
        self.set_mtime_at(path, &place, mtime)
    }

    fn set_mtime_at(&self, path: &EntryPath, place: &Place<'_>, mtime: Mtime) -> Result<(), FsError> {
        let op = "setting the time of";
        self.storage.set_mtime(place.at(), mtime).map_err(self.failed(op, path))?;
        // A file system rounds or clamps what it cannot hold, and says nothing.
        let commonplace = mtime.nanoseconds() == 0 && (0..=i64::from(i32::MAX)).contains(&mtime.seconds());
        if !commonplace && Status::at(place.at()).map_err(self.failed(op, path))?.mtime != mtime {
            let what = format!("its time, {} seconds after 1970, is rounded", decimal(mtime));
            return Err(self.unsupported(path, what));
        }
        Ok(())
    }

    fn set_xattrs(
        &self,
        path: &EntryPath,
        place: &Place<'_>,
        metadata: &Metadata,
        ownership: Ownership,
    ) -> Result<(), FsError> {
        let surplus = |name: &[u8]| !metadata.xattrs.contains_key(name) && !is_host_label(name);
        let op = "reading extended attributes (through /proc) of";
        let found = XattrReader::names(place.at(), surplus).map_err(self.failed(op, path))?;
        for name in &found {
            match self.storage.remove_xattr(place.at(), name) {
                Err(error) if Errno::from_io_error(&error) != Some(Errno::NODATA) => {
                    return Err(self.failed("removing an extended attribute of", path)(error));
                }
                _ => {}
            }
        }
        for (name, value) in ownership.xattrs(&metadata.xattrs) {
            let done = self.storage.set_xattr(place.at(), name, value);
            done.map_err(|error| self.xattr_failed(path, name, error))?;
        }
        Ok(())
    }

    fn xattr_failed(&self, path: &EntryPath, name: &[u8], error: io::Error) -> FsError {
        match Errno::from_io_error(&error) {
            // ERANGE and E2BIG are for values too long for the file system; EPERM is for user.* on links and pipes.
            Some(Errno::OPNOTSUPP | Errno::RANGE | Errno::TOOBIG | Errno::PERM | Errno::INVAL) => {
                self.unsupported(path, format!("extended attribute {}: {error}", name.escape_ascii()))
            }
            // Ext4 says "no space" of an inode whose attributes do not fit one block, however empty the disk.
            Some(Errno::NOSPC) if self.free_space().is_ok_and(|space| space.bytes > 1 << 20) => {
                let what = format!("extended attribute {} is one too many or too long", name.escape_ascii());
                self.unsupported(path, what)
            }
            _ => self.failed("setting an extended attribute of", path)(error),
        }
    }

    pub(crate) fn unsupported(&self, path: &EntryPath, what: impl Into<String>) -> FsError {
        FsError::Unsupported { path: self.display(path), what: what.into() }
    }
}

/// Whether the host sets such an attribute of its own accord, as SELinux, Smack, IMA and EVM do. File capabilities are
/// kept in `security.` too, but are the image's.
pub(crate) fn is_host_label(name: &[u8]) -> bool {
    name.starts_with(b"security.") && name != b"security.capability"
}
