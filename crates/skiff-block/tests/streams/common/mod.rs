//! What several tests need.

pub(crate) use skiff_testkit::{Random, noise};
