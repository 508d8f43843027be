//! Checksums of finished contents, each computed once: a list may be renewed by many records.

use std::collections::HashMap;

use skiff_patch::PatchError;
use skiff_tree::ReadAt;

use crate::ReplayError;
use crate::contents::Frame;
use crate::renew;

/// What was computed so far, by the numbers of contents.
#[derive(Default)]
pub(crate) struct Checksums(HashMap<u32, [u8; 16]>);

impl Checksums {
    pub(crate) fn md5<C: ReadAt, E: std::error::Error>(
        &mut self,
        frame: &Frame<'_, '_>,
        (number, size): (u32, u64),
        open: impl FnOnce() -> Result<C, ReplayError<E>>,
    ) -> Result<[u8; 16], ReplayError<E>> {
        if let Some(known) = self.0.get(&number) {
            return Ok(*known);
        }
        let checksum = renew::md5(&open()?, size).map_err(|source| ReplayError::Patch {
            offset: frame.offset,
            number,
            source: PatchError::Io { stream: skiff_patch::Stream::Source, source },
        })?;
        self.0.insert(number, checksum);
        Ok(checksum)
    }
}
