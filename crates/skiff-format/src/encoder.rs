use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest as _, Sha256};
use skiff_wire::put_varint;

use crate::header::{MAGIC, PREAMBLE_LEN};
use crate::{CompressedFrame, Digest, FormatError, FrameInfo, Header, HeaderFields, VERSION};

/// Writes a delta: frames go to a spool first, because the header, which stands before them, lists them.
#[derive(Debug)]
pub struct Encoder<S> {
    spool: S,
    frames: Vec<FrameInfo>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The delta's size, in bytes.
    pub delta_size: u64,
    /// How much of it is header, in bytes.
    pub header_size: u64,
    /// Frames in it.
    pub frames: usize,
    /// What names it: the digest that its header carries.
    pub digest: Digest,
}

impl<S: Read + Write + Seek> Encoder<S> {
    /// An encoder without frames. The spool is empty and at its start.
    pub fn new(spool: S) -> Self {
        Self { spool, frames: Vec::new() }
    }

    /// Adds a frame. The sections come in their order: config, manifest, tree, contents.
    ///
    /// # Errors
    /// [`FormatError::Io`] where the spool fails.
    pub fn add(&mut self, frame: CompressedFrame) -> Result<(), FormatError> {
        let failed = |source| FormatError::Io { op: "spooling a frame", source };
        self.spool.write_all(&frame.bytes).map_err(failed)?;
        self.frames.push(frame.info);
        Ok(())
    }

    /// Writes the header and the frames.
    ///
    /// # Errors
    /// [`FormatError::Io`] where spool or output fail, and what [`Header::parse`] says to a header
    /// that breaks the format's rules.
    pub fn finish(mut self, fields: &HeaderFields, mut out: impl Write) -> Result<Summary, FormatError> {
        let header = Header::parse_vec(header(fields, &self.frames)?)?;
        let failed = |source| FormatError::Io { op: "writing the delta", source };
        out.write_all(header.bytes()).map_err(failed)?;
        self.spool.seek(SeekFrom::Start(0)).map_err(failed)?;
        let (header_size, delta_size) = (header.bytes().len() as u64, header.delta_size());
        let spooled = delta_size - header_size;
        let written = io::copy(&mut self.spool.take(spooled), &mut out).map_err(failed)?;
        if written != spooled {
            return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, "the spool lost bytes")));
        }
        out.flush().map_err(failed)?;
        Ok(Summary { delta_size, header_size, frames: self.frames.len(), digest: *header.digest() })
    }
}

fn header(fields: &HeaderFields, frames: &[FrameInfo]) -> Result<Vec<u8>, FormatError> {
    let body = body(fields, frames);
    let length = u32::try_from(body.len()).map_err(|_| FormatError::LimitExceeded {
        what: "bytes of header",
        wanted: body.len() as u64,
        limit: u64::from(u32::MAX),
    })?;
    let mut header = Vec::with_capacity(PREAMBLE_LEN + body.len());
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 2]);
    header.extend_from_slice(&length.to_le_bytes());
    let mut hasher = Sha256::new();
    hasher.update(&header);
    hasher.update(&body);
    header.extend_from_slice(&hasher.finalize());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&body);
    Ok(header)
}

fn body(fields: &HeaderFields, frames: &[FrameInfo]) -> Vec<u8> {
    let HeaderFields { codecs, bases, target, facts } = fields;
    let mut out = Vec::new();
    put_varint(&mut out, codecs.len() as u64);
    for codec in codecs {
        put_varint(&mut out, u64::from(codec.id));
        put_varint(&mut out, u64::from(codec.version));
    }
    put_varint(&mut out, bases.len() as u64);
    for base in bases {
        out.extend_from_slice(base.release.as_bytes());
        out.extend_from_slice(base.tree.as_bytes());
    }
    out.extend_from_slice(target.release.as_bytes());
    out.extend_from_slice(target.tree.as_bytes());
    for digest in [target.config, target.manifest] {
        out.push(u8::from(digest.is_some()));
        out.extend(digest.iter().flat_map(|digest| digest.as_bytes()));
    }
    for fact in [
        facts.target_bytes,
        facts.new_bytes,
        facts.unchanged_bytes,
        facts.entries,
        facts.inodes,
        facts.unchanged_inodes,
        facts.pull_bytes.map_or(0, |bytes| bytes.saturating_add(1)),
        facts.decoder_memory,
    ] {
        put_varint(&mut out, fact);
    }
    // No extensions.
    put_varint(&mut out, 0);
    put_varint(&mut out, frames.len() as u64);
    for frame in frames {
        let (compressor, parameter) = frame.compressor.numbers();
        put_varint(&mut out, frame.section.number());
        put_varint(&mut out, u64::from(frame.skippable));
        put_varint(&mut out, compressor);
        put_varint(&mut out, parameter);
        put_varint(&mut out, frame.encoded_size);
        put_varint(&mut out, frame.decoded_size);
        out.extend_from_slice(frame.digest.as_bytes());
    }
    out
}
