//! The delta container: a decoder without I/O, an encoder, frames and their compression, limits and digests.
