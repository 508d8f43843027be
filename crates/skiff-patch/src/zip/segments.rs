//! From pieces to payloads.

use skiff_wire::{put_bytes, put_varint};

use super::chunks::{Chunk, Placed};
use super::encode::Segment;
use super::old::OldArchive;
use super::pieces::{Piece, Writer};
use crate::deflate::Compressor;
use crate::{Codec, PatchError};

/// Makes the payload of a chunk's texts.
pub(super) type Coder<'c> = dyn FnMut(&Chunk) -> Result<(Codec, Vec<u8>), PatchError> + 'c;

/// Joins chunks to segments: as many as fit `most` bytes, because what a directory says of members in another segment is sent.
pub(super) fn assemble(
    archives: &[OldArchive],
    chunks: &[Chunk],
    (length, most): (usize, usize),
    coder: &mut Coder<'_>,
) -> Result<Vec<Segment>, PatchError> {
    let mut segments = Vec::new();
    let mut state = State::default();
    let mut builder = Builder::default();
    for chunk in chunks {
        if builder.length() > 0 && builder.length() + chunk.estimate() > most {
            let next = Builder::resume(&mut state, chunk.start as u64);
            segments.push(std::mem::replace(&mut builder, next).finish(archives, chunk.start as u64));
        }
        builder.chunk(chunk, &mut state, coder)?;
    }
    segments.push(builder.finish(archives, length as u64));
    Ok(segments)
}

/// What a decoder knows between two pieces.
#[derive(Default)]
struct State {
    compressor: Option<Compressor>,
    archives: Vec<Begun>,
}

/// An archive that has begun.
struct Begun {
    start: u64,
    /// Members in segments before.
    skipped: u64,
    members: u64,
}

/// A segment under way.
#[derive(Default)]
struct Builder {
    start: u64,
    writer: Writer,
    payload: Vec<u8>,
    largest_text: u64,
    largest_old_text: u64,
    largest_plain: u64,
    most_members: u64,
    reads_source: bool,
}

impl Builder {
    /// A segment that goes on where another one ended.
    fn resume(state: &mut State, start: u64) -> Self {
        let mut builder = Self { start, ..Self::default() };
        if let Some(compressor) = state.compressor {
            builder.writer.push(&Piece::Compressor(compressor));
        }
        for archive in &mut state.archives {
            archive.skipped += std::mem::take(&mut archive.members);
            builder.writer.push(&Piece::Begin { before: start - archive.start });
        }
        builder
    }

    fn length(&self) -> usize {
        self.payload.len() + self.writer.kinds.len() + self.writer.numbers.len()
    }

    fn chunk(&mut self, chunk: &Chunk, state: &mut State, coder: &mut Coder<'_>) -> Result<(), PatchError> {
        let mut chunk = Chunk { texts: None, ..chunk.clone() };
        for placed in &mut chunk.pieces {
            if self.learn(placed, state) {
                // It was compared with less left of it.
                chunk.compared = None;
            }
        }
        if chunk.text_length > 0 {
            let (codec, payload) = coder(&chunk)?;
            let (text_length, payload_length) = (chunk.text_length as u64, payload.len() as u64);
            self.writer.push(&Piece::Group { codec: codec.id().into(), text_length, payload_length });
            self.payload.extend(payload);
            self.largest_text = self.largest_text.max(text_length);
            self.largest_old_text = self.largest_old_text.max(chunk.old_text_length as u64);
        }
        for placed in chunk.pieces {
            self.writer.push(&placed.piece);
        }
        Ok(())
    }

    /// Follows a piece. True where it is a directory that cannot know of all its members, and is told so.
    fn learn(&mut self, placed: &mut Placed, state: &mut State) -> bool {
        let mut members = 0;
        let mut is_told = false;
        self.reads_source |= placed.base().is_some();
        match &mut placed.piece {
            Piece::Compressor(compressor) => state.compressor = Some(*compressor),
            Piece::Begin { before } => {
                let start = (placed.range.start as u64).saturating_sub(*before);
                state.archives.push(Begun { start, skipped: 0, members: 0 });
            }
            Piece::Same { count, .. } => {
                members = *count;
                self.reads_source = true;
            }
            Piece::Made { plain_length, .. } => {
                members = 1;
                self.largest_plain = self.largest_plain.max(*plain_length);
            }
            Piece::Kept { .. } | Piece::Opaque { .. } => members = 1,
            Piece::Directory { skipped, .. } => {
                *skipped = state.archives.pop().map_or(0, |archive| archive.skipped);
                is_told = *skipped > 0;
            }
            Piece::Group { .. } | Piece::Raw { .. } => {}
        }
        if let Some(archive) = state.archives.last_mut() {
            archive.members += members;
        }
        let held = state.archives.iter().map(|archive| archive.members).sum();
        self.most_members = self.most_members.max(held);
        is_told
    }

    /// The segment, which ends at `end`.
    fn finish(self, archives: &[OldArchive], end: u64) -> Segment {
        let archives = if self.reads_source { archives } else { &[] };
        let mut payload = Vec::with_capacity(self.length() + 64);
        put_varint(&mut payload, archives.len() as u64);
        for archive in archives {
            for number in [archive.start, archive.directory, archive.directory_length, archive.entries] {
                put_varint(&mut payload, number);
            }
        }
        let head =
            [self.start, self.largest_text, self.largest_old_text, self.largest_plain, self.most_members];
        for number in head {
            put_varint(&mut payload, number);
        }
        put_bytes(&mut payload, &self.writer.kinds);
        put_bytes(&mut payload, &self.writer.numbers);
        payload.extend(self.payload);
        Segment { output_len: end - self.start, payload, reads_source: self.reads_source }
    }
}
