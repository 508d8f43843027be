//! Which ranges of the source the output is like.

use skiff_coder::Coder;

use super::models;
use crate::PatchError;
use crate::predict::Copy;

/// How far the source's bytes lie from the output's, for the copies before.
struct Shifts {
    recent: [i64; 4],
}

/// How many bits the numbers of the copy before had: the shift's are those of how it differed from the one before it.
#[derive(Default)]
struct Sizes {
    literals: u32,
    shift: u32,
    length: u32,
}

fn size(number: u64) -> u32 {
    64 - number.leading_zeros()
}

impl Shifts {
    /// Codes which of the recent ones it is, or by how much it differs from the last.
    fn code(
        &mut self,
        coder: &mut impl Coder,
        models: &mut models::Controls,
        sizes: (u32, &Sizes),
        shift: i64,
    ) -> i64 {
        let (literals, last) = sizes;
        // None, a few and many literals.
        let set = if literals > 3 { 2 } else { literals.min(1) as usize };
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
                let contexts =
                    [literals, literals | last.shift << 8, last.length | literals << 8 | last.shift << 16];
                self.recent[0].wrapping_add(models.shifts.code(coder, by, &contexts))
            }
        };
        let moved = index.min(self.recent.len() - 1);
        self.recent[..=moved].rotate_right(1);
        self.recent[0] = shift;
        shift
    }
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
    let mut last = Sizes::default();
    for copy in copies {
        let contexts = [last.length, last.literals | last.shift << 8, last.shift | last.length << 8];
        let literals = models.literals.code(coder, copy.start.wrapping_sub(end), &contexts);
        let start = end.checked_add(literals).ok_or_else(|| corrupt("a copy begins beyond the output"))?;
        let (literals, before) = (size(literals), shifts.recent[0]);
        let shift = copy.position.wrapping_sub(copy.start) as i64;
        let shift = shifts.code(coder, models, (literals, &last), shift);
        let position = start.wrapping_add_signed(shift);
        let moved = size(shift.wrapping_sub(before).unsigned_abs());
        let contexts = [moved, literals | moved << 8, last.length | moved << 8];
        let length = models.lengths.code(coder, copy.length.wrapping_sub(1), &contexts).wrapping_add(1);
        last = Sizes { literals, shift: moved, length: size(length) };
        if length == 0 || position.checked_add(length).is_none_or(|end| end > source_length) {
            return Err(corrupt("a copy lies outside the source"));
        }
        let to = start.checked_add(length).filter(|&to| to <= output_length);
        end = to.ok_or_else(|| corrupt("a copy goes on beyond the output"))?;
        *copy = Copy { start, position, length };
    }
    Ok(())
}
