//! Binary delta updates of container images: the paved path over the skiff crates.
