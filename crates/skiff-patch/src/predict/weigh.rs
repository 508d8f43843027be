//! What prediction leaves to be told.

use super::{Copy, Layout, Predictor};

/// How many bytes are gone through at a time.
const CHUNK: usize = 64 << 10;

/// How many bytes of copies are not as predicted.
pub(crate) fn corrections(layout: &Layout, copies: &[Copy], old: &[u8], new: &[u8]) -> u64 {
    let mut predictor = Predictor::new(layout.clone(), copies);
    let mut found = Vec::new();
    let mut corrections = 0;
    for copy in copies {
        let (old, new) = copy.of(old, new);
        let differ = |from: usize, to: usize| {
            let pairs = old[from..to].iter().zip(&new[from..to]);
            pairs.filter(|(old, new)| old != new).count() as u64
        };
        for begin in (0..old.len()).step_by(CHUNK) {
            let chunk = &old[begin..old.len().min(begin + CHUNK)];
            found.clear();
            predictor.find(copy.position + begin as u64, chunk, &mut found);
            let mut done = begin;
            for reference in &found {
                let from = (reference.position - copy.position) as usize;
                let to = from + usize::from(reference.length);
                corrections += differ(done, from);
                done = to;
                let start = copy.start + from as u64;
                let prediction = predictor.predict(reference, start);
                let bytes = prediction.candidates[0].to_le_bytes();
                corrections +=
                    bytes.iter().zip(&new[from..to]).filter(|(old, new)| old != new).count() as u64;
                predictor.learn(reference, start, &new[from..to]);
            }
            corrections += differ(done, begin + chunk.len());
        }
    }
    corrections
}
