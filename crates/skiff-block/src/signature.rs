//! Signatures: written while a file is read, and read to make deltas.

use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZeroUsize;

use crate::blocks::hash_blocks;
use crate::command::DELTA_MAGIC;
use crate::kind::{HEADER_BYTES, WEAK_BYTES};
use crate::strong::STRONG_MAX;
use crate::{BlockError, Limits, SignatureKind, SignatureParams, Stream};

/// What a file's blocks hash to: all that somebody without the file needs to make a delta against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    params: SignatureParams,
    weak: Vec<u32>,
    /// The strong hashes, one after the other.
    strong: Vec<u8>,
}

/// What became of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureReport {
    /// Bytes of the file.
    pub old_bytes: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Bytes of the signature.
    pub signature_bytes: u64,
}

/// Writes the signature of what `old` reads, hashing on `threads` threads. It takes some 20 MiB of memory, however long
/// the file is.
///
/// Progress and cancelling are the reader's: one that counts what it hands out shows the one, and one that fails does the
/// other.
///
/// # Errors
/// [`BlockError::Io`].
pub fn write_signature(
    old: impl Read,
    params: &SignatureParams,
    threads: NonZeroUsize,
    mut out: impl Write,
) -> Result<SignatureReport, BlockError> {
    let mut written = HEADER_BYTES;
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(BlockError::io(Stream::Output));
    for number in [params.kind().magic(), params.block_len(), params.strong_len()] {
        write(&number.to_be_bytes())?;
    }
    let (mut blocks, strong_len) = (0, params.strong_len() as usize);
    let old_bytes = hash_blocks(old, params, threads, |sum| {
        blocks += 1;
        written += params.sum_bytes();
        write(&sum.weak.to_be_bytes())?;
        write(&sum.strong[..strong_len])
    })?;
    out.flush().map_err(BlockError::io(Stream::Output))?;
    Ok(SignatureReport { old_bytes, blocks, signature_bytes: written })
}

impl Signature {
    /// The signature of what `old` reads, hashed on `threads` threads.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn of(old: impl Read, params: &SignatureParams, threads: NonZeroUsize) -> Result<Self, BlockError> {
        let mut signature = Self { params: *params, weak: Vec::new(), strong: Vec::new() };
        hash_blocks(old, params, threads, |sum| {
            signature.weak.push(sum.weak);
            signature.strong.extend_from_slice(&sum.strong[..params.strong_len() as usize]);
            Ok(())
        })?;
        Ok(signature)
    }

    /// Reads a signature to its end.
    ///
    /// # Errors
    /// [`BlockError::Corrupt`] where it is none or ends within a block, [`BlockError::LimitExceeded`] where it is larger than
    /// `limits` allow, [`BlockError::Io`]. Memory is taken as bytes arrive.
    pub fn read(input: impl Read, limits: &Limits) -> Result<Self, BlockError> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let params = read_params(&mut input)?;
        let mut signature = Self { params, weak: Vec::new(), strong: Vec::new() };
        while signature.read_sum(&mut input, limits)? {}
        Ok(signature)
    }

    /// Reads the signature of a file of `old_bytes` bytes, and nothing of what follows it.
    ///
    /// # Errors
    /// As [`read`](Self::read); and [`BlockError::Corrupt`] where there are fewer blocks than such a file has.
    pub fn read_of(mut input: impl BufRead, old_bytes: u64, limits: &Limits) -> Result<Self, BlockError> {
        let params = read_params(&mut input)?;
        let wanted = params.signature_bytes(old_bytes);
        if wanted > limits.signature_bytes {
            return Err(too_large(wanted, limits));
        }
        let mut signature = Self { params, weak: Vec::new(), strong: Vec::new() };
        while signature.bytes() < wanted {
            if !signature.read_sum(&mut input, limits)? {
                let what = format!("it ends before the last block of a file of {old_bytes} bytes");
                return Err(BlockError::corrupt(Stream::Signature, signature.bytes(), what));
            }
        }
        Ok(signature)
    }

    /// Reads the hashes of one more block; false at the end of the input.
    fn read_sum(&mut self, input: &mut impl Read, limits: &Limits) -> Result<bool, BlockError> {
        let mut sum = [0; WEAK_BYTES as usize + STRONG_MAX];
        let sum = &mut sum[..self.params.sum_bytes() as usize];
        let count = read_up_to(input, sum)?;
        if count == 0 {
            return Ok(false);
        }
        if count < sum.len() {
            let what = "it ends within the hashes of a block";
            return Err(BlockError::corrupt(Stream::Signature, self.bytes() + count as u64, what));
        }
        let wanted = self.bytes() + count as u64;
        if wanted > limits.signature_bytes {
            return Err(too_large(wanted, limits));
        }
        let (weak, strong) = sum.split_first_chunk().expect("because every sum begins with a weak hash");
        self.weak.push(u32::from_be_bytes(*weak));
        self.strong.extend_from_slice(strong);
        Ok(true)
    }

    /// Writes it as librsync does.
    ///
    /// # Errors
    /// [`BlockError::Io`].
    pub fn write(&self, mut out: impl Write) -> Result<(), BlockError> {
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(BlockError::io(Stream::Output));
        for number in [self.params.kind().magic(), self.params.block_len(), self.params.strong_len()] {
            write(&number.to_be_bytes())?;
        }
        for (index, weak) in self.weak.iter().enumerate() {
            write(&weak.to_be_bytes())?;
            write(self.strong(index))?;
        }
        out.flush().map_err(BlockError::io(Stream::Output))
    }

    /// How it was made.
    #[must_use]
    pub fn params(&self) -> &SignatureParams {
        &self.params
    }

    /// How many blocks the file has.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.weak.len()
    }

    /// How many bytes it has where it is written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        HEADER_BYTES + self.weak.len() as u64 * self.params.sum_bytes()
    }

    /// Sees that this is the signature of what `old` reads.
    pub(crate) fn check(&self, old: impl Read, threads: NonZeroUsize) -> Result<(), BlockError> {
        let mut block = 0;
        let differs = |block: usize| Err(BlockError::WrongOld { block: block as u64 });
        hash_blocks(old, &self.params, threads, |sum| {
            let strong_len = self.params.strong_len() as usize;
            let is_equal = block < self.blocks()
                && self.weak(block) == sum.weak
                && self.strong(block) == &sum.strong[..strong_len];
            block += 1;
            if is_equal { Ok(()) } else { differs(block - 1) }
        })?;
        if block == self.blocks() { Ok(()) } else { differs(block) }
    }

    pub(crate) fn weak(&self, index: usize) -> u32 {
        self.weak[index]
    }

    pub(crate) fn strong(&self, index: usize) -> &[u8] {
        let length = self.params.strong_len() as usize;
        &self.strong[index * length..][..length]
    }
}

fn too_large(wanted: u64, limits: &Limits) -> BlockError {
    BlockError::LimitExceeded { what: "bytes of a signature", wanted, limit: limits.signature_bytes }
}

fn read_params(input: &mut impl Read) -> Result<SignatureParams, BlockError> {
    let mut header = [0; HEADER_BYTES as usize];
    let count = read_up_to(input, &mut header)?;
    let (numbers, _) = header.as_chunks::<{ WEAK_BYTES as usize }>();
    let [magic, block_len, strong_len] = [0, 1, 2].map(|index| u32::from_be_bytes(numbers[index]));
    let corrupt = |offset, what: String| BlockError::corrupt(Stream::Signature, offset, what);
    if count >= 4 && SignatureKind::from_magic(magic).is_none() {
        return Err(corrupt(
            0,
            match magic {
                DELTA_MAGIC => "it is a delta, and a signature is wanted".to_owned(),
                _ => format!("it begins with {magic:#010x}, as no signature does"),
            },
        ));
    }
    if count < header.len() {
        return Err(corrupt(count as u64, "it ends within its header".into()));
    }
    let kind = SignatureKind::from_magic(magic).expect("because it was one a moment ago");
    SignatureParams::new(kind, block_len, strong_len).map_err(|error| corrupt(WEAK_BYTES, error.to_string()))
}

/// Reads until the buffer is full or no more comes; returns how many bytes came.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, BlockError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(BlockError::Io { stream: Stream::Signature, source }),
        }
    }
    Ok(filled)
}
