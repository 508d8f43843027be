//! Tar archives, member by member: ustar, PAX and GNU, as container images have them.
//!
//! Headers are the tar crate's; the framing is ours, because the crate's own reading keeps extension headers of any length in
//! memory, breaks PAX values at newlines, and falls back to the header where it cannot read a PAX size. Where readers are known
//! to differ in what an archive holds, it is refused: a layer must not mean one thing to an engine and another here.

mod extension;
mod number;
mod pax;
mod sparse;

use std::io;
use std::path::PathBuf;

use skiff_tree::{Device, Mode, Mtime, Xattrs};
use tar::Header;

use crate::error::escape;
use crate::input::Input;
use crate::{ImageError, Limits, Location, Part};
use extension::Extensions;
pub(crate) use extension::{XATTR, encode_xattr_name};
use sparse::Sparse;

pub(crate) const BLOCK: usize = 512;
/// The largest size that eleven octal digits hold: what a header can say without extensions.
pub(crate) const HEADER_SIZE_MAX: u64 = 0o777_7777_7777;

/// Which archive is read, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) part: Part,
    pub(crate) path: PathBuf,
}

/// Reads the members of an archive, one after the other.
pub(crate) struct Members<I> {
    input: I,
    origin: Origin,
    limits: Limits,
    /// Bytes of the archive read so far.
    position: u64,
    /// Bytes of the current member's content that were not read yet, and of the padding after it.
    left: u64,
    padding: u64,
    sparse: Option<Sparse>,
    end: Option<End>,
    /// The current member's header and name, for messages.
    header_at: u64,
    name: Option<String>,
}

/// How an archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the two blocks of zeros that end an archive.
    Marked,
    /// After a member, without them: as some tools write it, or because it was cut off.
    Bare,
}

/// A member, its extensions resolved.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// As it stands in the archive.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: MemberKind,
    pub(crate) mode: Mode,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    pub(crate) xattrs: Xattrs,
    /// Where the content stands in the archive; none where it does not stand there as it is.
    pub(crate) offset: Option<u64>,
    /// The content's bytes: 0 for all but files.
    pub(crate) size: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

impl<I: Input> Members<I> {
    pub(crate) fn new(input: I, origin: Origin, limits: Limits) -> Self {
        Self {
            input,
            origin,
            limits,
            position: 0,
            left: 0,
            padding: 0,
            sparse: None,
            end: None,
            header_at: 0,
            name: None,
        }
    }

    /// The next member; none at the end of the archive.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>, ImageError> {
        if self.end.is_some() {
            return Ok(None);
        }
        self.skip_content()?;
        self.name = None;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.next_header()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(self.corrupt("it ends after a header that describes a further member"))
                };
            };
            let size = self.header_number(&header.as_old().size, "size")?;
            match header.as_old().linkflag[0] {
                b'x' | b'g' | b'L' | b'K' => self.read_extension(&header, size, &mut extensions)?,
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// Reads the current member's content, piece by piece.
    pub(crate) fn read_content(
        &mut self,
        piece: impl FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        match self.sparse.take() {
            Some(sparse) => self.read_pieces(&sparse, piece),
            None => self.read_stored(self.left, piece),
        }
    }

    /// How the archive ended; none while it has not.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether the archive ended before its first header.
    pub(crate) fn is_empty(&self) -> bool {
        self.end.is_some() && self.header_at == 0
    }

    /// The current member's place, for messages.
    pub(crate) fn location(&self) -> Location {
        Location { part: self.origin.part, entry: self.name.clone(), offset: self.header_at }
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> ImageError {
        ImageError::Corrupt { at: self.location(), what: what.into() }
    }

    pub(crate) fn unsupported(&self, what: impl Into<String>) -> ImageError {
        ImageError::Unsupported { at: self.location(), what: what.into() }
    }

    /// Reads bytes of the current member as they are stored.
    fn read_stored(
        &mut self,
        mut count: u64,
        mut piece: impl FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        while count > 0 {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) => return Err(self.failed(error)),
            };
            let step = available.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            if step == 0 {
                return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
            }
            piece(&available[..step])?;
            self.input.consume(step);
            self.position += step as u64;
            self.left -= step as u64;
            count -= step as u64;
        }
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), ImageError> {
        // No overflow: both are checked where they are set.
        let rest = self.left + self.padding;
        self.input.skip(rest).map_err(|error| self.failed(error))?;
        self.position += rest;
        (self.left, self.padding, self.sparse) = (0, 0, None);
        Ok(())
    }

    /// The next header; none at the end.
    fn next_header(&mut self) -> Result<Option<Header>, ImageError> {
        self.header_at = self.position;
        let mut header = Header::new_old();
        if !self.read_block(header.as_mut_bytes())? {
            self.end = Some(End::Bare);
            return Ok(None);
        }
        if is_zero(header.as_bytes()) {
            let mut second = [0; BLOCK];
            self.end = Some(if self.read_block(&mut second)? { End::Marked } else { End::Bare });
            return if is_zero(&second) {
                Ok(None)
            } else {
                Err(self.corrupt(
                    "a single block of zeros stands between members; readers differ in whether it ends there",
                ))
            };
        }
        let number = number::field(&header.as_old().cksum);
        if number.is_none_or(|sum| !checksums(header.as_bytes()).contains(&sum)) {
            return Err(self
                .corrupt("the checksum of a header does not fit: this is no tar archive, or it is damaged"));
        }
        Ok(Some(header))
    }

    /// Reads a block; false at the end of the input.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ImageError> {
        match self.input.fill_buf() {
            Ok([]) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(self.failed(error)),
        }
        self.input.read_exact(block).map_err(|error| self.failed(error))?;
        self.position += BLOCK as u64;
        Ok(true)
    }

    /// Takes what a header says of the bytes that follow it.
    fn begin_content(&mut self, size: u64) -> Result<(), ImageError> {
        let padding = size.wrapping_neg() % BLOCK as u64;
        if self.position.checked_add(size).and_then(|end| end.checked_add(padding)).is_none() {
            return Err(self.corrupt(format!("it declares {size} bytes, more than any archive can have")));
        }
        (self.left, self.padding) = (size, padding);
        Ok(())
    }

    fn member(&mut self, header: &Header, size: u64, extensions: Extensions) -> Result<Member, ImageError> {
        let Extensions { long_name, long_link, pax, .. } = extensions;
        let name = self
            .either("name", long_name, pax.sparse_name.or(pax.path))?
            .unwrap_or_else(|| header.path_bytes().into_owned());
        self.name = Some(escape(&name));
        let link = self.either("link target", long_link, pax.link)?;
        let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let size = self.resolve_size(size, pax.size)?;
        let kind = self.kind(header, link, &name)?;
        let size = match kind {
            MemberKind::File => size,
            // The size that old tools give a further name of a file is that of the file, which does not follow.
            MemberKind::HardLink(_) => 0,
            _ if size == 0 => 0,
            _ => {
                return Err(
                    self.corrupt("it is no file but declares content; readers differ in whether any follows")
                );
            }
        };
        self.begin_content(size)?;
        self.sparse = self.read_sparse(header, &kind, pax.sparse)?;
        let old = header.as_old();
        let mode = self.header_number(&old.mode, "mode")?;
        Ok(Member {
            name,
            kind,
            // The file type, which some tools write too, is dropped.
            mode: Mode::from_st_mode(u32::try_from(mode & 0o7777).unwrap_or_default()),
            uid: self.id("owner", &old.uid, pax.uid)?,
            gid: self.id("group", &old.gid, pax.gid)?,
            mtime: self.mtime(&old.mtime, pax.mtime)?,
            xattrs: pax.xattrs,
            offset: self.sparse.is_none().then_some(self.position),
            size: self.sparse.as_ref().map_or(size, |sparse| sparse.size),
        })
    }

    fn kind(&self, header: &Header, link: Vec<u8>, name: &[u8]) -> Result<MemberKind, ImageError> {
        let kind = header.as_old().linkflag[0];
        let names_directory = name.ends_with(b"/");
        Ok(match kind {
            // Before there was a type for directories, a slash made one.
            b'\0' if names_directory => MemberKind::Directory,
            b'0' | b'7' if names_directory => {
                return Err(
                    self.corrupt("it is a file whose name ends with a slash; readers differ in what that is")
                );
            }
            b'\0' | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::HardLink(link),
            b'2' => MemberKind::Symlink(link),
            b'3' => MemberKind::CharDevice(self.device(header)?),
            b'4' => MemberKind::BlockDevice(self.device(header)?),
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            other => {
                return Err(self.unsupported(format!(
                    "members of type {:?} have no meaning in an image",
                    char::from(other)
                )));
            }
        })
    }

    /// GNU and PAX can both lengthen a field; which one counts depends on the reader.
    fn either(
        &self,
        what: &str,
        gnu: Option<Vec<u8>>,
        pax: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        match (gnu, pax) {
            (Some(gnu), Some(pax)) if gnu != pax => {
                Err(self
                    .corrupt(format!("its {what} is one thing in a GNU header and another in a PAX header")))
            }
            (gnu, pax) => Ok(pax.or(gnu)),
        }
    }

    /// A PAX size counts (POSIX); one that contradicts a header that could have held it is an attack: readers that take the
    /// one see other members than readers that take the other (CVE-2025-62518).
    fn resolve_size(&self, header: u64, pax: Option<u64>) -> Result<u64, ImageError> {
        match pax {
            Some(pax) if pax != header && pax <= HEADER_SIZE_MAX => Err(self.corrupt(format!(
                "its size is {pax} in its PAX header and {header} in its own; readers differ in which one counts"
            ))),
            Some(pax) => Ok(pax),
            None => Ok(header),
        }
    }

    fn id(&self, what: &str, field: &[u8], pax: Option<u64>) -> Result<u32, ImageError> {
        let id = match pax {
            Some(id) => id,
            None => self.header_number(field, what)?,
        };
        // The last number stands for "do not change" in every system call.
        let id = u32::try_from(id).ok().filter(|&id| id != u32::MAX);
        id.ok_or_else(|| self.corrupt(format!("its {what} is not a number below 4294967295")))
    }

    fn mtime(&self, field: &[u8], pax: Option<Mtime>) -> Result<Mtime, ImageError> {
        if let Some(mtime) = pax {
            return Ok(mtime);
        }
        let seconds = number::field(field).and_then(|number| i64::try_from(number).ok());
        seconds
            .map(Mtime::from_seconds)
            .ok_or_else(|| self.corrupt("its modification time is not a number of 64 bits"))
    }

    fn device(&self, header: &Header) -> Result<Device, ImageError> {
        let fields = match (header.as_ustar(), header.as_gnu()) {
            (Some(header), _) => (&header.dev_major, &header.dev_minor),
            (_, Some(header)) => (&header.dev_major, &header.dev_minor),
            _ => return Err(self.corrupt("it is a device in a format that has no device numbers")),
        };
        let number = |field: &[u8]| number::field(field).and_then(|number| u32::try_from(number).ok());
        match (number(fields.0), number(fields.1)) {
            (Some(major), Some(minor)) => Ok(Device { major, minor }),
            _ => Err(self.corrupt("its device number does not have 32 bits")),
        }
    }

    fn header_number(&self, field: &[u8], what: &str) -> Result<u64, ImageError> {
        let number = number::field(field).and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| self.corrupt(format!("its {what} is not a number of 64 bits without sign")))
    }

    fn failed(&self, source: io::Error) -> ImageError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            self.corrupt("it is cut off")
        } else {
            ImageError::Io { op: "reading", path: self.origin.path.clone(), source }
        }
    }
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// The sum of a header's bytes, its checksum taken as blanks: as it should be, and as some old tools had it, with signs.
fn checksums(header: &[u8; BLOCK]) -> [i128; 2] {
    let mut sums = [0; 2];
    for (index, &byte) in header.iter().enumerate() {
        let byte = if (148..156).contains(&index) { b' ' } else { byte };
        sums[0] += i128::from(byte);
        sums[1] += i128::from(i8::from_ne_bytes([byte]));
    }
    sums
}
