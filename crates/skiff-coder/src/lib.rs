//! Adaptive binary arithmetic coding: models that learn, their mixing, and the coder that they drive.
//!
//! A *model* holds what was seen in some context as the probability that the next bit is 1, and learns with every bit. A
//! [`Coder`] turns bits and such probabilities into bytes and back. Everything is written once for both directions: a
//! function that takes a [`Coder`] is given the bits when it encodes, and gets them when it decodes.
//!
//! ```
//! use skiff_coder::{Coder, Decoder, Encoder, Number};
//!
//! /// Codes numbers in either direction.
//! fn code(coder: &mut impl Coder, numbers: &mut [u64]) {
//!     let mut model = Number::new();
//!     for number in numbers {
//!         *number = model.code(coder, *number, &[0; 3]);
//!     }
//! }
//!
//! let mut numbers = [3, 5, 3, 4, 3, 3, 1_000_000, 3];
//! let mut encoder = Encoder::new();
//! code(&mut encoder, &mut numbers);
//! let bytes = encoder.finish();
//!
//! let mut decoded = [0; 8];
//! let mut decoder = Decoder::new(&bytes);
//! code(&mut decoder, &mut decoded);
//! decoder.finish()?;
//! assert_eq!(decoded, numbers);
//! # Ok::<(), skiff_coder::Damaged>(())
//! ```
//!
//! All arithmetic is on integers, so that every machine computes the same; nothing here can fail on hostile bytes, which
//! decode to some bits or other until [`Decoder::finish`] tells.
//!
//! Sources: I. Witten, R. Neal, J. Cleary, *Arithmetic coding for data compression* (1987) for the coder; M. Mahoney,
//! *Adaptive weighing of context models for lossless data compression* (2005) for the mixing in the logistic domain.

mod adjusted;
mod bit;
mod bytes;
mod coder;
mod logistic;
mod mixer;
mod number;
mod slot;
mod text;

pub use bit::Bit;
pub use bytes::{Bytes, Expected, Sets};
pub use coder::{Coder, Damaged, Decoder, Encoder};
pub use mixer::Flags;
pub use number::{Number, Signed};
pub use text::{Kind, Text};
