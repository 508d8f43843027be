use std::fmt::Display;
use std::process::ExitCode;

/// Why something could not be measured, or what was wrong with its result: what went wrong, and what to do about it.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// How a runner of this name ends; says on standard error why it failed.
#[must_use]
pub fn end(runner: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("{runner}: {message}");
            ExitCode::FAILURE
        }
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
