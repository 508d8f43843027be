//! Files without their holes, in each format that GNU tar has had.

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::Layer;

const BLOCK: usize = 512;

/// How a tar archive keeps a file without its holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparseFormat {
    /// Type `S`, with the map in the header and in blocks after it.
    Gnu,
    /// PAX 0.0: a record for each offset, and one for each length.
    Pax00,
    /// PAX 0.1: the map in one record.
    Pax01,
    /// PAX 1.0: the map before the content.
    Pax10,
}

impl SparseFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gnu, Self::Pax00, Self::Pax01, Self::Pax10];
}

/// What stands in the header of type `S` and after it: offsets and lengths, and the size with the holes.
#[derive(Debug, Clone)]
pub(crate) struct GnuMap {
    pieces: Vec<(u64, u64)>,
    size: u64,
}

impl Layer {
    /// Adds a regular file without its holes: pieces, each with its offset, and the size with the holes.
    #[must_use]
    pub fn sparse_file(
        self,
        name: impl AsRef<[u8]>,
        format: SparseFormat,
        pieces: &[(u64, &[u8])],
        size: u64,
    ) -> Self {
        let name = name.as_ref();
        let stored: Vec<u8> = pieces.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let map: Vec<(u64, u64)> =
            pieces.iter().map(|&(offset, bytes)| (offset, bytes.len() as u64)).collect();
        let (size_text, count) = (size.to_string(), map.len().to_string());
        let other = [b"GNUSparseFile.0/", name].concat();
        match format {
            SparseFormat::Gnu => self.gnu_sparse_file(name, stored, GnuMap { pieces: map, size }),
            SparseFormat::Pax00 => {
                let layer = self.file(name, stored).pax("GNU.sparse.size", size_text);
                let layer = layer.pax("GNU.sparse.numblocks", count);
                map.iter().fold(layer, |layer, (offset, length)| {
                    let layer = layer.pax("GNU.sparse.offset", offset.to_string());
                    layer.pax("GNU.sparse.numbytes", length.to_string())
                })
            }
            SparseFormat::Pax01 => {
                let numbers = map.iter().map(|(offset, length)| format!("{offset},{length}"));
                let layer = self.file(other, stored).pax("GNU.sparse.size", size_text);
                let layer = layer.pax("GNU.sparse.numblocks", count).pax("GNU.sparse.name", name);
                layer.pax("GNU.sparse.map", numbers.collect::<Vec<_>>().join(","))
            }
            SparseFormat::Pax10 => {
                let lines = map.iter().map(|(offset, length)| format!("{offset}\n{length}\n"));
                let mut content = format!("{count}\n{}", lines.collect::<String>()).into_bytes();
                content.resize(content.len().next_multiple_of(BLOCK), 0);
                content.extend_from_slice(&stored);
                let layer =
                    self.file(other, content).pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0");
                layer.pax("GNU.sparse.name", name).pax("GNU.sparse.realsize", size_text)
            }
        }
    }
}

impl GnuMap {
    /// Fills in what of the map fits into the header, and returns the blocks for the rest.
    pub(crate) fn write(&self, header: &mut Header) -> Vec<u8> {
        let header = header.as_gnu_mut().expect("a header of GNU's format");
        header.realsize[..11].copy_from_slice(format!("{:011o}", self.size).as_bytes());
        let (first, rest) = self.pieces.split_at(self.pieces.len().min(header.sparse.len()));
        put(&mut header.sparse, first);
        header.isextended = [u8::from(!rest.is_empty())];
        let mut blocks = Vec::new();
        let mut rest = rest.chunks(21).peekable();
        while let Some(pieces) = rest.next() {
            let mut block = GnuExtSparseHeader::new();
            put(&mut block.sparse, pieces);
            block.isextended = [u8::from(rest.peek().is_some())];
            blocks.extend_from_slice(block.as_bytes());
        }
        blocks
    }
}

fn put(fields: &mut [GnuSparseHeader], pieces: &[(u64, u64)]) {
    for (field, (offset, length)) in fields.iter_mut().zip(pieces) {
        field.offset[..11].copy_from_slice(format!("{offset:011o}").as_bytes());
        field.numbytes[..11].copy_from_slice(format!("{length:011o}").as_bytes());
    }
}
