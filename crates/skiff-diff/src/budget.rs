//! How large frames may be and what codecs may hold, so that a device needs no more memory than wanted.

use skiff_format::frame_memory;

use crate::DiffError;
use crate::encoder::FRAME_BYTES;

/// What the device's memory leaves for the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// The most bytes of payload in a frame.
    pub(crate) frame_bytes: usize,
    /// The most that decoding one record may hold.
    pub(crate) codec_memory: u64,
}

/// The smallest frame: below, digests and compressors that start afresh cost more than the memory is worth.
const LEAST_FRAME: usize = 64 << 10;

impl Budget {
    /// Divides `wanted`, of which `fixed` is held whatever the frames hold.
    pub(crate) fn new(wanted: Option<u64>, fixed: u64) -> Result<Self, DiffError> {
        let Some(wanted) = wanted else {
            return Ok(Self { frame_bytes: FRAME_BYTES, codec_memory: u64::MAX });
        };
        let least = fixed.saturating_add(frame_memory(LEAST_FRAME));
        let Some(left) = wanted.checked_sub(fixed).filter(|_| wanted >= least) else {
            return Err(DiffError::DecoderMemory { granted: wanted, least });
        };
        // Codecs and frames get half each, as far as frames have a use for it: large frames compress better, and so does what
        // codecs open.
        let halvings = std::iter::successors(Some(FRAME_BYTES.next_power_of_two()), |size| Some(size / 2));
        let sizes = halvings.map(|size| size.min(FRAME_BYTES)).take_while(|&size| size >= LEAST_FRAME);
        let frame_bytes = { sizes }.find(|&size| frame_memory(size) <= left / 2).unwrap_or(LEAST_FRAME);
        Ok(Self { frame_bytes, codec_memory: left - frame_memory(frame_bytes) })
    }

    /// The most output one record makes, so that any record fits a frame whatever its codec adds.
    pub(crate) fn segment_bytes(&self) -> u32 {
        const MOST: u32 = 4 << 20;
        u32::try_from(self.frame_bytes.next_power_of_two() / 2).map_or(MOST, |half| half.min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_within_the_whole() {
        const FIXED: u64 = 7 << 20;
        for wanted in (8 << 20..100 << 20).step_by(777_777) {
            match Budget::new(Some(wanted), FIXED) {
                Ok(Budget { frame_bytes, codec_memory }) => {
                    assert_eq!(FIXED + frame_memory(frame_bytes) + codec_memory, wanted);
                }
                Err(DiffError::DecoderMemory { granted: told, least }) => {
                    assert!(told == wanted && wanted < least);
                    assert!(Budget::new(Some(least), FIXED).is_ok(), "the least that is told is enough");
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(Budget::new(Some(1 << 30), FIXED).unwrap().frame_bytes, FRAME_BYTES);
    }
}
