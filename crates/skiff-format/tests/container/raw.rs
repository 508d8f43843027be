//! Deltas written byte by byte from `doc/format.md`, without the encoder: they can say what it never would.
#![allow(dead_code, reason = "each test binary uses its part of this")]

use sha2::{Digest as _, Sha256};

/// A delta in its parts; what is not touched is right.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
    pub(crate) reserved: u16,
    /// The block of signatures, and its length, where it is not its own.
    pub(crate) signatures: Vec<u8>,
    pub(crate) signatures_len: Option<u32>,
    /// The header body up to the table of frames, part by part.
    pub(crate) codecs: Vec<u8>,
    pub(crate) bases: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) facts: Vec<u8>,
    pub(crate) extensions: Vec<u8>,
    /// The count of frames, where it is not theirs.
    pub(crate) count: Option<Vec<u8>>,
    pub(crate) rows: Vec<Row>,
    pub(crate) after_table: Vec<u8>,
    pub(crate) after_frames: Vec<u8>,
}

/// A frame and its row of the table.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) kind: u64,
    pub(crate) flags: u64,
    pub(crate) compressor: u64,
    pub(crate) parameter: u64,
    pub(crate) encoded: u64,
    pub(crate) decoded: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: Vec<u8>,
}

impl Raw {
    /// A delta for one base, without config, manifest and codecs.
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self {
            magic: *b"\x89SKF\r\n\x1a\n",
            version: skiff_format::VERSION,
            reserved: 0,
            signatures: Vec::new(),
            signatures_len: None,
            codecs: vec![0],
            bases: [&[1][..], &[0xb0; 64]].concat(),
            target: [&[0xd0; 64][..], &[0, 0]].concat(),
            facts: vec![0; 8],
            extensions: vec![0],
            count: None,
            rows,
            after_table: Vec::new(),
            after_frames: Vec::new(),
        }
    }

    /// One stored frame of a tree.
    pub(crate) fn small() -> Self {
        Self::new(vec![Row::stored(3, b"tree")])
    }

    /// Everything before the first frame.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut body = [&self.codecs[..], &self.bases, &self.target, &self.facts, &self.extensions].concat();
        let count = varint(self.rows.len() as u64);
        body.extend_from_slice(self.count.as_ref().unwrap_or(&count));
        for row in &self.rows {
            for value in [row.kind, row.flags, row.compressor, row.parameter, row.encoded, row.decoded] {
                body.extend(varint(value));
            }
            body.extend_from_slice(&row.digest);
        }
        body.extend_from_slice(&self.after_table);
        let mut header = self.magic.to_vec();
        header.extend_from_slice(&self.version.to_le_bytes());
        header.extend_from_slice(&self.reserved.to_le_bytes());
        header.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        let digest = Sha256::digest([&header[..], &body].concat());
        header.extend_from_slice(&digest);
        let signatures_len = u32::try_from(self.signatures.len()).unwrap();
        header.extend_from_slice(&self.signatures_len.unwrap_or(signatures_len).to_le_bytes());
        [header, body, self.signatures.clone()].concat()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        self.rows.iter().for_each(|row| bytes.extend_from_slice(&row.bytes));
        [&bytes[..], &self.after_frames].concat()
    }
}

impl Row {
    pub(crate) fn stored(kind: u64, payload: &[u8]) -> Self {
        Self::compressed(kind, (0, 0), payload.to_vec(), payload.len() as u64)
    }

    /// A row with a compressor and its parameter, and the declared size of the payload.
    pub(crate) fn compressed(kind: u64, compressor: (u64, u64), bytes: Vec<u8>, decoded: u64) -> Self {
        let (compressor, parameter) = compressor;
        let (encoded, digest) = (bytes.len() as u64, Sha256::digest(&bytes).into());
        Self { kind, flags: u64::from(kind > 4), compressor, parameter, encoded, decoded, digest, bytes }
    }
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value % 128) as u8 + 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}
