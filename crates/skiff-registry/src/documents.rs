//! What registries say in JSON.

use serde::Deserialize;

use crate::error::shown;
use crate::session::Answered;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The code and message of an answer that refuses.
pub(crate) fn refusal(answered: Answered, limit: u64) -> (String, String) {
    let bytes = answered.document("", limit).unwrap_or_default();
    let errors = serde_json::from_slice::<Errors>(&bytes).map(|errors| errors.errors).unwrap_or_default();
    match errors.into_iter().next() {
        Some(error) => (shown(&error.code), shown(&error.message)),
        None => ("UNKNOWN".into(), "it does not say why".into()),
    }
}
