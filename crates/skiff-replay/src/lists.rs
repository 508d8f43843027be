//! Sources that are lists of checksums, renewed.

use skiff_patch::PatchError;
use skiff_tree::{ContentDigest, ReadAt, SkeletonContent};

use crate::contents::{Followed, Frame, Outlet, Stopped};
use crate::renew::{Checksum, MAX_LIST, Named, md5, renew};
use crate::{ReplayError, Sink};

/// A list may be so many times as long as what is made of it: else many records could have it renewed for a byte each.
const RENEWED_PER_OUTPUT: u64 = 2;

impl Followed {
    /// The list at a place among the base's entries, with the checksums of what is whole, for a record that makes so much of it.
    pub(crate) fn renewed<'f, S: Sink>(
        &mut self,
        frame: &Frame<'f, '_>,
        (list, index): (&dyn ReadAt, u32),
        (number, output_len): (u32, u64),
        outlet: &mut impl Outlet<S>,
    ) -> Result<Vec<u8>, Stopped<S::Error>>
    where
        S::Content: 'f,
    {
        if list.size() > output_len.saturating_mul(RENEWED_PER_OUTPUT).min(MAX_LIST) {
            return Err(frame.corrupt("a list that is too long to be renewed").into());
        }
        let path = frame.base.tree.entries()[index as usize].path.clone();
        let list = skiff_tree::read_all(&list).map_err(|source| ReplayError::Base { path, source })?;
        let new = frame.skeleton.new_contents();
        let home = &frame.skeleton.entries()[new[number as usize].entry as usize].path;
        renew(&list, home, |path, kind| {
            let number = match frame.skeleton.content_at(path) {
                None => return Ok(Named::Nothing),
                Some(SkeletonContent::New { number }) if self.whole[number as usize] => number,
                Some(_) => return Ok(Named::Kept),
            };
            let size = new[number as usize].size;
            let checksum = match kind {
                Checksum::Sha256 => self.digest(number, outlet)?.as_bytes().to_vec(),
                Checksum::Md5 => self.md5(frame, (number, size), outlet)?.to_vec(),
            };
            Ok(Named::New { size, checksum })
        })
    }

    /// Asked for once, however many lines tell it.
    fn digest<S: Sink>(
        &mut self,
        number: u32,
        outlet: &mut impl Outlet<S>,
    ) -> Result<ContentDigest, Stopped<S::Error>> {
        if let Some(known) = self.digests.get(&number) {
            return Ok(*known);
        }
        let digest = outlet.digest(number)?;
        self.digests.insert(number, digest);
        Ok(digest)
    }

    /// Computed once, however many lines tell it.
    fn md5<'f, S: Sink>(
        &mut self,
        frame: &Frame<'f, '_>,
        (number, size): (u32, u64),
        outlet: &mut impl Outlet<S>,
    ) -> Result<[u8; 16], Stopped<S::Error>>
    where
        S::Content: 'f,
    {
        if let Some(known) = self.md5.get(&number) {
            return Ok(*known);
        }
        let checksum = md5(&outlet.open(number)?, size).map_err(|source| ReplayError::Patch {
            offset: frame.offset,
            number,
            source: PatchError::Io { stream: skiff_patch::Stream::Source, source },
        })?;
        self.md5.insert(number, checksum);
        Ok(checksum)
    }
}
