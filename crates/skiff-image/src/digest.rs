skiff_wire::digests! {
    "sha256:";
    /// The SHA-256 of a layer's tar archive, uncompressed: what the config names it by, and what two images have in common.
    DiffId;
    /// The SHA-256 of a blob as it is stored and pulled, compressed where it is: what the manifest names it by.
    BlobDigest;
}

impl BlobDigest {
    /// Where a layout has the blob, beneath its directory: `blobs/sha256/` and 64 hexadecimal digits.
    #[must_use]
    pub fn blob_name(&self) -> String {
        format!("blobs/{}", self.to_string().replacen(':', "/", 1))
    }
}
