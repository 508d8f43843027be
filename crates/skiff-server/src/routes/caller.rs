//! Who asks.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use skiff_protocol::{Name, ProblemCode};

use super::answer::{Refusal, refuse};
use crate::record::Role;
use crate::{Server, tokens};

/// Somebody whose token is known.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Administrator,
    Device(DeviceCaller),
}

/// A device.
#[derive(Debug, Clone)]
pub(crate) struct DeviceCaller {
    pub(crate) name: Name,
    pub(crate) fleet: Name,
    /// The digest of its token.
    pub(crate) token: String,
}

/// Somebody who may do everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Administrator;

impl Caller {
    /// Whether it may see a fleet's images and deltas.
    pub(crate) fn may_see(&self, fleet: &Name) -> bool {
        match self {
            Self::Administrator => true,
            Self::Device(device) => device.fleet == *fleet,
        }
    }

    /// Which device it is, if it is one.
    pub(crate) fn device(&self) -> Option<&Name> {
        match self {
            Self::Administrator => None,
            Self::Device(device) => Some(&device.name),
        }
    }
}

impl FromRequestParts<Server> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Refusal> {
        let Some(token) = parts.headers.get(AUTHORIZATION).and_then(|header| token(header.to_str().ok()?))
        else {
            return refuse(ProblemCode::Unauthorized, "send a token, as in Authorization: Bearer TOKEN");
        };
        let book = server.parts.books.read();
        let token = tokens::digest(&token);
        match book.tokens.get(&token) {
            Some(Role::Administrator) => Ok(Self::Administrator),
            Some(Role::Device(name)) if let Some(device) = book.devices.get(name) => {
                Ok(Self::Device(DeviceCaller { name: name.clone(), fleet: device.fleet.clone(), token }))
            }
            _ => refuse(ProblemCode::Unauthorized, "the token is not known"),
        }
    }
}

impl FromRequestParts<Server> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Refusal> {
        match Caller::from_request_parts(parts, server).await? {
            Caller::Administrator => Ok(Self),
            Caller::Device(_) => refuse(ProblemCode::Forbidden, "this takes an administrator's token"),
        }
    }
}

impl FromRequestParts<Server> for DeviceCaller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Refusal> {
        match Caller::from_request_parts(parts, server).await? {
            Caller::Device(device) => Ok(device),
            Caller::Administrator => refuse(ProblemCode::Forbidden, "this takes a device's token"),
        }
    }
}

/// The token of a header: as it is, or as the password that clients of registries send.
fn token(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.into());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        return Some(decoded.split_once(':')?.1.into());
    }
    None
}
