//! Refusals and failures.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was not answered as asked: the body of every response from 400 on, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// What kind of problem it is, for programs.
    pub code: ProblemCode,
    /// What kind of problem it is, for people.
    pub title: String,
    /// The response's status.
    pub status: u16,
    /// What was wrong with this request, and what to do.
    pub detail: String,
}

/// Declares the codes with their status, name and title, each once.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $status:literal, $name:literal, $title:literal;)*) => {
        /// What kind of problem it is. A client that does not know a code goes by the status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $name)] $code,)*
            /// One that a later version has.
            #[serde(other, rename = "other")]
            Other,
        }

        impl ProblemCode {
            /// Every code of this version.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The status that it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$code => $status,)*
                    Self::Other => 500,
                }
            }

            /// What it is called in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                    Self::Other => "other",
                }
            }

            /// What it means.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$code => $title,)*
                    Self::Other => "A problem that this version does not know",
                }
            }
        }
    };
}

codes! {
    /// The request could not be understood.
    BadRequest = 400, "bad-request", "The request could not be understood";
    /// A configuration variable has a name or value that cannot be taken.
    BadVariable = 422, "bad-variable", "A configuration variable has a name or value that cannot be taken";
    /// There is no token, or one that is not known.
    Unauthorized = 401, "unauthorized", "A token that is known is needed";
    /// The token does not allow it.
    Forbidden = 403, "forbidden", "The token does not allow this";
    /// There is nothing here.
    NotFound = 404, "not-found", "There is nothing here";
    /// The path is there, and the method is none of it.
    MethodNotAllowed = 405, "method-not-allowed", "This is not done here by that method";
    /// The base is not known: a signature of it lets a delta be made all the same.
    BaseUnknown = 404, "base-unknown", "The base is not known here: send a signature of it, or pull the image";
    /// The target is no release of the device's fleet.
    TargetUnknown = 404, "target-unknown", "The target is not known here";
    /// Pulling the image is cheaper than the delta.
    PullCheaper = 409, "pull-cheaper", "Pulling the image is cheaper";
    /// No delta can be made that a device of such capabilities applies.
    NotForDevice = 409, "not-for-device", "No delta can be made that the device could apply: pull the image";
    /// The delta could not be made.
    DeltaFailed = 409, "delta-failed", "The delta could not be made: pull the image";
    /// There is one of that name already, or it is in use.
    Conflict = 409, "conflict", "It contradicts what is there";
    /// The body is longer than is taken.
    TooLarge = 413, "too-large", "The body is longer than is taken here";
    /// The range is not within the delta.
    RangeNotSatisfiable = 416, "range-not-satisfiable", "The range is not within what there is";
    /// The body is of another type than is taken.
    UnsupportedMediaType = 415, "unsupported-media-type", "The body is of a type that is not taken here";
    /// What was sent is well formed and cannot be used.
    Unprocessable = 422, "unprocessable", "What was sent cannot be used";
    /// More is asked than can be done at once.
    Busy = 503, "busy", "More is asked than can be done now: try again later";
    /// It took too long.
    TimedOut = 408, "timed-out", "The request took too long";
    /// The server has no space left.
    NoSpace = 507, "no-space", "The server has no space left: try again once it has";
    /// The server is at fault.
    Internal = 500, "internal", "The server failed: its log says why";
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for ProblemCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let names = Self::ALL.iter().map(|code| code.name());
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some(
                "What kind of problem it is. A client that does not know a code goes by the status.",
            ))
            .enum_values(Some(names.collect::<Vec<_>>()))
            .into()
    }
}

// Not derived: that does not see the names, which the macro above hands on.
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ProblemCode {}

impl Problem {
    /// A problem of a kind, told in words.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, title: code.title().into(), status: code.status(), detail: detail.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.title, self.status, self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_by_their_names_and_unknown_ones_are_read() {
        for &code in ProblemCode::ALL {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("{:?}", code.name()));
            assert_eq!(serde_json::from_str::<ProblemCode>(&json).unwrap(), code);
            assert!((400..600).contains(&code.status()));
        }
        assert_eq!(serde_json::from_str::<ProblemCode>("\"later\"").unwrap(), ProblemCode::Other);
    }
}
