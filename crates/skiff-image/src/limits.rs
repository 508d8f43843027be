/// What reading an image may cost. The defaults fit the largest images in use several times over.
///
/// Memory goes with the entries and their names, links and attributes, never with contents: those go to the disk. Beyond
/// them, decompression takes what the format asks for: 32 KiB for gzip, at most
/// [`decoder_memory`](Self::decoder_memory) for zstd and xz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Stops floods of entries: those of all layers together, whiteouts, and directories that no layer declares. Each takes
    /// some 350 bytes of memory while layers are read, and some 250 in what comes out. Default 4,000,000.
    pub entries: u64,
    /// Stops floods of long names: the names, link targets and extended attributes of all entries together, in bytes, and the names
    /// and links of the members of an archive that holds an image. Default 512 MiB.
    pub names: u64,
    /// Stops endless extension headers (PAX records, GNU long names): the bytes of one. Default 1 MiB, as Go has it.
    pub extension: u64,
    /// Stops floods of holes: the pieces of one sparse file. Default 1,000,000.
    pub sparse_pieces: u64,
    /// Stops decompression bombs: the bytes of all layers together, uncompressed, and those of the files in them, holes
    /// included. Default 128 GiB.
    pub layer_bytes: u64,
    /// Stops decompressors that ask for large windows: bytes of memory for the one of a layer. Default 128 MiB: what zstd grants
    /// unless told otherwise, and twice what `xz -9` asks for.
    pub decoder_memory: u64,
    /// Stops floods of layers. Default 1,000; engines stop at 127.
    pub layers: u64,
    /// Stops floods of members in an archive that holds an image. Default 100,000.
    pub archive_members: u64,
    /// Stops bloated documents: the bytes of an index, a manifest or a config. Default 8 MiB; registries stop at 4 MiB.
    pub document: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            names: 512 << 20,
            extension: 1 << 20,
            sparse_pieces: 1_000_000,
            layer_bytes: 128 << 30,
            decoder_memory: 128 << 20,
            layers: 1_000,
            archive_members: 100_000,
            document: 8 << 20,
        }
    }
}
