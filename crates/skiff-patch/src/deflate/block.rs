//! Gathering tokens, and writing them as the block type that is shortest.

use std::io::Write;

use super::huffman::{
    Code, Cost, DISTANCE_CODES, DISTANCE_EXTRA, DISTANCES, Description, END_OF_BLOCK, FIRST_LENGTH,
    LENGTH_EXTRA, LITERAL_CODES, LITERALS,
};
use crate::PatchError;

/// A literal (distance 0) or a match.
#[derive(Clone, Copy)]
struct Token {
    /// The literal, or the length less 3.
    value: u8,
    distance: u16,
}

/// The tokens of a block.
pub(super) struct Block {
    tokens: Vec<Token>,
    literals: [u32; LITERAL_CODES],
    distances: [u32; DISTANCE_CODES],
    matches: usize,
}

impl Block {
    pub(super) fn new() -> Self {
        let mut literals = [0; LITERAL_CODES];
        literals[END_OF_BLOCK] = 1;
        Self { tokens: Vec::new(), literals, distances: [0; DISTANCE_CODES], matches: 0 }
    }

    /// Starts the next block.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        *self = Self { tokens: std::mem::take(&mut self.tokens), ..Self::new() };
    }

    pub(super) fn literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
        self.tokens.push(Token { value: byte, distance: 0 });
    }

    /// A match of 3 to 258 bytes, at most 32 KiB back.
    pub(super) fn reference(&mut self, length: usize, distance: usize) {
        let token = Token { value: (length - 3) as u8, distance: distance as u16 };
        self.literals[FIRST_LENGTH + length_code(token.value).0] += 1;
        self.distances[distance_code(token.distance).0] += 1;
        self.matches += 1;
        self.tokens.push(token);
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// gzip's guess whether the block compresses well and is better closed: every 4096 tokens, from a bound of its size.
    pub(super) fn is_better_closed(&self, input_length: usize) -> bool {
        let tokens = self.tokens.len();
        if tokens & 0xfff != 0 {
            return false;
        }
        let distances = self.distances.iter().zip(DISTANCE_EXTRA);
        let bits = distances.map(|(&count, extra)| count as usize * (5 + usize::from(extra))).sum::<usize>();
        self.matches < tokens / 2 && (8 * tokens + bits) / 8 < input_length / 2
    }
}

/// The code of a length less 3, its extra bits and how many they are.
fn length_code(value: u8) -> (usize, u16, u8) {
    match value {
        255 => (28, 0, 0),
        0..8 => (value.into(), 0, 0),
        _ => split(value.into(), 2, &LENGTH_EXTRA),
    }
}

/// The code of a distance, its extra bits and how many they are.
fn distance_code(distance: u16) -> (usize, u16, u8) {
    match distance - 1 {
        value @ 0..4 => (value.into(), 0, 0),
        value => split(value, 1, &DISTANCE_EXTRA),
    }
}

/// Codes of either kind halve each power of two `steps` times: what is below the leading bits is extra.
fn split(value: u16, steps: u32, extra: &[u8]) -> (usize, u16, u8) {
    let below = value.ilog2() - steps;
    let code = ((below << steps) + u32::from(value >> below)) as usize;
    (code, value & ((1 << below) - 1), extra[code])
}

/// Writes blocks.
pub(super) struct BlockWriter<W> {
    output: W,
    pending: Vec<u8>,
    bits: u64,
    count: u8,
}

/// How many bytes are gathered before they are written.
const PENDING: usize = 16 << 10;

impl<W: Write> BlockWriter<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, pending: Vec::new(), bits: 0, count: 0 }
    }

    /// Writes a block in the way that takes the fewest bytes. `bytes` is what it stands for, or none where the compressor no
    /// longer has it.
    pub(super) fn block(
        &mut self,
        block: &Block,
        bytes: Option<&[u8]>,
        is_last: bool,
    ) -> Result<(), PatchError> {
        let mut cost = Cost::default();
        let literals = Code::build(&block.literals, &LITERALS, &mut cost);
        let distances = Code::build(&block.distances, &DISTANCES, &mut cost);
        let description = Description::new(&literals, &distances, &mut cost);
        let whole_bytes = |bits: i64| (bits + 3 + 7) >> 3;
        let fixed = whole_bytes(cost.fixed);
        let shortest = fixed.min(whole_bytes(cost.dynamic));
        let last = u16::from(is_last);
        match bytes {
            Some(bytes) if bytes.len() as i64 + 4 <= shortest => {
                self.put(last, 3);
                self.stored(bytes)?;
            }
            _ if fixed == shortest => {
                self.put(2 | last, 3);
                self.tokens(block, &Code::fixed_literals(), &Code::fixed_distances())?;
            }
            _ => {
                self.put(4 | last, 3);
                description.send(&literals, &distances, |bits, count| self.put(bits, count));
                self.tokens(block, &literals, &distances)?;
            }
        }
        Ok(())
    }

    /// Fills up the last byte and writes what is pending.
    pub(super) fn finish(mut self) -> Result<(), PatchError> {
        self.align();
        self.output.write_all(&self.pending).map_err(PatchError::output)
    }

    fn stored(&mut self, bytes: &[u8]) -> Result<(), PatchError> {
        let too_long =
            PatchError::corrupt(0, "the compressor cannot have made this: a stored block is too long");
        let Ok(length) = u16::try_from(bytes.len()) else { return Err(too_long) };
        self.align();
        self.pending.extend(length.to_le_bytes());
        self.pending.extend((!length).to_le_bytes());
        self.pending.extend(bytes);
        self.write_if_many()
    }

    fn tokens(&mut self, block: &Block, literals: &Code, distances: &Code) -> Result<(), PatchError> {
        for token in &block.tokens {
            if token.distance == 0 {
                self.symbol(literals, token.value.into());
                continue;
            }
            let (code, extra, count) = length_code(token.value);
            self.symbol(literals, FIRST_LENGTH + code);
            self.put(extra, count);
            let (code, extra, count) = distance_code(token.distance);
            self.symbol(distances, code);
            self.put(extra, count);
            self.write_if_many()?;
        }
        self.symbol(literals, END_OF_BLOCK);
        self.write_if_many()
    }

    fn symbol(&mut self, code: &Code, symbol: usize) {
        self.put(code.bits[symbol], code.lengths[symbol]);
    }

    /// Appends at most 16 bits.
    fn put(&mut self, bits: u16, count: u8) {
        self.bits |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.pending.extend((self.bits as u32).to_le_bytes());
            self.bits >>= 32;
            self.count -= 32;
        }
    }

    fn align(&mut self) {
        let bytes = usize::from(self.count.div_ceil(8));
        self.pending.extend(&self.bits.to_le_bytes()[..bytes]);
        (self.bits, self.count) = (0, 0);
    }

    fn write_if_many(&mut self) -> Result<(), PatchError> {
        if self.pending.len() >= PENDING {
            self.output.write_all(&self.pending).map_err(PatchError::output)?;
            self.pending.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951, 3.2.5, some rows of its tables.
    #[test]
    fn lengths_and_distances_have_the_codes_of_the_rfc() {
        for (length, code, extra) in
            [(3, 257, 0), (10, 264, 0), (11, 265, 0), (12, 265, 1), (18, 268, 1), (19, 269, 0)]
        {
            assert_eq!(
                length_code((length - 3) as u8),
                (code - FIRST_LENGTH, extra, LENGTH_EXTRA[code - FIRST_LENGTH])
            );
        }
        for (length, code, extra) in [(130, 280, 15), (131, 281, 0), (257, 284, 30), (258, 285, 0)] {
            assert_eq!(
                length_code((length - 3) as u8),
                (code - FIRST_LENGTH, extra, LENGTH_EXTRA[code - FIRST_LENGTH])
            );
        }
        for (distance, code, extra) in
            [(1, 0, 0), (4, 3, 0), (5, 4, 0), (6, 4, 1), (9, 6, 0), (24_577, 29, 0), (32_768, 29, 8191)]
        {
            assert_eq!(distance_code(distance), (code, extra, DISTANCE_EXTRA[code]));
        }
    }
}
