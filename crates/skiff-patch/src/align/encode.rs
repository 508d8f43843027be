//! The encoder: finds the copies, and tells how they differ.

use std::io::{Cursor, Read, Seek};
use std::num::NonZeroU32;

use skiff_coder::{Encoder, Kind};
use skiff_wire::put_varint;

use super::decode::{APART, PREDICTED};
use super::literals::{Literals, Origin, SharedSource};
use super::models::Models;
use super::walk::{Output, Walk, in_file};
use super::{controls, literals};
use crate::matcher::{self, Effort};
use crate::predict::neutral::neutralise;
use crate::predict::{Copy, Kinds, Layout, Predictor, weigh};
use crate::{Forecast, PatchError, Source, State};

/// How ranges of the source are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most bytes of the old file that are searched at once.
    pub window_bytes: NonZeroU32,
    /// How much time is spent on finding them.
    pub effort: Effort,
    /// Whether references of executables are predicted.
    pub is_predicted: bool,
}

impl Default for Options {
    fn default() -> Self {
        const WINDOW: NonZeroU32 = NonZeroU32::new(64 << 20).expect("because it is not zero");
        Self { window_bytes: WINDOW, effort: Effort::Default, is_predicted: true }
    }
}

/// How a file is to be made from another one, before it is written: finding that out takes long and needs nothing but the
/// files, writing it down depends on what the frame has so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    copies: Vec<Copy>,
    /// Of executables.
    layout: Option<Layout>,
    /// Where the output begins in the file.
    begin: u64,
    output_len: u64,
    estimate: u64,
}

impl Plan {
    /// Compares two files.
    #[must_use]
    pub fn new(old: &[u8], new: &[u8], options: &Options) -> Self {
        Self::silent_on(old, new, options, Kinds::NONE)
    }

    /// A plan that says nothing of references of some kinds. Where there are some, no decoder reads what it writes.
    pub(super) fn silent_on(old: &[u8], new: &[u8], options: &Options, silent: Kinds) -> Self {
        let layout = Layout::of(old, new).filter(|_| options.is_predicted);
        let layout = layout.map(|layout| layout.silent_on(silent));
        let neutral =
            layout.as_ref().and_then(|_| Some((neutralise(old, silent)?, neutralise(new, silent)?)));
        let search = matcher::Options { window_bytes: options.window_bytes, effort: options.effort };
        let matches = match &neutral {
            Some((old, new)) => matcher::find(old, new, &search),
            None => matcher::find(old, new, &search),
        };
        let copies = matches.iter().map(|found| Copy {
            start: found.start as u64,
            position: found.position as u64,
            length: found.length as u64,
        });
        let output_len = new.len() as u64;
        let mut plan = Self { copies: copies.collect(), layout, begin: 0, output_len, estimate: 0 };
        plan.estimate = plan.weigh(old, new);
        plan
    }

    /// What was found otherwise: the copies lie in an output that begins at `begin` in its file.
    pub(super) fn of_copies(copies: Vec<Copy>, begin: u64, output_len: u64, estimate: u64) -> Self {
        Self { copies, layout: None, begin, output_len, estimate }
    }

    /// What comes of the plan.
    #[must_use]
    pub fn forecast(&self) -> Forecast {
        let length = self.layout.as_ref().map(|_| self.output_len);
        Forecast {
            reads_source: !self.copies.is_empty(),
            output_len: self.output_len,
            estimate: self.estimate,
            decoder_memory: super::decode::memory(self.copies.len() as u64, length, self.is_apart()),
        }
    }

    /// Whether literals get a stream of their own.
    fn is_apart(&self) -> bool {
        let copied: u64 = self.copies.iter().map(|copy| copy.length).sum();
        self.output_len - copied >= literals::APART
    }

    /// About how long the payload is.
    fn weigh(&self, old: &[u8], new: &[u8]) -> u64 {
        let corrected: u64 = match &self.layout {
            Some(layout) => weigh::corrections(layout, &self.copies, old, new),
            None => self.copies.iter().map(|copy| copy.differences(old, new)).sum(),
        };
        let mut literals = [0_u64; 256];
        let mut at = 0;
        let ends = self.copies.iter().map(|copy| (copy.start as usize, (copy.start + copy.length) as usize));
        for (start, end) in ends.chain([(new.len(), new.len())]) {
            new[at..start].iter().for_each(|&byte| literals[usize::from(byte)] += 1);
            at = end;
        }
        estimated(self.copies.len(), corrected, &literals)
    }

    /// The plan for a part of the output, where the whole would take too large a payload.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<u64>) -> Self {
        let touching = self
            .copies
            .iter()
            .filter(|copy| copy.start < range.end && copy.start + copy.length > range.start);
        let copies = touching.map(|copy| {
            let start = copy.start.max(range.start);
            let end = (copy.start + copy.length).min(range.end);
            let position = copy.position + (start - copy.start);
            Copy { start: start - range.start, position, length: end - start }
        });
        let output_len = range.end - range.start;
        let share = u128::from(self.estimate) * u128::from(output_len) / u128::from(self.output_len.max(1));
        let (layout, begin) = (self.layout.clone(), self.begin + range.start);
        Self {
            copies: copies.collect(),
            layout,
            begin,
            output_len,
            estimate: u64::try_from(share).unwrap_or(u64::MAX),
        }
    }

    /// Writes the payload. Both files must be those that the plan was made from.
    ///
    /// # Errors
    /// [`PatchError::Io`] where one of the files cannot be read or is shorter than it was.
    pub fn write<S: Read + Seek>(
        &self,
        source: &mut Source<S>,
        new: impl Read,
        state: &mut State,
    ) -> Result<Vec<u8>, PatchError> {
        let Models { controls, copies: models, literals } = state.models();
        let (mut copies, is_apart) = (self.copies.clone(), self.is_apart());
        let flags = [(self.layout.is_some(), PREDICTED), (is_apart, APART)];
        let mut payload = vec![flags.iter().filter(|flag| flag.0).map(|flag| flag.1).sum()];
        put_varint(&mut payload, copies.len() as u64);
        if let Some(layout) = &self.layout {
            put_varint(&mut payload, self.begin);
            layout.write(&mut payload);
        }
        let (mut coder, mut apart) = (Encoder::new(), Encoder::new());
        controls::code(&mut coder, controls, &mut copies, source.length(), self.output_len)?;
        let kind = if self.layout.is_some() { Kind::Code } else { Kind::Text };
        let literals = Literals::new(literals, kind);
        let literals = if is_apart { Origin::Apart(literals, &mut apart) } else { Origin::Among(literals) };
        let (source, mut output) = (SharedSource::new(source), Known { new });
        let mut walk = Walk::new(&mut coder, models, literals, &source, &mut output);
        if let Some(layout) = &self.layout {
            walk = walk.predicting(Predictor::new(layout.clone(), &in_file(&copies, self.begin)), self.begin);
        }
        walk.run(&copies, self.output_len)?;
        let apart = apart.finish();
        if is_apart {
            put_varint(&mut payload, apart.len() as u64);
        }
        payload.extend(coder.finish());
        payload.extend(apart);
        Ok(payload)
    }

    /// Writes the payload of files in memory.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_held(&self, old: &[u8], new: &[u8], state: &mut State) -> Result<Vec<u8>, PatchError> {
        self.write(&mut Source::new(Cursor::new(old), old.len() as u64), new, state)
    }
}

/// The file that the payload stands for.
struct Known<R> {
    new: R,
}

impl<R: Read> Output for Known<R> {
    fn next(&mut self, bytes: &mut [u8]) -> Result<(), PatchError> {
        self.new.read_exact(bytes).map_err(PatchError::output)
    }

    fn settled(&mut self, _: &[u8]) -> Result<(), PatchError> {
        Ok(())
    }
}

/// What so many copies, so many bytes to correct and these bytes that nothing is like have taken on average.
pub(super) fn estimated(copies: usize, corrected: u64, literals: &[u64; 256]) -> u64 {
    copies as u64 * 3 + corrected * 3 / 4 + coded(literals) + 8
}

/// About what bytes take that occur so often: noise takes what it has, and of what the frequencies of others tell the models,
/// which know the bytes before, take four tenths off. In integers, so that every machine makes the same of it.
fn coded(counts: &[u64; 256]) -> u64 {
    /// Above, in bits for a byte, there is nothing that a model could learn.
    const NOISE: (u64, u64) = (15, 2);
    let whole = counts.iter().sum::<u64>();
    let used = || counts.iter().copied().filter(|&count| count > 0);
    let told: u64 = used().map(|count| count.saturating_mul(logarithm(whole) - logarithm(count))).sum();
    // Few bytes look more regular than what they were drawn from, by half a nat for each value (Miller and Madow).
    let bits = (told >> LOGARITHM_BITS) + used().count() as u64 * 3 / 4;
    if bits * NOISE.1 > whole * NOISE.0 { whole } else { bits * 6 / 80 }
}

const LOGARITHM_BITS: u32 = 8;

/// The binary logarithm of a number that is not zero, in fixed point; between powers of two it is as good as straight.
fn logarithm(number: u64) -> u64 {
    let power = number.ilog2();
    let rest = ((u128::from(number) << LOGARITHM_BITS) >> power) as u64 - (1 << LOGARITHM_BITS);
    u64::from(power) << LOGARITHM_BITS | rest
}
