//! Which ranges of the source the output is like.

use skiff_coder::Coder;

use super::models;
use crate::PatchError;
use crate::predict::Copy;

/// How far the source's bytes lie from the output's, for the copies before.
struct Shifts {
    recent: [i64; 4],
}

impl Shifts {
    /// Codes which of the recent ones it is, or by how much it differs from the last.
    fn code(
        &mut self,
        coder: &mut impl Coder,
        models: &mut models::Controls,
        set: usize,
        shift: i64,
        contexts: &[u32; 3],
    ) -> i64 {
        let known = self.recent.iter().position(|&recent| recent == shift).unwrap_or(self.recent.len());
        let mut index = 0;
        // The very last one would have been the same copy, unless literals lie between.
        while index < self.recent.len() && !models.recent[set][index].code(coder, index == known) {
            index += 1;
        }
        let shift = match self.recent.get(index) {
            Some(&recent) => recent,
            None => {
                let by = shift.wrapping_sub(self.recent[0]);
                self.recent[0].wrapping_add(models.shifts.code(coder, by, contexts))
            }
        };
        let moved = index.min(self.recent.len() - 1);
        self.recent[..=moved].rotate_right(1);
        self.recent[0] = shift;
        shift
    }
}

/// How many bits the numbers of the last copy had: what comes next is often of their size.
#[derive(Debug, Default)]
struct Last {
    literals: u32,
    shift: u32,
    length: u32,
}

fn bits(number: u64) -> u32 {
    64 - number.leading_zeros()
}

/// Codes the copies, each by itself checked against the lengths of source and output.
///
/// A decoder gives copies of nothing, as many as the payload has.
pub(super) fn code(
    coder: &mut impl Coder,
    models: &mut models::Controls,
    copies: &mut [Copy],
    source_length: u64,
    output_length: u64,
) -> Result<(), PatchError> {
    let corrupt = |what| PatchError::corrupt(0, what);
    let mut shifts = Shifts { recent: [0; 4] };
    let mut end = 0_u64;
    let mut last = Last::default();
    for copy in copies {
        let literals = models.literals.code(
            coder,
            copy.start.wrapping_sub(end),
            &[last.length, last.literals | last.shift << 8, last.shift | last.length << 8],
        );
        let set = match literals {
            0 => 0,
            1..=7 => 1,
            _ => 2,
        };
        let start = end.checked_add(literals).ok_or_else(|| corrupt("a copy begins beyond the output"))?;
        let now = bits(literals);
        let before = shifts.recent[0];
        let shift = shifts.code(
            coder,
            models,
            set,
            copy.position.wrapping_sub(copy.start) as i64,
            &[now, now | last.shift << 8, last.length | now << 8 | last.shift << 16],
        );
        let position = start.wrapping_add_signed(shift);
        let moved = bits(shift.wrapping_sub(before).unsigned_abs());
        let length = models
            .lengths
            .code(coder, copy.length.wrapping_sub(1), &[moved, now | moved << 8, last.length | moved << 8])
            .wrapping_add(1);
        last = Last { literals: now, shift: moved, length: bits(length) };
        if length == 0 || position.checked_add(length).is_none_or(|end| end > source_length) {
            return Err(corrupt("a copy lies outside the source"));
        }
        let to = start.checked_add(length).filter(|&to| to <= output_length);
        end = to.ok_or_else(|| corrupt("a copy goes on beyond the output"))?;
        *copy = Copy { start, position, length };
    }
    Ok(())
}
