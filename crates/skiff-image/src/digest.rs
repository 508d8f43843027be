skiff_wire::digests! {
    "sha256:";
    /// The SHA-256 of a layer's tar archive, uncompressed: what the config names it by, and what two images have in common.
    DiffId;
    /// The SHA-256 of a blob as it is stored and pulled, compressed where it is: what the manifest names it by.
    BlobDigest;
}
