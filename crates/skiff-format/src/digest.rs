skiff_wire::digests! {
    "";
    /// A SHA-256 digest of anything in a delta. What it is of is for the caller to know: the container is opaque.
    Digest;
}
