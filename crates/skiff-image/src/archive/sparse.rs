//! Files stored without their holes, as GNU tar does with `--sparse`.

use std::io;

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::{BLOCK, MemberKind, Members, number};
use crate::ImageError;
use crate::input::Input;

/// The pieces of a file that are stored; between and after them there are zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    /// Offset and length, in order.
    pieces: Vec<(u64, u64)>,
    /// The file's size, holes included.
    pub(super) size: u64,
}

/// What PAX records say of a sparse file.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    /// How many pieces there should be, in formats 0.0 and 0.1.
    count: Option<u64>,
    /// Format 0.0: a record for each offset and one for each length.
    pieces: Vec<(u64, u64)>,
    /// The last offset, as long as its length is missing.
    offset: Option<u64>,
    /// Format 0.1: offsets and lengths, between commas.
    map: Option<Vec<u8>>,
}

impl<I: Input> Members<I> {
    /// Takes a PAX record whose key begins with `GNU.sparse.`.
    pub(super) fn take_sparse_record(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        sparse: &mut PaxSparse,
    ) -> Result<(), ImageError> {
        let number = || self.parsed(key, value, number::decimal);
        match key {
            b"GNU.sparse.major" => sparse.major = number()?,
            b"GNU.sparse.minor" => sparse.minor = number()?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => sparse.size = number()?,
            b"GNU.sparse.numblocks" => sparse.count = number()?,
            b"GNU.sparse.map" => sparse.map = value.map(<[u8]>::to_vec),
            // In format 0.0 these repeat, against POSIX, and their order counts.
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_offset = key == b"GNU.sparse.offset";
                match (is_offset, sparse.offset.take(), number()?) {
                    (true, None, Some(offset)) => sparse.offset = Some(offset),
                    (false, Some(offset), Some(length)) => {
                        self.push(&mut sparse.pieces, offset, length)?;
                    }
                    _ => return Err(self.corrupt("its map is not one of offsets and lengths in turn")),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the map of a sparse file, which may stand before its content; none where the file is not sparse.
    pub(super) fn read_sparse(
        &mut self,
        header: &Header,
        kind: &MemberKind,
        pax: Option<PaxSparse>,
    ) -> Result<Option<Sparse>, ImageError> {
        let is_gnu = header.as_old().linkflag[0] == b'S';
        let sparse = match (is_gnu, pax) {
            (false, None) => return Ok(None),
            (true, None) => self.read_gnu_map(header)?,
            // GNU tar looks for the map where the header's own format has it, and knows of none in older ones.
            (false, Some(_)) if header.as_ustar().is_none() => {
                return Err(self.corrupt(
                    "its map is in PAX records, and its header is not PAX's; readers differ in whether that is a sparse file",
                ));
            }
            (false, Some(pax)) if matches!(kind, MemberKind::File) => self.read_pax_map(pax)?,
            _ => return Err(self.corrupt("it is no file, or one of two kinds, and is said to be sparse")),
        };
        let stored = self.check_pieces(&sparse)?;
        if stored != self.left {
            return Err(self.corrupt(format!("its pieces have {stored} bytes, and {} are stored", self.left)));
        }
        Ok(Some(sparse))
    }

    /// Reads the content of a sparse file, zeros included.
    pub(super) fn read_pieces(
        &mut self,
        sparse: &Sparse,
        mut piece: impl FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut position = 0;
        for &(offset, length) in &sparse.pieces {
            zeros(offset - position, &mut piece)?;
            self.read_stored(length, &mut piece)?;
            position = offset + length;
        }
        zeros(sparse.size - position, &mut piece)
    }

    /// The map in a header of type `S`, and in the blocks after it.
    fn read_gnu_map(&mut self, header: &Header) -> Result<Sparse, ImageError> {
        let Some(gnu) = header.as_gnu() else {
            return Err(self.corrupt("it is a sparse file in a format that has none"));
        };
        let mut sparse =
            Sparse { size: self.header_number(&gnu.realsize, "size with its holes")?, ..Sparse::default() };
        self.take_pieces(&gnu.sparse, &mut sparse)?;
        let mut is_extended = gnu.is_extended();
        while is_extended {
            let mut block = GnuExtSparseHeader::new();
            if !self.read_block(block.as_mut_bytes())? {
                return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
            }
            self.take_pieces(block.sparse(), &mut sparse)?;
            is_extended = block.is_extended();
        }
        Ok(sparse)
    }

    fn take_pieces(&self, headers: &[GnuSparseHeader], sparse: &mut Sparse) -> Result<(), ImageError> {
        for header in headers.iter().filter(|header| !header.is_empty()) {
            let offset = self.header_number(&header.offset, "piece's offset")?;
            let length = self.header_number(&header.numbytes, "piece's length")?;
            self.push(&mut sparse.pieces, offset, length)?;
        }
        Ok(())
    }

    /// The map of formats 0.0 and 0.1 in records, or of format 1.0 at the start of the content.
    fn read_pax_map(&mut self, pax: PaxSparse) -> Result<Sparse, ImageError> {
        let Some(size) = pax.size else {
            return Err(self.corrupt("it is a sparse file whose size is missing"));
        };
        if pax.offset.is_some() {
            return Err(self.corrupt("its map ends with an offset without length"));
        }
        let mut sparse = Sparse { pieces: pax.pieces, size };
        let is_old = matches!((pax.major, pax.minor), (None | Some(0), _));
        match pax.map {
            None if (pax.major, pax.minor) == (Some(1), Some(0)) && sparse.pieces.is_empty() => {
                self.read_map_before_content(&mut sparse)?;
            }
            // A file that is one hole has no pieces; only their number tells then that there is a map.
            None if is_old && (!sparse.pieces.is_empty() || pax.count == Some(0)) => {}
            Some(map) if is_old && sparse.pieces.is_empty() => {
                let mut numbers = map.split(|&byte| byte == b',').map(number::decimal);
                while let Some(offset) = numbers.next() {
                    let pair = offset.zip(numbers.next().flatten());
                    let (offset, length) =
                        pair.ok_or_else(|| self.corrupt("its map is not one of pairs of numbers"))?;
                    self.push(&mut sparse.pieces, offset, length)?;
                }
            }
            _ => {
                return Err(self.unsupported("it is a sparse file in a format other than 0.0, 0.1 and 1.0"));
            }
        }
        match pax.count.filter(|&count| is_old && count != sparse.pieces.len() as u64) {
            None => Ok(sparse),
            Some(count) => {
                let what = format!("its map has {} pieces, and should have {count}", sparse.pieces.len());
                Err(self.corrupt(what))
            }
        }
    }

    /// Numbers, each on a line: how many pieces, then offset and length of each; zeros up to the next block.
    fn read_map_before_content(&mut self, sparse: &mut Sparse) -> Result<(), ImageError> {
        let mut lines = Lines::default();
        let count = self.read_line(&mut lines)?;
        for _ in 0..count {
            let offset = self.read_line(&mut lines)?;
            let length = self.read_line(&mut lines)?;
            self.push(&mut sparse.pieces, offset, length)?;
        }
        Ok(())
    }

    fn read_line(&mut self, lines: &mut Lines) -> Result<u64, ImageError> {
        let mut number: Option<u64> = None;
        loop {
            if lines.taken == lines.block.len() {
                self.read_map_block(lines)?;
            }
            let byte = lines.block[lines.taken];
            lines.taken += 1;
            let digit = char::from(byte).to_digit(10).map(u64::from);
            number = match (byte, number, digit) {
                (b'\n', Some(number), _) => return Ok(number),
                (_, _, Some(digit)) => {
                    number.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit))
                }
                _ => None,
            };
            if number.is_none() {
                return Err(self.corrupt("its map is not one of numbers"));
            }
        }
    }

    fn read_map_block(&mut self, lines: &mut Lines) -> Result<(), ImageError> {
        let block = BLOCK as u64;
        self.left =
            self.left.checked_sub(block).ok_or_else(|| self.corrupt("its map is longer than its content"))?;
        lines.block.clear();
        lines.taken = 0;
        let mut bytes = [0; BLOCK];
        if !self.read_block(&mut bytes)? {
            return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
        }
        lines.block.extend_from_slice(&bytes);
        Ok(())
    }

    fn push(&self, pieces: &mut Vec<(u64, u64)>, offset: u64, length: u64) -> Result<(), ImageError> {
        let (wanted, limit) = (pieces.len() as u64 + 1, self.limits.sparse_pieces);
        if wanted > limit {
            let what = "pieces of one sparse file";
            return Err(ImageError::LimitExceeded { at: self.location(), what, wanted, limit });
        }
        pieces.push((offset, length));
        Ok(())
    }

    /// The bytes of all pieces, which must be in order, fill their blocks, apart from each other, and within the file.
    fn check_pieces(&self, sparse: &Sparse) -> Result<u64, ImageError> {
        let (mut position, mut stored) = (0, 0_u64);
        for &(offset, length) in &sparse.pieces {
            let end = offset.checked_add(length).filter(|&end| offset >= position && end <= sparse.size);
            position =
                end.ok_or_else(|| self.corrupt("its pieces overlap, are out of order or beyond its end"))?;
            // GNU tar begins each piece at a block, others where the last one ends. As it finds holes, only the last piece leaves
            // that open.
            if length > 0 && stored % BLOCK as u64 != 0 {
                return Err(self.corrupt(
                    "one of its pieces does not fill its blocks and another follows; readers differ in where that begins",
                ));
            }
            // No overflow: pieces that do not overlap have no more bytes than the file.
            stored += length;
        }
        Ok(stored)
    }
}

/// The block of a map that is being read.
#[derive(Default)]
struct Lines {
    block: Vec<u8>,
    taken: usize,
}

fn zeros(mut count: u64, mut piece: impl FnMut(&[u8]) -> Result<(), ImageError>) -> Result<(), ImageError> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while count > 0 {
        let step = ZEROS.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        piece(&ZEROS[..step])?;
        count -= step as u64;
    }
    Ok(())
}
