//! How a device asks for a delta.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use skiff_tree::ReleaseId;

use crate::{Capabilities, Codec, Problem, ProblemCode};

/// The header that tells which of several bases the delta is for.
pub const DELTA_BASE_HEADER: &str = "skiff-delta-base";
/// The header that tells how many bytes the whole delta has.
pub const DELTA_SIZE_HEADER: &str = "skiff-delta-size";
/// How many bases a device may name, the one in the path included.
pub const MAX_BASES: usize = 4;

/// Asks for the delta to a target: `GET` [`path`](Self::path).
///
/// ```
/// use skiff_protocol::{Capabilities, DeltaRequest};
/// # use skiff_tree::ReleaseId;
/// # let (old, new) = (ReleaseId::of(b"old"), ReleaseId::of(b"new"));
/// let capabilities = Capabilities {
///     formats: [1].into(),
///     codecs: ["1".parse()?, "2".parse()?].into(),
///     decoder_memory: Some(32 << 20),
/// };
/// let request = DeltaRequest { bases: vec![old], target: new, capabilities };
/// assert_eq!(request.path(), format!("/v1/deltas/{old}/{new}?formats=1&codecs=1,2&memory=33554432"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaRequest {
    /// Releases that the device holds; the cheapest delta from any of them is sent. One at least, and [`MAX_BASES`] at most.
    pub bases: Vec<ReleaseId>,
    /// The release that it wants.
    pub target: ReleaseId,
    /// What it can apply.
    pub capabilities: Capabilities,
}

impl DeltaRequest {
    /// The path and query to ask with.
    #[must_use]
    pub fn path(&self) -> String {
        let Self { bases, target, capabilities } = self;
        let first = bases.first().copied().unwrap_or(*target);
        let mut path = format!("/v1/deltas/{first}/{target}?formats={}", list(&capabilities.formats));
        path.push_str(&format!("&codecs={}", list(&capabilities.codecs)));
        if let Some(memory) = capabilities.decoder_memory {
            path.push_str(&format!("&memory={memory}"));
        }
        if bases.len() > 1 {
            path.push_str(&format!("&also={}", list(&bases[1..])));
        }
        path
    }

    /// Reads what [`path`](Self::path) wrote, once its parts are taken apart: the two releases, and what the query says of the rest.
    ///
    /// # Errors
    /// A [`Problem`] where something is missing or cannot be understood.
    pub fn parse(base: &str, target: &str, query: &DeltaQuery) -> Result<Self, Problem> {
        let mut bases = vec![release("the base", base)?];
        if let Some(also) = &query.also {
            if also.split(',').count() >= MAX_BASES {
                return Err(refuse(format!("{MAX_BASES} bases at most may be named")));
            }
            for base in also.split(',') {
                let base = release("a base in \"also\"", base)?;
                if !bases.contains(&base) {
                    bases.push(base);
                }
            }
        }
        let target = release("the target", target)?;
        let formats = items("formats", &query.formats)?;
        let codecs: BTreeSet<Codec> = items("codecs", &query.codecs)?;
        let capabilities = Capabilities { formats, codecs, decoder_memory: query.memory };
        Ok(Self { bases, target, capabilities })
    }
}

/// The query of a request for a delta.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct DeltaQuery {
    /// Versions of the format that the device reads, with commas between them.
    #[cfg_attr(feature = "openapi", param(value_type = Vec<crate::schema::Version>, inline))]
    #[cfg_attr(feature = "openapi", param(style = Form, explode = false, min_items = 1, max_items = 256, example = json!([0])))]
    pub formats: String,
    /// Codecs that the device has, `ID` or `ID.VERSION`, with commas between them.
    #[cfg_attr(feature = "openapi", param(value_type = Vec<crate::schema::CodecText>, inline))]
    #[cfg_attr(feature = "openapi", param(style = Form, explode = false, min_items = 1, max_items = 256))]
    #[cfg_attr(feature = "openapi", param(example = json!(["1", "2", "3", "4", "5", "6", "7"])))]
    pub codecs: String,
    /// The most memory that decoding may take, in bytes.
    #[cfg_attr(feature = "openapi", param(value_type = Option<crate::schema::Bytes>, inline))]
    pub memory: Option<u64>,
    /// Further releases that the device holds, with commas between them.
    #[cfg_attr(feature = "openapi", param(value_type = Option<Vec<crate::schema::Release>>, inline))]
    #[cfg_attr(feature = "openapi", param(style = Form, explode = false, min_items = 1, max_items = 3))]
    pub also: Option<String>,
}

/// The body of a 202: the delta is being made. The header `Retry-After` says when to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pending {
    /// What is being done.
    pub stage: Stage,
    /// Bytes of new contents dealt with.
    pub done: u64,
    /// Bytes of new contents in all; 0 while that is not known.
    pub total: u64,
}

/// What is being done about a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Stage {
    /// Others are made before it.
    Waiting,
    /// The images are read.
    Reading,
    /// They are compared.
    Comparing,
    /// Something that a later version does.
    #[serde(other)]
    Other,
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// More than there are of anything that is listed.
const MAX_ITEMS: usize = 256;

fn items<T: FromStr + Ord>(what: &str, text: &str) -> Result<BTreeSet<T>, Problem> {
    if text.split(',').count() > MAX_ITEMS {
        return Err(refuse(format!("{what}: there are more than {MAX_ITEMS}")));
    }
    let parsed = text.split(',').map(|item| item.parse().map_err(|_| item));
    parsed.collect::<Result<_, _>>().map_err(|item| {
        let item: String = item.chars().take(80).collect();
        refuse(format!("{what}: {item:?} is none of those; they are listed with commas between them"))
    })
}

fn release(what: &str, text: &str) -> Result<ReleaseId, Problem> {
    text.parse().map_err(|error| refuse(format!("{what}: {error}")))
}

fn refuse(detail: String) -> Problem {
    Problem::new(ProblemCode::BadRequest, detail)
}
