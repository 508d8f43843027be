//! What a delta server and a device's supervisor say to each other, and the configuration variables with their precedence.
//!
//! Messages are JSON, described by the types of this crate; names and digests that were parsed are right. An error is a [`Problem`],
//! as RFC 9457 has it, with a [`ProblemCode`] that a program decides by. How a device asks for a delta is told by
//! [`DeltaRequest`], and by [`Capabilities`] what it can apply. Nothing here does I/O.
//!
//! ```
//! use skiff_protocol::{Settings, Variables, effective};
//!
//! let mut fleet = Variables::new();
//! fleet.set("SKIFF_SUPERVISOR_DELTA".parse()?, "1")?;
//! fleet.set("SKIFF_SUPERVISOR_DELTA_RETRY_COUNT".parse()?, "3")?;
//! let mut device = Variables::new();
//! // A device's own variable counts more than its fleet's, whatever their prefixes.
//! device.set("RESIN_SUPERVISOR_DELTA_RETRY_COUNT".parse()?, "7")?;
//! // What could not be understood is refused when it is set.
//! assert!(device.set("BALENA_SUPERVISOR_DELTA".parse()?, "perhaps").is_err());
//!
//! let variables = effective(&[&device, &fleet]);
//! let (settings, problems) = Settings::read(&variables);
//! assert!(settings.is_delta_enabled && settings.retry_count == 7 && problems.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod capabilities;
mod delta;
mod fleet;
mod name;
mod problem;
#[cfg(feature = "openapi")]
mod schema;
mod settings;
mod status;
mod text;
mod variable;
mod whole;

skiff_wire::digests! {
    "sha256:";
    /// The SHA-256 of an image's manifest, as registries spell it.
    ImageDigest;
}

pub use address::{AddressError, ServerAddress, Tls, Token};
pub use capabilities::{Capabilities, Codec, CodecParseError};
pub use delta::{DELTA_BASE_HEADER, DELTA_SIZE_HEADER, DeltaQuery, DeltaRequest, MAX_BASES, Pending, Stage};
pub use fleet::{
    Device, Fleet, FleetTarget, Move, NewDevice, NewFleet, NewRelease, NewToken, Release, ReleaseState,
};
pub use name::{Name, NameError};
pub use problem::{Problem, ProblemCode};
pub use settings::{Setting, Settings, WrongValue};
pub use status::{Event, ImageSource, Outcome, Phase, Report, Status, Target};
pub use text::Text;
pub use variable::{MAX_VALUE, MAX_VARIABLES, VariableError, VariableName, Variables, effective};
