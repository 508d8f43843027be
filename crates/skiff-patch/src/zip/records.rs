//! The fields of the format's records (APPNOTE.TXT 4.3) that this codec looks into.

/// A local header up to its name.
pub(super) const LOCAL_BYTES: usize = 30;
pub(super) const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";
/// An entry of the directory up to its name.
pub(super) const CENTRAL_BYTES: usize = 46;
pub(super) const CENTRAL_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
const DESCRIPTOR_SIGNATURE: [u8; 4] = *b"PK\x07\x08";

/// Where a local header has its sums, and where an entry has them.
const LOCAL_SUMS: usize = 14;
const CENTRAL_SUMS: usize = 16;
const SUMS_BYTES: usize = 12;
/// Where an entry has the offset of its header.
const CENTRAL_OFFSET: usize = 42;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// What the format says of a member's content, three times over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sums {
    pub(super) checksum: u32,
    pub(super) packed: u32,
    pub(super) plain: u32,
}

impl Sums {
    pub(super) fn bytes(self) -> [u8; SUMS_BYTES] {
        let words = [self.checksum, self.packed, self.plain].map(u32::to_le_bytes);
        let mut bytes = [0; SUMS_BYTES];
        bytes.copy_from_slice(words.as_flattened());
        bytes
    }

    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let word = |index: usize| u32_at(bytes, at + 4 * index);
        Some(Self { checksum: word(0)?, packed: word(1)?, plain: word(2)? })
    }
}

/// The length of the local header at the start of `bytes`, with name and extra field.
pub(super) fn local_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<LOCAL_BYTES>()?;
    let variable = usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
    header.starts_with(&LOCAL_SIGNATURE).then_some(LOCAL_BYTES + variable)
}

/// The method that a local header names.
pub(super) fn local_method(header: &[u8]) -> Option<u16> {
    u16_at(header, 8)
}

#[cfg(feature = "encode")]
pub(super) fn local_sums_of(header: &[u8]) -> Option<&[u8]> {
    header.get(LOCAL_SUMS..LOCAL_SUMS + SUMS_BYTES)
}

/// The sums of a local header, to be read or written.
pub(super) fn local_sums(header: &mut [u8]) -> Option<&mut [u8]> {
    header.get_mut(LOCAL_SUMS..LOCAL_SUMS + SUMS_BYTES)
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Central {
    /// With name, extra field and comment.
    pub(super) length: usize,
    #[cfg_attr(not(feature = "encode"), expect(dead_code))]
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) sums: Sums,
    #[cfg_attr(not(feature = "encode"), expect(dead_code))]
    pub(super) name_length: usize,
    /// Where the header is, from the start of the archive.
    pub(super) offset: u32,
}

impl Central {
    /// The entry at the start of `bytes`, which may end behind its fixed part.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let entry = bytes.first_chunk::<CENTRAL_BYTES>()?;
        if !entry.starts_with(&CENTRAL_SIGNATURE) {
            return None;
        }
        let name_length = usize::from(u16_at(entry, 28)?);
        let behind = usize::from(u16_at(entry, 30)?) + usize::from(u16_at(entry, 32)?);
        Some(Self {
            length: CENTRAL_BYTES + name_length + behind,
            flags: u16_at(entry, 8)?,
            method: u16_at(entry, 10)?,
            sums: Sums::at(entry, CENTRAL_SUMS)?,
            name_length,
            offset: u32_at(entry, CENTRAL_OFFSET)?,
        })
    }
}

/// Writes what follows from a member into its entry; the sums only where they are known.
pub(super) fn fill_central(entry: &mut [u8], sums: Option<Sums>, offset: u32) {
    if let (Some(sums), Some(place)) = (sums, entry.get_mut(CENTRAL_SUMS..CENTRAL_SUMS + SUMS_BYTES)) {
        place.copy_from_slice(&sums.bytes());
    }
    if let Some(place) = entry.get_mut(CENTRAL_OFFSET..CENTRAL_OFFSET + 4) {
        place.copy_from_slice(&offset.to_le_bytes());
    }
}

/// How the sums stand behind a member's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Descriptor {
    None,
    Signed,
    Bare,
}

impl Descriptor {
    pub(super) fn bytes(self, sums: Sums) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Signed => [&DESCRIPTOR_SIGNATURE[..], &sums.bytes()].concat(),
            Self::Bare => sums.bytes().to_vec(),
        }
    }
}
