//! A golden delta, changed in its inside, with digests that are right again.

use skiff_replay::Limits;

use super::Reached;
use super::golden::{self, Golden};
use super::input::Input;
use super::model::mutate;
use super::sink;
use crate::Random;

/// Bits of the second byte: whether what follows from the changes follows, and whether the header promises what comes out.
const MEND: u8 = 1;
const PROMISE: u8 = 2;

/// A golden delta that was changed as a fuzzer's bytes say, and its base.
pub struct ChangedDelta {
    pub(crate) golden: &'static Golden,
    pub(crate) delta: Vec<u8>,
    /// What else the second byte says.
    pub(crate) flags: u8,
}

impl ChangedDelta {
    /// The first byte chooses the delta that is changed, the second what is made right afterwards, the rest tells the changes.
    ///
    /// # Panics
    /// Where the golden files are not there.
    #[must_use]
    pub fn read(program: &[u8]) -> Self {
        let mut input = Input::new(program);
        let all = golden::all();
        let golden = &all[usize::from(input.byte()) % all.len()];
        let flags = input.byte();
        let mut model = golden.model.clone();
        mutate(&mut model, &mut input);
        if flags & MEND != 0 {
            model.mend(&golden.naive);
        }
        if flags & PROMISE != 0 {
            model.promise(&golden.naive, &limits());
        }
        Self { golden, delta: model.put(&golden.naive), flags: flags >> 2 }
    }

    /// What decoding it may cost.
    #[must_use]
    pub fn limits(&self) -> Limits {
        limits()
    }

    /// Replays it, and keeps nothing of what comes out.
    #[must_use]
    pub fn replay_to_nowhere(&self) -> Reached {
        match sink::replay_to_nowhere(&self.delta, &self.golden.base, limits()) {
            Ok(()) => Reached::Accepted,
            Err(_) => Reached::Refused,
        }
    }
}

/// As small as decoding these deltas allows.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.format.header_bytes = 64 << 10;
    limits.format.frame_bytes = 1 << 20;
    limits.format.dictionary_bytes = 1 << 20;
    limits.format.payload_bytes = 16 << 20;
    // As much as a code that learns takes for small files.
    limits.patch.memory_bytes = 24 << 20;
    limits.patch.plain_bytes = 1 << 20;
    (limits.tree.entries, limits.tree.bytes) = (5_000, 1 << 20);
    limits.sections.0 = 1 << 20;
    limits
}

/// Programs of a few changes, as if by chance and the same ones each time. Mostly what follows from the changes follows, so that
/// many are taken.
pub fn any_programs() -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random::new(1);
    let mut byte = move || random.byte();
    std::iter::repeat_with(move || {
        let mut program: Vec<u8> = (0..4 + usize::from(byte() % 20)).map(|_| byte()).collect();
        program[1] |= if byte() % 4 > 0 { MEND | PROMISE } else { 0 };
        program
    })
}

/// Seeds: each golden delta as it is, made anew in every way, and one change of each kind.
pub(crate) fn programs() -> Vec<(String, Vec<u8>)> {
    let mut programs = Vec::new();
    for (place, golden) in (0..).zip(golden::all()) {
        programs.push((format!("ok-{}", golden.name), vec![place, MEND | PROMISE]));
    }
    for kind in 0..32 {
        let bytes = (0..24_u8).map(|at| at.wrapping_mul(kind ^ 0x35).wrapping_add(kind));
        let program = [kind % 9, MEND | PROMISE, kind].into_iter().chain(bytes).collect();
        programs.push((format!("change-{kind}"), program));
    }
    programs
}
