//! Where a replay can go on.

use skiff_wire::{Input, put_varint};

const MAGIC: &[u8; 19] = b"skiff-checkpoint 1\n";

/// How far a replay came: everything before `next_frame` is in the sink.
///
/// A sink keeps the newest one, after it made sure that what was written before is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The delta's header digest: a checkpoint is of use with no other delta.
    pub delta: [u8; 32],
    /// The frame to go on with.
    pub next_frame: u32,
    /// A digest of everything that was written, so that damage to it is found before the rest is fetched.
    pub written: [u8; 32],
    /// The content that is written in part, and how many bytes of it are written.
    pub open: Option<(u32, u64)>,
    /// For each new content, by number, whether it is finished.
    pub finished: Vec<bool>,
}

impl Checkpoint {
    /// The checkpoint as bytes, to be kept on a disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.delta);
        out.extend_from_slice(&self.written);
        put_varint(&mut out, u64::from(self.next_frame));
        let (content, bytes) = self.open.map_or((0, 0), |(content, bytes)| (u64::from(content) + 1, bytes));
        put_varint(&mut out, content);
        put_varint(&mut out, bytes);
        put_varint(&mut out, self.finished.len() as u64);
        for eight in self.finished.chunks(8) {
            out.push(
                eight.iter().enumerate().fold(0, |byte, (bit, &finished)| byte | u8::from(finished) << bit),
            );
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; none for anything else, such as a file that was cut off.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        if &input.array::<19>().ok()? != MAGIC {
            return None;
        }
        let (delta, written) = (input.array().ok()?, input.array().ok()?);
        let next_frame = u32::try_from(input.varint().ok()?).ok()?;
        let open = match (input.varint().ok()?, input.varint().ok()?) {
            (0, 0) => None,
            (content, bytes) => Some((u32::try_from(content.checked_sub(1)?).ok()?, bytes)),
        };
        let count = usize::try_from(input.varint().ok()?).ok()?;
        let bits = input.rest();
        if bits.len() != count.div_ceil(8) {
            return None;
        }
        let finished = (0..count).map(|index| bits[index / 8] >> (index % 8) & 1 == 1).collect();
        Some(Self { delta, next_frame, written, open, finished })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_and_a_part_of_one_does_not() {
        for open in [None, Some((0, 0)), Some((7, 1 << 40))] {
            let finished = (0..19).map(|index| index % 3 == 0).collect();
            let checkpoint = Checkpoint { delta: [7; 32], next_frame: 300, written: [8; 32], open, finished };
            let bytes = checkpoint.to_bytes();
            assert_eq!(Checkpoint::from_bytes(&bytes), Some(checkpoint));
            for length in 0..bytes.len() {
                assert_eq!(Checkpoint::from_bytes(&bytes[..length]), None, "{length}");
            }
        }
    }
}
