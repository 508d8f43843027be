//! The records of the contents section: which content, from what, by which codec. `doc/format.md` has the bytes.

use std::cmp::Ordering;

use skiff_wire::{Input, put_varint, unzigzag, zigzag};

/// The most parts a record's source is put together from.
pub const MAX_PARTS: usize = 16;

/// How one content, or the next part of it, is made.
///
/// Records of one content follow each other; each appends `output_len` bytes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<P = Vec<u8>> {
    /// The codec's number, as `skiff-patch` has it.
    pub codec: u16,
    /// The content's number, as [`skiff_tree::Skeleton::new_contents`] has it.
    pub content: u32,
    /// How many bytes come out, at least one.
    pub output_len: u64,
    /// What the codec reads from: these parts, one after the other.
    pub source: Vec<Part>,
    /// The codec's payload.
    pub payload: P,
}

/// A part of what a codec reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The content it is taken from.
    pub origin: Origin,
    /// Offset and length in bytes, the length not zero; none for the whole content.
    pub range: Option<(u64, u64)>,
}

/// A content that a codec may read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file at this place among the base's entries.
    Base(u32),
    /// The new content of this number, finished before.
    Target(u32),
}

/// Puts records into the payload of one frame.
#[must_use]
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.iter().map(|record| record.payload.len() + 24).sum());
    put_varint(&mut out, records.len() as u64);
    let (mut content, mut entry) = (0, 0);
    for record in records {
        put_varint(&mut out, u64::from(record.codec));
        put_varint(&mut out, zigzag(i64::from(record.content) - content));
        content = i64::from(record.content);
        put_varint(&mut out, record.output_len);
        put_varint(&mut out, record.source.len() as u64);
        for part in &record.source {
            match part.origin {
                Origin::Base(index) => {
                    put_varint(&mut out, zigzag(i64::from(index) - entry) << 1);
                    entry = i64::from(index);
                }
                Origin::Target(number) => put_varint(&mut out, u64::from(number) << 1 | 1),
            }
            match part.range {
                None => put_varint(&mut out, 0),
                Some((offset, length)) => {
                    put_varint(&mut out, length);
                    put_varint(&mut out, offset);
                }
            }
        }
        put_varint(&mut out, record.payload.len() as u64);
    }
    for record in records {
        out.extend_from_slice(&record.payload);
    }
    out
}

/// Why the payload of a frame is not made of records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the frame's payload: {what}")]
pub struct RecordError {
    /// Where in the payload.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// Takes the payload of one frame apart.
///
/// # Errors
/// [`RecordError`] for anything that [`encode`] does not write. Whether contents and entries exist is not known here.
pub fn decode(payload: &[u8]) -> Result<Vec<Record<&[u8]>>, RecordError> {
    records(payload).map(Iterator::collect)
}

/// Takes the payload of one frame apart, checked as a whole, one record after the other: a record takes far more memory
/// than the few bytes it may have in the frame, and there may be a million.
///
/// # Errors
/// As for [`decode`].
pub fn records(payload: &[u8]) -> Result<Records<'_>, RecordError> {
    let mut heads = Heads::new(payload);
    let count = integer(&mut heads.input)?;
    if count == 0 {
        return Err(refuse(&heads.input, "a frame of no records"));
    }
    let mut payload_len = 0_u64;
    for _ in 0..count {
        let (_, length) = heads.next()?;
        payload_len = payload_len.saturating_add(length);
    }
    let payloads = heads.input.rest();
    match payload_len.cmp(&(payloads.len() as u64)) {
        Ordering::Less => Err(refuse(&heads.input, "bytes follow the last record")),
        Ordering::Equal => {
            let mut heads = Heads::new(payload);
            integer(&mut heads.input)?;
            Ok(Records { heads, left: count, payloads })
        }
        Ordering::Greater => Err(refuse(&heads.input, "a record's payload is cut off")),
    }
}

/// The records of one frame, which were checked.
#[derive(Debug)]
pub struct Records<'p> {
    heads: Heads<'p>,
    left: u64,
    payloads: &'p [u8],
}

impl<'p> Iterator for Records<'p> {
    type Item = Record<&'p [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let checked = "because all records were read before";
        let (record, length) = self.heads.next().expect(checked);
        let length = usize::try_from(length).expect(checked);
        let (payload, rest) = self.payloads.split_at(length);
        self.payloads = rest;
        Some(Record { payload, ..record })
    }
}

/// What stands before the payloads.
#[derive(Debug)]
struct Heads<'p> {
    input: Input<&'p [u8]>,
    content: u32,
    entry: u32,
}

impl<'p> Heads<'p> {
    fn new(payload: &'p [u8]) -> Self {
        Self { input: Input::new(payload), content: 0, entry: 0 }
    }

    /// The next record, its payload yet to be found, and that payload's length.
    fn next(&mut self) -> Result<(Record<&'p [u8]>, u64), RecordError> {
        let input = &mut self.input;
        let codec = u16::try_from(integer(input)?).map_err(|_| refuse(input, "no codec has this number"))?;
        self.content = moved(input, self.content, "no content has this number")?;
        let output_len = integer(input)?;
        if output_len == 0 {
            return Err(refuse(input, "a record that makes nothing"));
        }
        let source = parts(input, &mut self.entry)?;
        let length = integer(input)?;
        Ok((Record { codec, content: self.content, output_len, source, payload: &[] }, length))
    }
}

fn parts(input: &mut Input<&[u8]>, entry: &mut u32) -> Result<Vec<Part>, RecordError> {
    let count = integer(input)?;
    if count > MAX_PARTS as u64 {
        return Err(refuse(input, "a source of more than 16 parts"));
    }
    let mut source = Vec::new();
    for _ in 0..count {
        let told = integer(input)?;
        let origin = if told & 1 == 1 {
            Origin::Target(u32::try_from(told >> 1).map_err(|_| refuse(input, "no content has this number"))?)
        } else {
            let index = i64::from(*entry)
                .checked_add(unzigzag(told >> 1))
                .and_then(|index| u32::try_from(index).ok());
            *entry = index.ok_or_else(|| refuse(input, "no entry has this number"))?;
            Origin::Base(*entry)
        };
        let range = match integer(input)? {
            0 => None,
            length => Some((integer(input)?, length)),
        };
        source.push(Part { origin, range });
    }
    Ok(source)
}

fn moved(input: &mut Input<&[u8]>, from: u32, what: &str) -> Result<u32, RecordError> {
    let by = unzigzag(integer(input)?);
    let to = i64::from(from).checked_add(by).and_then(|to| u32::try_from(to).ok());
    to.ok_or_else(|| refuse(input, what))
}

fn integer(input: &mut Input<&[u8]>) -> Result<u64, RecordError> {
    input.varint().map_err(|error| RecordError { offset: error.offset, what: error.fault.to_string() })
}

fn refuse(input: &Input<&[u8]>, what: &str) -> RecordError {
    RecordError { offset: input.offset(), what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = Part> {
        let origin = prop_oneof![any::<u32>().prop_map(Origin::Base), any::<u32>().prop_map(Origin::Target)];
        let range = prop::option::of((any::<u64>(), 1..=u64::MAX));
        (origin, range).prop_map(|(origin, range)| Part { origin, range })
    }

    fn record() -> impl Strategy<Value = Record> {
        (any::<u16>(), any::<u32>(), 1..=u64::MAX, vec(part(), 0..=MAX_PARTS), vec(any::<u8>(), 0..40))
            .prop_map(|(codec, content, output_len, source, payload)| Record {
                codec,
                content,
                output_len,
                source,
                payload,
            })
    }

    proptest! {
        #[test]
        fn records_come_back(records in vec(record(), 1..8)) {
            let bytes = encode(&records);
            let read: Vec<Record> = decode(&bytes).unwrap().into_iter()
                .map(|r| Record { codec: r.codec, content: r.content, output_len: r.output_len, source: r.source, payload: r.payload.to_vec() })
                .collect();
            prop_assert_eq!(read, records);
            for length in 0..bytes.len() {
                prop_assert!(decode(&bytes[..length]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_records_in_one_form_or_an_error(bytes in vec(any::<u8>(), 0..64)) {
            if let Ok(records) = decode(&bytes) {
                let owned: Vec<Record> = records.into_iter()
                    .map(|r| Record { codec: r.codec, content: r.content, output_len: r.output_len, source: r.source, payload: r.payload.to_vec() })
                    .collect();
                prop_assert_eq!(encode(&owned), bytes);
            }
        }
    }
}
