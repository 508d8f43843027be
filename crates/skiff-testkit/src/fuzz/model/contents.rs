//! Records, as they are meant, and how they are told.

use super::item::{Item, put_all};
use super::payload;
use crate::fuzz::naive::{Bytes, NewContent};

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) codec: u64,
    pub(crate) content: i64,
    pub(crate) output: u64,
    pub(crate) parts: Vec<Part>,
    pub(crate) payload: Vec<Item>,
    /// Which of *next*, *whole* and *home* is told the other way; 8 for a payload that is said to be longer.
    pub(crate) lies: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) origin: Origin,
    /// 0 for all of it, 1 for all of it renewed, or the length and 1.
    pub(crate) extent: u64,
    pub(crate) offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Base(i64),
    New(u64),
}

fn home(new: Option<&NewContent>) -> Option<Part> {
    let place = i64::try_from(new?.home?).ok()?;
    Some(Part { origin: Origin::Base(place), extent: 0, offset: 0 })
}

/// The records of a frame of a sound delta.
pub(super) fn read(frame: &[u8], new: &[NewContent]) -> Vec<Record> {
    let sound = "because the frame is sound";
    let mut left = Bytes(frame);
    let (mut content, mut entry) = (-1, 0);
    let mut records = Vec::new();
    for _ in 0..left.integer().expect(sound) {
        let head = left.integer().expect(sound);
        content += if head & 1 == 1 { 1 } else { left.signed().expect(sound) };
        let told = usize::try_from(content).ok().and_then(|number| new.get(number)).expect(sound);
        let output = if head & 2 == 2 { told.size } else { left.integer().expect(sound) };
        let parts = match home(Some(told)).filter(|_| head & 4 == 4) {
            Some(home) => vec![home],
            None => {
                let mut parts = Vec::new();
                for _ in 0..left.integer().expect(sound) {
                    let part = read_part(&mut left, entry);
                    entry = entry_of(&part, entry);
                    parts.push(part);
                }
                parts
            }
        };
        entry = parts.last().map_or(entry, |part: &Part| entry_of(part, entry));
        let length = left.integer().expect(sound);
        let record = Record { codec: head / 8, content, output, parts, payload: Vec::new(), lies: 0 };
        records.push((record, length));
    }
    let with_payload = |(record, length): (Record, u64)| {
        let payload = payload::read(record.codec, left.take(length).expect(sound));
        Record { payload, ..record }
    };
    records.into_iter().map(with_payload).collect()
}

fn entry_of(part: &Part, before: i64) -> i64 {
    if let Origin::Base(place) = part.origin { place } else { before }
}

fn read_part(left: &mut Bytes<'_>, entry: i64) -> Part {
    let sound = "because the frame is sound";
    let told = left.integer().expect(sound);
    let origin = if told % 2 == 1 {
        Origin::New(told / 2)
    } else {
        Origin::Base(entry + skiff_wire::unzigzag(told / 2))
    };
    let extent = left.integer().expect(sound);
    let offset = if extent > 1 { left.integer().expect(sound) } else { 0 };
    Part { origin, extent, offset }
}

pub(super) fn put(records: &[Record], new: &[NewContent]) -> Vec<u8> {
    let mut items = vec![Item::Integer(records.len() as u64)];
    let (mut content, mut entry) = (-1_i64, 0_i64);
    let mut payloads = Vec::new();
    for record in records {
        let told = usize::try_from(record.content).ok().and_then(|number| new.get(number));
        let by = record.content.wrapping_sub(content);
        let home = home(told).filter(|home| record.parts == [home.clone()]);
        let is = |holds: bool, bit: u8| holds != (record.lies & bit != 0);
        let is_next = is(by == 1, 1);
        let is_whole = is(told.is_some_and(|told| told.size == record.output), 2);
        let is_home = is(home.is_some(), 4);
        let flags = u64::from(is_next) + 2 * u64::from(is_whole) + 4 * u64::from(is_home);
        items.push(Item::Integer(record.codec.wrapping_mul(8) | flags));
        if !is_next {
            items.push(Item::Integer(skiff_wire::zigzag(by)));
        }
        if !is_whole {
            items.push(Item::Integer(record.output));
        }
        content = record.content;
        if !is_home {
            items.push(Item::Integer(record.parts.len() as u64));
        }
        for part in &record.parts {
            if !is_home {
                put_part(&mut items, part, entry);
            }
            entry = entry_of(part, entry);
        }
        let payload = put_all(&record.payload);
        items.push(Item::Integer(payload.len() as u64 + u64::from(record.lies & 8)));
        payloads.push(Item::Raw(payload));
    }
    items.extend(payloads);
    put_all(&items)
}

fn put_part(items: &mut Vec<Item>, part: &Part, entry: i64) {
    items.push(Item::Integer(match part.origin {
        Origin::New(number) => number.wrapping_mul(2) | 1,
        Origin::Base(place) => skiff_wire::zigzag(place.wrapping_sub(entry)).wrapping_mul(2),
    }));
    items.push(Item::Integer(part.extent));
    if part.extent > 1 {
        items.push(Item::Integer(part.offset));
    }
}
