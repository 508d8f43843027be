//! What the payloads of one frame hand on to each other.

use crate::align;

/// What was learned from the payloads of a frame so far. Begins anew with each frame, and has to see the frame's payloads in
/// their order, on both sides.
#[derive(Debug, Default)]
pub struct State {
    /// Made when it is first needed.
    models: Option<Box<align::Models>>,
}

impl State {
    /// The state at the beginning of a frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn models(&mut self) -> &mut align::Models {
        self.models.get_or_insert_with(|| Box::new(align::Models::new()))
    }
}
