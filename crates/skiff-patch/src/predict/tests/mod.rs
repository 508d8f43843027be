//! Whole programs, old and new.

mod hostile;
mod image;
mod programs;

use super::reference::{Kind, Kinds};
use super::{Copy, Layout, Predictor};

/// What was made of the references of `kind`: how many there are, how many changed, and how many of those were not what
/// was predicted first.
fn outcome(old: &[u8], new: &[u8], copies: &[Copy], kind: Kind) -> (usize, usize, usize) {
    let layout = Layout::of(old, new).unwrap();
    let mut told = Vec::new();
    layout.write(&mut told);
    let mut input = skiff_wire::Input::new(&told[..]);
    let read = &mut |offset: u64, bytes: &mut [u8]| {
        bytes.copy_from_slice(&old[offset as usize..][..bytes.len()]);
        Ok(())
    };
    let layout = Layout::read(&mut input, old.len() as u64, read).unwrap();
    assert!(input.rest().is_empty());

    let mut predictor = Predictor::new(layout, copies);
    let (mut count, mut changed, mut wrong) = (0, 0, 0);
    for copy in copies {
        let (old, new) = copy.of(old, new);
        let mut found = Vec::new();
        predictor.find(copy.position, old, &mut found);
        for reference in &found {
            let at = (reference.position - copy.position) as usize;
            let range = at..at + usize::from(reference.length);
            let start = copy.start + at as u64;
            let prediction = predictor.predict(reference, start);
            predictor.learn(reference, start, &new[range.clone()]);
            if reference.kind == kind {
                count += 1;
                changed += usize::from(old[range.clone()] != new[range.clone()]);
                let likely = &prediction.candidates[0].to_le_bytes()[..range.len()];
                wrong += usize::from(*likely != new[range]);
            }
        }
    }
    (count, changed, wrong)
}

/// The range from `from` to `to` of the old file, which went to `start`.
fn copy(from: u64, to: u64, start: u64) -> Copy {
    Copy { start, position: from, length: to - from }
}
