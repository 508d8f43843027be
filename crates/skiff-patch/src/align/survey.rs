//! What the prediction of each kind of reference is worth.

use super::ReferenceKind;
use super::encode::{Options, Plan};
use crate::predict::Kinds;
use crate::{PatchError, State};

/// Tells how long payloads were if references of some kinds were not predicted, but corrected byte by byte.
///
/// Only lengths come of it: decoders predict references of every kind.
///
/// ```
/// use skiff_patch::align::{ReferenceKind, Survey};
///
/// let old = b"In the beginning was the word. ".repeat(20);
/// let new = b"In the beginning was the bird. ".repeat(20);
/// let mut survey = Survey::without(&[ReferenceKind::Call]);
/// let first = survey.payload_len(&old, &new)?;
/// // What changes in one file is known when it changes in the next.
/// assert!(survey.payload_len(&old, &new)? < first);
/// # Ok::<(), skiff_patch::PatchError>(())
/// ```
#[derive(Debug)]
pub struct Survey {
    silent: Kinds,
    state: State,
}

impl Survey {
    /// A survey of one frame, in which references of these kinds are not predicted.
    #[must_use]
    pub fn without(kinds: &[ReferenceKind]) -> Self {
        Self { silent: Kinds::of(kinds), state: State::new() }
    }

    /// How many bytes the payload of the frame's next file takes that makes `new` from `old`.
    ///
    /// # Errors
    /// None but those of [`Plan::write_held`], which files in memory have no reason for.
    pub fn payload_len(&mut self, old: &[u8], new: &[u8]) -> Result<u64, PatchError> {
        let plan = Plan::silent_on(old, new, &Options::default(), self.silent);
        Ok(plan.write_held(old, new, &mut self.state)?.len() as u64)
    }
}
