//! The flattened filesystem of an image as a value: entries, canonical order and encoding, digests, and the difference of two trees.
