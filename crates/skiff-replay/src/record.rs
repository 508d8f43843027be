//! The records of the contents section: which content, from what, by which codec. `doc/format.md` has the bytes.

use std::cmp::Ordering;

use skiff_wire::{Input, put_varint, unzigzag, zigzag};

pub use crate::known::Known;

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
    /// What of it.
    pub extent: Extent,
}

/// What a part has of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Some of its bytes.
    Range {
        /// Where they begin.
        offset: u64,
        /// How many there are: at least one, and less than 2⁶⁴ − 1.
        length: u64,
    },
    /// All of it, with checksums of what is new: see [`renew`](crate::renew).
    Renewed,
}

/// A content that a codec may read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file at this place among the base's entries.
    Base(u32),
    /// The new content of this number, finished before.
    Target(u32),
}

/// What a head has in the low bits of its first integer: what is as it mostly is.
const NEXT: u64 = 1;
const WHOLE: u64 = 2;
const HOME: u64 = 4;
const FLAG_BITS: u32 = 3;

/// What the record before leaves to the next one.
#[derive(Debug, Clone, Copy)]
struct Before {
    content: i64,
    entry: i64,
}

impl Before {
    const FIRST: Self = Self { content: -1, entry: 0 };
}

/// The source that a content has if nothing else is told: the file at its path.
fn home(known: &Known, content: u32) -> Option<Part> {
    known.home(content).map(|index| Part { origin: Origin::Base(index), extent: Extent::Whole })
}

/// Puts records into the payload of one frame.
#[must_use]
pub fn encode(records: &[Record], known: &Known) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.iter().map(|record| record.payload.len() + 24).sum());
    put_varint(&mut out, records.len() as u64);
    let mut before = Before::FIRST;
    for record in records {
        put_head(&mut out, record, known, &mut before);
    }
    for record in records {
        out.extend_from_slice(&record.payload);
    }
    out
}

fn put_head(out: &mut Vec<u8>, record: &Record, known: &Known, before: &mut Before) {
    let by = i64::from(record.content) - before.content;
    before.content = i64::from(record.content);
    let is_next = by == 1;
    let is_whole = known.size(record.content) == Some(record.output_len);
    let home = home(known, record.content).filter(|home| record.source == [*home]);
    let flag = |is: bool, flag| if is { flag } else { 0 };
    let flags = flag(is_next, NEXT) | flag(is_whole, WHOLE) | flag(home.is_some(), HOME);
    put_varint(out, u64::from(record.codec) << FLAG_BITS | flags);
    if !is_next {
        put_varint(out, zigzag(by));
    }
    if !is_whole {
        put_varint(out, record.output_len);
    }
    if let Some(Part { origin: Origin::Base(index), .. }) = home {
        before.entry = i64::from(index);
    } else {
        put_parts(out, &record.source, &mut before.entry);
    }
    put_varint(out, record.payload.len() as u64);
}

fn put_parts(out: &mut Vec<u8>, source: &[Part], entry: &mut i64) {
    put_varint(out, source.len() as u64);
    for part in source {
        match part.origin {
            Origin::Base(index) => {
                put_varint(out, zigzag(i64::from(index) - *entry) << 1);
                *entry = i64::from(index);
            }
            Origin::Target(number) => put_varint(out, u64::from(number) << 1 | 1),
        }
        match part.extent {
            Extent::Whole => put_varint(out, 0),
            Extent::Renewed => put_varint(out, 1),
            Extent::Range { offset, length } => {
                put_varint(out, length + 1);
                put_varint(out, offset);
            }
        }
    }
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
/// [`RecordError`] for anything that [`encode`] does not write. Whether contents and entries exist that are told in full is not
/// looked at.
pub fn decode<'p>(payload: &'p [u8], known: &'p Known) -> Result<Vec<Record<&'p [u8]>>, RecordError> {
    records(payload, known).map(Iterator::collect)
}

/// Takes the payload of one frame apart, checked as a whole, one record after the other: a record takes far more memory
/// than the few bytes it may have in the frame, and there may be a million.
///
/// # Errors
/// As for [`decode`].
pub fn records<'p>(payload: &'p [u8], known: &'p Known) -> Result<Records<'p>, RecordError> {
    let mut heads = Heads::new(payload, known);
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
            let mut heads = Heads::new(payload, known);
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
    known: &'p Known,
    before: Before,
}

impl<'p> Heads<'p> {
    fn new(payload: &'p [u8], known: &'p Known) -> Self {
        Self { input: Input::new(payload), known, before: Before::FIRST }
    }

    /// The next record, its payload yet to be found, and that payload's length.
    fn next(&mut self) -> Result<(Record<&'p [u8]>, u64), RecordError> {
        let Self { input, known, before } = self;
        let told = integer(input)?;
        let codec =
            u16::try_from(told >> FLAG_BITS).map_err(|_| refuse(input, "no codec has this number"))?;
        let by = if told & NEXT != 0 { 1 } else { unzigzag(integer(input)?) };
        if told & NEXT == 0 && by == 1 {
            return Err(refuse(input, "the next content is told in full"));
        }
        let content = before.content.checked_add(by).and_then(|to| u32::try_from(to).ok());
        let content = content.ok_or_else(|| refuse(input, "no content has this number"))?;
        before.content = i64::from(content);
        let output_len = output_len(input, told, known.size(content))?;
        let source = source(input, told, home(known, content), &mut before.entry)?;
        let length = integer(input)?;
        Ok((Record { codec, content, output_len, source, payload: &[] }, length))
    }
}

fn output_len(input: &mut Input<&[u8]>, told: u64, whole: Option<u64>) -> Result<u64, RecordError> {
    if told & WHOLE != 0 {
        return match whole {
            Some(size @ 1..) => Ok(size),
            Some(0) => Err(refuse(input, "a record that makes nothing")),
            None => Err(refuse(input, "no content has this number")),
        };
    }
    match integer(input)? {
        0 => Err(refuse(input, "a record that makes nothing")),
        length if whole == Some(length) => Err(refuse(input, "a whole content's size is told in full")),
        length => Ok(length),
    }
}

fn source(
    input: &mut Input<&[u8]>,
    told: u64,
    home: Option<Part>,
    entry: &mut i64,
) -> Result<Vec<Part>, RecordError> {
    if told & HOME == 0 {
        let parts = parts(input, entry)?;
        return if home.is_some_and(|home| parts == [home]) {
            Err(refuse(input, "the file at a content's path is told in full"))
        } else {
            Ok(parts)
        };
    }
    let home = home.ok_or_else(|| refuse(input, "the base has no file at the content's path"))?;
    if let Origin::Base(index) = home.origin {
        *entry = i64::from(index);
    }
    Ok(vec![home])
}

fn parts(input: &mut Input<&[u8]>, entry: &mut i64) -> Result<Vec<Part>, RecordError> {
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
            let index = entry.checked_add(unzigzag(told >> 1)).and_then(|index| u32::try_from(index).ok());
            let index = index.ok_or_else(|| refuse(input, "no entry has this number"))?;
            *entry = i64::from(index);
            Origin::Base(index)
        };
        let extent = match integer(input)? {
            0 => Extent::Whole,
            1 => Extent::Renewed,
            more => Extent::Range { offset: integer(input)?, length: more - 1 },
        };
        source.push(Part { origin, extent });
    }
    Ok(source)
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
    use skiff_tree::{Entry, EntryPath, FileContent, Kind, Metadata, NewContent, Tree};

    fn part() -> impl Strategy<Value = Part> {
        let origin = prop_oneof![any::<u32>().prop_map(Origin::Base), any::<u32>().prop_map(Origin::Target)];
        let range = (any::<u64>(), 1..u64::MAX).prop_map(|(offset, length)| Extent::Range { offset, length });
        let extent = prop_oneof![Just(Extent::Whole), Just(Extent::Renewed), range];
        (origin, extent).prop_map(|(origin, extent)| Part { origin, extent })
    }

    fn record() -> impl Strategy<Value = Record> {
        let content = prop_oneof![0..4_u32, any::<u32>()];
        let output_len = prop_oneof![1..4_u64, 1..=u64::MAX];
        (any::<u16>(), content, output_len, vec(part(), 0..=MAX_PARTS), vec(any::<u8>(), 0..40)).prop_map(
            |(codec, content, output_len, source, payload)| Record {
                codec,
                content,
                output_len,
                source,
                payload,
            },
        )
    }

    /// Four contents of 0 to 3 bytes, of which the base has files at the paths of two.
    fn known() -> Known {
        let path = |name: &str| EntryPath::new(name).unwrap();
        let entry = |name: &str, kind| Entry::inode(path(name), Metadata::default(), kind);
        let file = |name: &str| entry(name, Kind::File(FileContent::of(name.as_bytes())));
        let base = Tree::new(vec![entry("", Kind::Directory), file("b"), file("c"), entry("d", Kind::Fifo)]);
        let entries = ["a", "b", "c", "d"].map(file);
        let contents = [0, 1, 2, 3].map(|number| NewContent { size: number.into(), entry: number });
        Known::new(&base.unwrap(), &entries, &contents)
    }

    fn owned(record: Record<&[u8]>) -> Record {
        let Record { codec, content, output_len, source, payload } = record;
        Record { codec, content, output_len, source, payload: payload.to_vec() }
    }

    proptest! {
        #[test]
        fn records_come_back(mut records in vec(record(), 1..8), is_at_home in vec(any::<bool>(), 8)) {
            let known = known();
            for (record, is_at_home) in records.iter_mut().zip(is_at_home) {
                if let Some(home) = home(&known, record.content) && is_at_home {
                    record.source = vec![home];
                }
            }
            let bytes = encode(&records, &known);
            let read: Vec<Record> = decode(&bytes, &known).unwrap().into_iter().map(owned).collect();
            prop_assert_eq!(read, records);
            for length in 0..bytes.len() {
                prop_assert!(decode(&bytes[..length], &known).is_err());
            }
        }

        #[test]
        fn any_bytes_are_records_in_one_form_or_an_error(bytes in vec(prop_oneof![0..16_u8, any::<u8>()], 0..64)) {
            let known = known();
            if let Ok(records) = decode(&bytes, &known) {
                let owned: Vec<Record> = records.into_iter().map(owned).collect();
                prop_assert_eq!(encode(&owned, &known), bytes);
            }
        }
    }

    #[test]
    fn what_is_as_mostly_takes_no_bytes() {
        let known = known();
        let record = |content, output_len| {
            let source = home(&known, content).into_iter().collect();
            Record { codec: 5, content, output_len, source, payload: vec![9] }
        };
        let [next, part] = [record(1, 1), record(2, 1)];
        // Codec 5 of the content that follows, whole, from the file at its path; a payload of one byte.
        assert_eq!(encode(&[record(0, 3), next], &known)[5..], [5 << 3 | 7, 1, 9, 9]);
        assert_eq!(encode(&[part], &known)[..], [1, 5 << 3 | 4, 6, 1, 1, 9]);
    }
}
