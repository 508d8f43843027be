//! From pieces to payloads.

use skiff_wire::{put_bytes, put_varint};

use super::encode::{Options, Segment};
use super::old::{OldArchive, zero_directory};
use super::pieces::{Piece, Writer};
use crate::deflate::Compressor;
use crate::{Codec, inner};

/// Pieces that begin with a group, or need none.
pub(super) struct Chunk {
    /// With where they are in the new archive.
    pieces: Vec<(Piece, u64)>,
    start: u64,
    /// Where in the text directories are, as they were.
    directories: Vec<usize>,
    pub(super) text: Vec<u8>,
    pub(super) old_text: Vec<u8>,
    encoded: Option<(Codec, Vec<u8>)>,
    lengths: (u64, u64),
}

impl Chunk {
    pub(super) fn new(start: usize) -> Self {
        Self {
            pieces: Vec::new(),
            start: start as u64,
            directories: Vec::new(),
            text: Vec::new(),
            old_text: Vec::new(),
            encoded: None,
            lengths: (0, 0),
        }
    }

    pub(super) fn push(&mut self, piece: Piece, at: usize) {
        if let Piece::Directory { .. } = piece {
            self.directories.push(self.text.len());
        }
        self.pieces.push((piece, at as u64));
    }

    pub(super) fn last_piece(&mut self) -> Option<&mut Piece> {
        self.pieces.last_mut().map(|(piece, _)| piece)
    }

    /// Puts the inner payload in the place of the texts, if they can be known yet.
    pub(super) fn encode_if_final(&mut self) {
        if self.directories.is_empty() {
            self.encode();
        }
    }

    fn encode(&mut self) {
        let (text, old_text) = (std::mem::take(&mut self.text), std::mem::take(&mut self.old_text));
        self.lengths = (text.len() as u64, old_text.len() as u64);
        if self.encoded.is_none() && !text.is_empty() {
            self.encoded = Some(inner::encode(&old_text, &text));
        }
    }

    /// How long its payload is, or at most becomes, about.
    fn payload_length(&self) -> usize {
        self.encoded.as_ref().map_or(self.text.len(), |(_, payload)| payload.len())
    }
}

/// Joins chunks to segments: as many as fit, because what a directory says of members in another segment is sent.
pub(super) fn assemble(
    archives: &[OldArchive],
    chunks: Vec<Chunk>,
    (length, options): (usize, &Options),
) -> Vec<Segment> {
    let most = usize::try_from(options.segment_bytes.get()).unwrap_or(usize::MAX);
    let mut segments = Vec::new();
    let mut state = State::default();
    let mut builder = Builder::default();
    for chunk in chunks {
        if builder.length() > 0 && builder.length() + chunk.payload_length() > most {
            let next = Builder::resume(&mut state, chunk.start);
            segments.push(std::mem::replace(&mut builder, next).finish(archives, chunk.start));
        }
        builder.chunk(chunk, &mut state);
    }
    segments.push(builder.finish(archives, length as u64));
    segments
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

    fn chunk(&mut self, mut chunk: Chunk, state: &mut State) {
        let mut directories = std::mem::take(&mut chunk.directories).into_iter();
        for (piece, at) in &mut chunk.pieces {
            self.learn(piece, *at, state);
            if let Piece::Directory { entries, skipped, .. } = piece
                && let Some(text) = directories.next()
            {
                zero_directory(&mut chunk.text[text..], *skipped..*entries);
            }
        }
        if chunk.encoded.is_none() {
            chunk.encode();
        }
        if let Some((codec, payload)) = chunk.encoded {
            let (text_length, old_text_length) = chunk.lengths;
            let payload_length = payload.len() as u64;
            self.writer.push(&Piece::Group { codec: codec.id().into(), text_length, payload_length });
            self.payload.extend(payload);
            self.largest_text = self.largest_text.max(text_length);
            self.largest_old_text = self.largest_old_text.max(old_text_length);
        }
        for (piece, _) in chunk.pieces {
            self.writer.push(&piece);
        }
    }

    /// Follows a piece, and tells a directory what it cannot know of its members.
    fn learn(&mut self, piece: &mut Piece, at: u64, state: &mut State) {
        let mut members = 0;
        match piece {
            Piece::Compressor(compressor) => state.compressor = Some(*compressor),
            Piece::Begin { before } => {
                state.archives.push(Begun { start: at.saturating_sub(*before), skipped: 0, members: 0 });
            }
            Piece::Same { count, .. } => {
                members = *count;
                self.reads_source = true;
            }
            Piece::Kept { .. } => {
                members = 1;
                self.reads_source = true;
            }
            Piece::Made { base, plain_length, .. } => {
                members = 1;
                self.reads_source |= base.is_some();
                self.largest_plain = self.largest_plain.max(*plain_length);
            }
            Piece::Opaque { base, .. } => {
                members = 1;
                self.reads_source |= base.is_some();
            }
            Piece::Directory { base, skipped, .. } => {
                self.reads_source |= base.is_some();
                *skipped = state.archives.pop().map_or(0, |archive| archive.skipped);
            }
            Piece::Group { .. } | Piece::Raw { .. } => {}
        }
        if let Some(archive) = state.archives.last_mut() {
            archive.members += members;
        }
        let held = state.archives.iter().map(|archive| archive.members).sum();
        self.most_members = self.most_members.max(held);
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
