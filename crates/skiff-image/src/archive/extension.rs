//! Headers that describe the member after them: PAX records, GNU long names.

use skiff_tree::{Mtime, Xattrs};
use tar::Header;

use super::pax::Records;
use super::sparse::PaxSparse;
use super::{Members, number};
use crate::ImageError;
use crate::error::escape;
use crate::input::Input;

/// What the keys of extended attributes begin with.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";
/// What GNU tar writes in their names for what would end a key, and for the sign that marks that.
const ESCAPES: [(u8, &[u8]); 2] = [(b'%', b"%25"), (b'=', b"%3D")];

/// What was said of the next member before its own header.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) pax: Pax,
    has_pax: bool,
}

/// The PAX records that matter in an image. Left aside, as by container engines: names of owners and groups, times of access
/// and change, comments, ACLs in words (`SCHILY.acl.`; the attributes themselves count), and vendors' own.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Xattrs,
    /// The name of a sparse file, whose path is one for readers that know no sparse files.
    pub(super) sparse_name: Option<Vec<u8>>,
    pub(super) sparse: Option<PaxSparse>,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && !self.has_pax
    }
}

impl<I: Input> Members<I> {
    /// Reads what follows an extension's header.
    pub(super) fn read_extension(
        &mut self,
        header: &Header,
        size: u64,
        extensions: &mut Extensions,
    ) -> Result<(), ImageError> {
        if size > self.limits.extension {
            return Err(ImageError::LimitExceeded {
                at: self.location(),
                what: "bytes in one extension header",
                wanted: size,
                limit: self.limits.extension,
            });
        }
        self.begin_content(size)?;
        let mut body = Vec::new();
        self.read_content(|piece| {
            body.extend_from_slice(piece);
            Ok(())
        })?;
        self.skip_content()?;
        match header.as_old().linkflag[0] {
            b'x' if extensions.has_pax => Err(self.corrupt("two PAX headers describe one member")),
            b'x' => {
                extensions.has_pax = true;
                self.take_records(&body, &mut extensions.pax)
            }
            b'g' => self.check_global(&body),
            b'L' => self.take_long(&mut extensions.long_name, body),
            _ => self.take_long(&mut extensions.long_link, body),
        }
    }

    fn take_long(&self, long: &mut Option<Vec<u8>>, body: Vec<u8>) -> Result<(), ImageError> {
        if long.is_some() {
            return Err(self.corrupt("two GNU headers give one member a long name"));
        }
        let end = body.iter().position(|&byte| byte == 0).unwrap_or(body.len());
        *long = Some(body[..end].to_vec());
        Ok(())
    }

    /// Of records with the same key the last counts; one without a value takes back what was said (POSIX). Of extended attributes,
    /// which can be empty, an empty one is one, as for GNU tar.
    fn take_records(&self, body: &[u8], pax: &mut Pax) -> Result<(), ImageError> {
        for record in Records::new(body) {
            let (key, value) = record.map_err(|what| self.corrupt(what))?;
            let some = (!value.is_empty()).then_some(value);
            match key {
                b"path" => pax.path = some.map(<[u8]>::to_vec),
                b"linkpath" => pax.link = some.map(<[u8]>::to_vec),
                b"size" => pax.size = self.parsed(key, some, number::decimal)?,
                b"uid" => pax.uid = self.parsed(key, some, number::decimal)?,
                b"gid" => pax.gid = self.parsed(key, some, number::decimal)?,
                b"mtime" => pax.mtime = self.parsed(key, some, number::time)?,
                b"GNU.sparse.name" => pax.sparse_name = some.map(<[u8]>::to_vec),
                _ if key.starts_with(b"GNU.sparse.") => {
                    self.take_sparse_record(key, some, pax.sparse.get_or_insert_default())?;
                }
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR) {
                        pax.xattrs.insert(decode_xattr_name(name).into(), value.into());
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn parsed<T>(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, ImageError> {
        let Some(value) = value else { return Ok(None) };
        let wrong = || self.corrupt(format!("its PAX record {} cannot be {:?}", escape(key), escape(value)));
        parse(value).map(Some).ok_or_else(wrong)
    }

    /// Records for all members that follow: some readers apply them, others do not. A comment, which `git archive` writes,
    /// changes nothing.
    fn check_global(&self, body: &[u8]) -> Result<(), ImageError> {
        for record in Records::new(body) {
            let (key, _) = record.map_err(|what| self.corrupt(what))?;
            if key != b"comment" {
                let what =
                    format!("its PAX record {} is for all members, and readers differ in that", escape(key));
                return Err(self.unsupported(what));
            }
        }
        Ok(())
    }
}

/// The name of an extended attribute as a PAX key has it.
pub(crate) fn encode_xattr_name(name: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| ESCAPES.iter().find(|(plain, _)| plain == byte);
    name.iter().flat_map(|byte| escape(byte).map_or(vec![*byte], |(_, escaped)| escaped.to_vec())).collect()
}

fn decode_xattr_name(name: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), name);
    while let Some(&first) = rest.first() {
        let escape = ESCAPES.iter().find(|(_, escaped)| rest.starts_with(escaped));
        let (byte, length) = escape.map_or((first, 1), |(plain, escaped)| (*plain, escaped.len()));
        decoded.push(byte);
        rest = &rest[length..];
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attributes_survive() {
        let name = b"user.a=b%c%3D\xff";
        assert_eq!(encode_xattr_name(name), b"user.a%3Db%25c%253D\xff");
        assert_eq!(decode_xattr_name(&encode_xattr_name(name)), name);
        assert_eq!(decode_xattr_name(b"user.%41%"), b"user.%41%");
    }
}
