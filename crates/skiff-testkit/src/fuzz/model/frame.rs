//! Frames and their payloads.

use skiff_format::{Compressor, FrameInfo};
use xz2::stream::{Action, LzmaOptions, Status, Stream};

use super::contents::{self, Record};
use super::item::{self, Item, Shape};
use super::{CONTENTS, TREE};
use crate::fuzz::naive::{self, Base, NewContent};

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) section: u64,
    pub(crate) flags: u64,
    pub(crate) how: How,
    pub(crate) payload: Payload,
    /// The row of the table, where it lies: which of its numbers, and what is told instead.
    pub(crate) lie: Option<(usize, u64)>,
    /// Where the compressed bytes are damaged before they are hashed, and how.
    pub(crate) damage: Option<(u16, u8)>,
    /// Whether the table has another digest.
    pub(crate) wrong_digest: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Stored,
    Lzma,
    Zstandard,
    Mixed,
}

#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Bytes(Vec<u8>),
    Tree(Vec<Vec<Item>>),
    Contents(Vec<Record>),
}

impl Frame {
    pub(crate) fn new(section: u64, payload: Payload) -> Self {
        Self { section, flags: 0, how: How::Stored, payload, lie: None, damage: None, wrong_digest: false }
    }

    /// Takes a frame apart; `new` is what its tree section tells, known before the contents.
    pub(super) fn read(
        row: &FrameInfo,
        payload: Vec<u8>,
        (base, new): (&Base, &mut Vec<NewContent>),
    ) -> Self {
        let section = match row.section {
            skiff_format::Section::Config => super::CONFIG,
            skiff_format::Section::Manifest => super::MANIFEST,
            skiff_format::Section::Tree => TREE,
            skiff_format::Section::Contents => CONTENTS,
            skiff_format::Section::Unknown(number) => number,
        };
        let payload = match section {
            TREE => {
                *new = naive::new_contents(&payload, base, &skiff_tree::Limits::default());
                Payload::Tree(columns(&payload))
            }
            CONTENTS => Payload::Contents(contents::read(&payload, new)),
            _ => Payload::Bytes(payload),
        };
        let how = match row.compressor {
            Compressor::Stored => How::Stored,
            Compressor::Xz { .. } => How::Lzma,
            Compressor::Zstd { .. } => How::Zstandard,
            Compressor::Mixed => How::Mixed,
            _ => How::Stored,
        };
        Self { flags: u64::from(row.skippable), how, ..Self::new(section, payload) }
    }

    /// Its row of the table, and its bytes.
    pub(super) fn put(&self, new: &[NewContent]) -> (Vec<Item>, Vec<u8>) {
        let payload = self.payload.put(new);
        let (compressor, parameter, mut bytes) = compress(self.how, &payload);
        if let Some((at, by)) = self.damage
            && !bytes.is_empty()
        {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= by;
        }
        let mut digest = skiff_wire::digest::sha256(&bytes);
        digest[0] ^= u8::from(self.wrong_digest);
        let (encoded, decoded) = (bytes.len() as u64, payload.len() as u64);
        let mut row = [self.section, self.flags, compressor, parameter, encoded, decoded];
        if let Some((place, told)) = self.lie {
            row[place % row.len()] = told;
        }
        let mut row: Vec<Item> = row.into_iter().map(Item::Integer).collect();
        row.push(Item::Raw(digest.to_vec()));
        (row, bytes)
    }
}

impl Payload {
    pub(crate) fn put(&self, new: &[NewContent]) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Contents(records) => contents::put(records, new),
            Self::Tree(columns) => {
                let columns: Vec<Vec<u8>> = columns.iter().map(|column| item::put_all(column)).collect();
                let mut out = Vec::new();
                columns
                    .iter()
                    .take(15)
                    .for_each(|column| skiff_wire::put_varint(&mut out, column.len() as u64));
                out.extend(columns.concat());
                out
            }
        }
    }

    pub(crate) fn records(&mut self) -> impl Iterator<Item = &mut Record> {
        match self {
            Self::Contents(records) => records.iter_mut(),
            _ => [].iter_mut(),
        }
    }

    pub(crate) fn column(&mut self, place: usize) -> Option<&mut Vec<Item>> {
        match self {
            Self::Tree(columns) => columns.get_mut(place),
            _ => None,
        }
    }
}

/// The columns of a sound tree section; what follows them would be a sixteenth.
fn columns(section: &[u8]) -> Vec<Vec<Item>> {
    use Shape::{Byte, Bytes, Integer, Pairs};
    const SHAPES: [Shape; 15] = [
        Integer, Byte, Integer, Bytes, Byte, Integer, Integer, Integer, Integer, Pairs, Integer, Integer,
        Bytes, Integer, Integer,
    ];
    let mut left = naive::Bytes(section);
    let lengths = SHAPES.map(|_| left.integer().expect("because the section is sound"));
    let mut columns: Vec<Vec<Item>> = Vec::new();
    for (length, shape) in lengths.into_iter().zip(SHAPES) {
        let column = left.take(length).expect("because the section is sound");
        columns.push(item::read_all(column, &[shape]));
    }
    columns
}

/// The compressor's number and parameter, and the bytes; stored where nothing is gained, as encoders do.
fn compress(how: How, payload: &[u8]) -> (u64, u64, Vec<u8>) {
    let log = u64::from(payload.len().next_power_of_two().trailing_zeros());
    let (compressor, parameter, bytes) = match how {
        How::Stored => (0, 0, payload.to_vec()),
        How::Lzma => lzma(payload, log.max(12)),
        How::Zstandard => (2, log.max(10), zstd::bulk::compress(payload, 1).unwrap_or_default()),
        How::Mixed => (3, 0, skiff_coder::Text::encode(payload)),
    };
    if bytes.is_empty() || bytes.len() >= payload.len() {
        return (0, 0, payload.to_vec());
    }
    (compressor, parameter, bytes)
}

fn lzma(payload: &[u8], log: u64) -> (u64, u64, Vec<u8>) {
    let mut options = LzmaOptions::new_preset(0).expect("because the preset is known");
    options.dict_size(1 << log);
    let mut stream = Stream::new_lzma_encoder(&options).expect("because the options are right");
    let mut bytes = Vec::with_capacity(payload.len() * 2 + 100);
    let status = stream.process_vec(payload, &mut bytes, Action::Finish);
    assert_eq!(status.ok(), Some(Status::StreamEnd), "there is room");
    let stream = bytes.split_off(13);
    (1, ((log - 12) * 2) << 8 | u64::from(bytes[0]), stream)
}
