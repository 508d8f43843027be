//! Pieces and their texts.

use std::io::{Read, Seek};
use std::ops::Range;

use super::old::{Extent, Units, zero_directory};
use super::pieces::Piece;
use super::records::{STORED, local_length, local_method, local_sums};
use crate::{Codec, Effort, PatchError, Source, align, deflate, inner};

/// A piece, and the bytes of the new archive that it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) piece: Piece,
    /// Without a descriptor.
    pub(super) range: Range<usize>,
    /// Of a directory, the entries of members of which nothing is known but the place.
    pub(super) opaque: Vec<u64>,
}

impl Placed {
    /// The text that the piece takes from its group.
    pub(super) fn text(&self, new: &[u8]) -> Option<Vec<u8>> {
        let bytes = new.get(self.range.clone())?;
        match self.piece {
            Piece::Raw { .. } | Piece::Opaque { .. } => Some(bytes.to_vec()),
            Piece::Directory { entries, skipped, .. } => {
                let mut text = bytes.to_vec();
                zero_directory(&mut text, skipped..entries, &self.opaque);
                Some(text)
            }
            Piece::Kept { form, .. } | Piece::Made { form, .. } => {
                let (header, content) = bytes.split_at_checked(local_length(bytes)?)?;
                let mut text = header.to_vec();
                if form.in_header {
                    local_sums(&mut text)?.fill(0);
                }
                if let Piece::Made { plain_length, .. } = self.piece {
                    if local_method(header)? == STORED {
                        text.extend_from_slice(content);
                    } else {
                        text.extend(deflate::inflate(content, plain_length)?);
                    }
                }
                Some(text)
            }
            Piece::Group { .. } | Piece::Same { .. } | Piece::Compressor(_) | Piece::Begin { .. } => {
                Some(Vec::new())
            }
        }
    }

    /// What of the old archive that text is made from.
    pub(super) fn base(&self) -> Option<(u64, Extent)> {
        self.piece.base()
    }
}

/// Pieces of one group, and those between it and the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) pieces: Vec<Placed>,
    pub(super) start: usize,
    /// How long the texts are.
    pub(super) text_length: usize,
    pub(super) old_text_length: usize,
    /// The content of its members as it is in the archive.
    pub(super) packed: usize,
    /// The texts, old and new, until they are compared.
    pub(super) texts: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) compared: Option<Compared>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compared {
    /// A payload.
    Encoded(Codec, Vec<u8>),
    /// What becomes one.
    Planned(align::Plan),
}

impl Chunk {
    pub(super) fn new(start: usize) -> Self {
        Self {
            pieces: Vec::new(),
            start,
            text_length: 0,
            old_text_length: 0,
            packed: 0,
            texts: None,
            compared: None,
        }
    }

    /// Whether texts of these lengths go into a group of about `most` bytes; one goes into an empty one whatever its length.
    pub(super) fn has_room(&self, text: usize, old_text: usize, most: usize) -> bool {
        let fits = |held: usize, more: usize| held.saturating_add(more) <= most;
        self.text_length == 0 || (fits(self.text_length, text) && fits(self.old_text_length, old_text))
    }

    pub(super) fn add(&mut self, placed: Placed, text: &[u8], old_text: &[u8]) {
        self.packed += placed.range.len();
        self.pieces.push(placed);
        self.text_length += text.len();
        self.old_text_length += old_text.len();
        let texts = self.texts.get_or_insert_default();
        texts.0.extend_from_slice(old_text);
        texts.1.extend_from_slice(text);
    }

    /// Compares the texts, for a payload that depends on the frame.
    pub(super) fn plan(&mut self, options: &align::Options) {
        if let Some((old_text, text)) = self.texts.take() {
            let plan = align::Plan::new(&old_text, &text, options);
            self.compared = Some(Compared::Planned(plan));
        }
    }

    /// Compares the texts, for a payload that does not.
    pub(super) fn encode(&mut self, effort: Effort) {
        if let Some((old_text, text)) = self.texts.take() {
            let (codec, payload) = inner::encode(&old_text, &text, effort);
            self.compared = Some(Compared::Encoded(codec, payload));
        }
    }

    /// About how long its payload is.
    pub(super) fn estimate(&self) -> usize {
        match &self.compared {
            None => self.text_length,
            Some(Compared::Encoded(_, payload)) => payload.len(),
            // A compressor that learns is better than the one that made the archive.
            Some(Compared::Planned(plan)) => {
                let plan = usize::try_from(plan.forecast().estimate).unwrap_or(usize::MAX);
                plan.min(self.packed / 4 * 3 + 32 * self.pieces.len())
            }
        }
    }

    /// What decoding the comparison takes.
    pub(super) fn decoder_memory(&self) -> u64 {
        match &self.compared {
            Some(Compared::Planned(plan)) => plan.forecast().decoder_memory,
            _ => 0,
        }
    }

    pub(super) fn text(&self, new: &[u8]) -> Result<Vec<u8>, PatchError> {
        let mut text = Vec::with_capacity(self.text_length);
        for placed in &self.pieces {
            text.extend(placed.text(new).ok_or_else(changed)?);
        }
        Ok(text)
    }

    pub(super) fn old_text<S: Read + Seek>(
        &self,
        units: &mut Units,
        source: &mut Source<S>,
    ) -> Result<Vec<u8>, PatchError> {
        let mut text = Vec::with_capacity(self.old_text_length);
        for wanted in self.pieces.iter().filter_map(Placed::base) {
            units.append_text(source, wanted, &mut text)?;
        }
        Ok(text)
    }
}

pub(super) fn changed() -> PatchError {
    PatchError::corrupt(0, "the file changed while it was read")
}
