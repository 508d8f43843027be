//! What stands before the texts in a payload.

use skiff_wire::Input;

use super::decode::MEMBER_BYTES;
use super::old::{INFLATE_MEMORY, OldArchive, UNIT_BYTES};
use super::pieces::{Piece, Pieces};
use super::records::CENTRAL_BYTES;
use crate::deflate::{self, COMPRESSOR_MEMORY};
use crate::inner::Inner;
use crate::opened;
use crate::{Job, PatchError, source};

/// A payload, taken apart.
pub(super) struct Head<'a> {
    pub(super) archives: Vec<OldArchive>,
    /// Where in the new archive the output begins.
    pub(super) start: u64,
    pub(super) largest_text: u64,
    pub(super) largest_old_text: u64,
    pub(super) largest_plain: u64,
    pub(super) most_members: u64,
    pub(super) pieces: Pieces<'a>,
    pub(super) payloads: &'a [u8],
    pub(super) payloads_offset: u64,
}

impl<'a> Head<'a> {
    pub(super) fn read(job: &Job<'a>) -> Result<Self, PatchError> {
        let mut input = Input::new(job.payload);
        let count = input.varint()?;
        let offset = input.offset();
        // An archive takes four bytes at least: the vector does not outgrow the payload by much.
        if count > input.rest().len() as u64 / 4 {
            return Err(PatchError::corrupt(offset, "there are more archives than bytes"));
        }
        let mut archives = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for _ in 0..count {
            archives.push(OldArchive {
                start: input.varint()?,
                directory: input.varint()?,
                directory_length: input.varint()?,
                entries: input.varint()?,
            });
        }
        let start = input.varint()?;
        let (largest_text, largest_old_text) = (input.varint()?, input.varint()?);
        let (largest_plain, most_members) = (input.varint()?, input.varint()?);
        let kinds_length = input.varint()?;
        let kinds = input.slice(kinds_length)?;
        let numbers_length = input.varint()?;
        let numbers_offset = input.offset();
        let numbers = input.slice(numbers_length)?;
        let pieces = Pieces::new(kinds, numbers, numbers_offset);
        Ok(Self {
            archives,
            start,
            largest_text,
            largest_old_text,
            largest_plain,
            most_members,
            pieces,
            payloads: input.rest(),
            payloads_offset: input.offset(),
        })
    }

    /// What decoding holds at most.
    pub(super) fn memory(&self, output_len: u64) -> Result<u64, PatchError> {
        let entries = self.archives.iter().map(|archive| archive.entries.saturating_add(1));
        let parts = [
            entries.fold(0, u64::saturating_add).saturating_mul(UNIT_BYTES),
            // While it grows there are two of it.
            self.most_members.saturating_mul(2 * MEMBER_BYTES),
            self.largest_text,
            self.largest_old_text,
            self.largest_plain,
            deflate::longest(self.largest_plain).min(output_len),
            (self.archives.len() as u64).saturating_mul(size_of::<OldArchive>() as u64),
            self.inner_memory()?,
        ];
        let fixed = COMPRESSOR_MEMORY + INFLATE_MEMORY + source::BUFFER_BYTES;
        Ok(parts.into_iter().fold(fixed, u64::saturating_add))
    }

    /// What the inner codecs take at most.
    fn inner_memory(&self) -> Result<u64, PatchError> {
        let mut most = 0;
        let (mut payloads, mut payloads_offset) = (self.payloads, self.payloads_offset);
        let mut pieces = self.pieces.clone();
        while let Some(piece) = pieces.next()? {
            if let Piece::Group { codec, text_length, payload_length } = piece {
                let job = next_inner(&mut payloads, (codec, text_length, payload_length))?;
                most = Inner { job, offset: payloads_offset }.memory()?.max(most);
                payloads_offset += payload_length;
            }
        }
        Ok(most)
    }

    /// That every piece can be read, and keeps what the head promises, is known before anything is written.
    pub(super) fn check_pieces(&self, output_len: u64) -> Result<(), PatchError> {
        let mut pieces = self.pieces.clone();
        let mut payloads = self.payloads;
        let mut texts = 0_u64;
        loop {
            let offset = pieces.offset();
            let Some(piece) = pieces.next()? else { break };
            match piece {
                Piece::Group { codec, text_length, payload_length } => {
                    next_inner(&mut payloads, (codec, text_length, payload_length))?;
                    if text_length > self.largest_text {
                        return Err(PatchError::corrupt(offset, "a group's text is longer than promised"));
                    }
                    texts = texts.saturating_add(text_length);
                }
                Piece::Made { plain_length, .. } if plain_length > self.largest_plain => {
                    return Err(PatchError::corrupt(offset, "a member is longer than promised"));
                }
                _ => {}
            }
        }
        if !pieces.is_at_end() || !payloads.is_empty() {
            return Err(PatchError::corrupt(pieces.offset(), "the payload goes on behind its last piece"));
        }
        opened::allow(output_len, &[texts])
    }

    /// Directories are apart from each other, so that reading them costs no more than reading the source.
    pub(super) fn check_archives(&self, source_length: u64) -> Result<(), PatchError> {
        let mut before = 0;
        for archive in &self.archives {
            let end = archive.directory.checked_add(archive.directory_length);
            let least = archive.entries.checked_mul(CENTRAL_BYTES as u64);
            let is_within = archive.directory >= before
                && end.is_some_and(|end| end <= source_length)
                && least.is_some_and(|least| least <= archive.directory_length);
            if !is_within {
                return Err(PatchError::corrupt(0, "a directory is out of place"));
            }
            before = end.unwrap_or(source_length);
        }
        Ok(())
    }
}

/// Takes the payload of a group.
pub(super) fn next_inner<'a>(
    payloads: &mut &'a [u8],
    (codec, text_length, payload_length): (u64, u64, u64),
) -> Result<Job<'a>, PatchError> {
    let codec = Inner::codec(codec).ok_or(PatchError::corrupt(0, "this codec cannot be an inner one"))?;
    let payload = usize::try_from(payload_length).ok().and_then(|length| payloads.split_off(..length));
    let payload = payload.ok_or(PatchError::corrupt(0, "a group is longer than the payload"))?;
    Ok(Job::new(codec, payload, text_length))
}
