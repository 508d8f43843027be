//! The container, seen from outside: golden files, any split of the input, every damage, hostile headers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damage;
mod golden;
mod hostile;
mod raw;
mod samples;
mod splits;
mod windows;

use skiff_format::{Decoder, Event, FormatError, Limits};

/// Decodes a delta that arrives in one piece: what came out, and how it ended.
fn decode(bytes: &[u8], limits: Limits) -> (Vec<Event>, Result<(), FormatError>) {
    let mut decoder = Decoder::new(limits);
    let mut events = Vec::new();
    let mut input = bytes;
    loop {
        match decoder.push(&mut input) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, decoder.finish()),
            Err(error) => {
                assert!(decoder.finish().is_err(), "a decoder that failed says that all is well");
                return (events, Err(error));
            }
        }
    }
}

/// The error of a delta that must not decode.
fn error_of(bytes: &[u8]) -> FormatError {
    decode(bytes, Limits::default()).1.expect_err("this must not decode")
}
