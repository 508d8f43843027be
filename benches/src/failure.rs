use std::fmt::Display;

/// Why something could not be measured, or what was wrong with its result: what went wrong, and what to do about it.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Turns any error into a [`Failure`] that begins with what was being done.
pub trait Context<T> {
    /// Says what was being done.
    ///
    /// # Errors
    /// Where this is one.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{}: {error}", doing())))
    }
}
