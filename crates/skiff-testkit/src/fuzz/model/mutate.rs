//! Changes a delta as a fuzzer's bytes say.

use super::item::Item;
use super::{CONTENTS, Frame, How, Model, Origin, Part, Payload, Record, TREE, payload};
use crate::fuzz::input::Input;

/// More would only take time.
const MOST: usize = 12;

/// Makes up to twelve changes.
pub(crate) fn mutate(model: &mut Model, input: &mut Input<'_>) {
    for _ in 0..MOST {
        if input.is_empty() {
            return;
        }
        match input.byte() % 32 {
            0 => header(model, input),
            1 => names(model, input),
            2 => row(model, input),
            3 | 4 => frames(model, input),
            5 => compression(model, input),
            6..=9 => item_of_column(model, input),
            10 | 11 => columns(model, input),
            12..=14 => insert(model, input),
            15..=17 => number_of_record(model, input),
            18 | 19 => parts(model, input),
            20 | 21 => records(model, input),
            22..=25 => item_of_payload(model, input),
            26..=28 => make(model, input),
            29 => split(model, input),
            30 => size(model, input),
            _ => transfer(model, input),
        }
    }
}

/// A number that is likely to be at an edge: near the one that it was, or of the whole range.
fn number(input: &mut Input<'_>, was: u64) -> u64 {
    let by = u64::from(input.byte());
    match input.byte() % 10 {
        0 => was.wrapping_add(by % 8 + 1),
        1 => was.wrapping_sub(by % 8 + 1),
        2 => by,
        3 => u64::MAX - by % 4,
        4 => (1_u64 << (by % 64)).wrapping_sub(by >> 6),
        5 => was ^ 1 << (by % 64),
        6 => u64::from(input.short()),
        7 => was.wrapping_mul(by),
        8 => u64::MAX.wrapping_sub(was).wrapping_add(by % 4),
        _ => was.wrapping_add(u64::from(input.short())),
    }
}

/// One of so many.
fn one_of(input: &mut Input<'_>, count: usize) -> Option<usize> {
    usize::from(input.byte()).checked_rem(count)
}

fn one<'a, T>(input: &mut Input<'_>, items: &'a mut [T]) -> Option<&'a mut T> {
    let at = one_of(input, items.len())?;
    items.get_mut(at)
}

/// Doubles, drops or moves an item of a list.
fn shuffle<T: Clone>(list: &mut Vec<T>, input: &mut Input<'_>) {
    let what = input.byte();
    let Some(at) = one_of(input, list.len()) else { return };
    match what % 4 {
        0 if list.len() < 300 => list.insert(at, list[at].clone()),
        1 => drop(list.remove(at)),
        2 => {
            let to = usize::from(what / 4) % list.len();
            list.swap(at, to);
        }
        _ => list.truncate(at),
    }
}

fn header(model: &mut Model, input: &mut Input<'_>) {
    match input.byte() % 14 {
        0 => model.version = input.short(),
        1 => model.reserved = input.short(),
        2 => model.release = Some([input.byte(); 32]),
        3 => model.tree[0] ^= input.byte(),
        4 => model.has_config = !model.has_config,
        5 => model.has_manifest = !model.has_manifest,
        6 => model.count = Some(number(input, model.frames.len() as u64)),
        7 => model.after = input.few().to_vec(),
        8 => model.cut = usize::from(input.byte()),
        9 => shuffle(&mut model.extensions, input),
        10 => {
            let number = number(input, model.extensions.last().map_or(1, |last| last.0 + 1));
            model.extensions.push((number, input.byte() % 3, input.few().to_vec()));
        }
        _ => {
            if let Some(fact) = one(input, &mut model.facts) {
                *fact = number(input, *fact);
            }
        }
    }
}

/// Of codecs and bases.
fn names(model: &mut Model, input: &mut Input<'_>) {
    match input.byte() % 5 {
        0 => shuffle(&mut model.codecs, input),
        1 => {
            let codec = (u64::from(input.byte() % 10), number(input, 0));
            model.codecs.push(codec);
        }
        2 => shuffle(&mut model.bases, input),
        3 => model.bases.insert(0, ([input.byte(); 32], [input.byte(); 32])),
        _ => {
            let by = input.byte();
            for (release, tree) in &mut model.bases {
                let digest = if by.is_multiple_of(2) { release } else { tree };
                digest[0] ^= by;
            }
        }
    }
}

fn row(model: &mut Model, input: &mut Input<'_>) {
    let Some(frame) = one(input, &mut model.frames) else { return };
    match input.byte() % 4 {
        0 => frame.wrong_digest = true,
        1 => frame.damage = Some((input.short(), input.byte())),
        2 => frame.flags = number(input, frame.flags),
        _ => {
            let place = usize::from(input.byte() % 6);
            frame.lie = Some((place, number(input, 1 << (place * 2))));
        }
    }
}

fn frames(model: &mut Model, input: &mut Input<'_>) {
    match input.byte() % 6 {
        0 => shuffle(&mut model.frames, input),
        1 => {
            let unknown = Payload::Bytes(input.few().to_vec());
            let frame = Frame {
                flags: u64::from(input.byte() % 3),
                ..Frame::new(5 + u64::from(input.byte()), unknown)
            };
            let at = one_of(input, model.frames.len() + 1).unwrap_or(0);
            model.frames.insert(at, frame);
        }
        2 => {
            if let Some(frame) = one(input, &mut model.frames) {
                frame.section = number(input, frame.section);
            }
        }
        3 => {
            let bytes = Payload::Bytes(input.few().to_vec());
            let section = u64::from(input.byte() % 5);
            let at = model.frames.iter().position(|frame| frame.section > section);
            model.frames.insert(at.unwrap_or(model.frames.len()), Frame::new(section, bytes));
        }
        // What a section's frames have together is cut elsewhere.
        _ => cut_frame(model, input),
    }
}

fn cut_frame(model: &mut Model, input: &mut Input<'_>) {
    let Some(at) = one_of(input, model.frames.len()) else { return };
    let frame = &mut model.frames[at];
    let place = usize::from(input.byte());
    let rest = match &mut frame.payload {
        Payload::Contents(records) if !records.is_empty() => {
            Payload::Contents(records.split_off(place % records.len()))
        }
        Payload::Bytes(bytes) if !bytes.is_empty() => Payload::Bytes(bytes.split_off(place % bytes.len())),
        _ => return,
    };
    let rest = Frame { payload: rest, ..frame.clone() };
    model.frames.insert(at + 1, rest);
}

fn compression(model: &mut Model, input: &mut Input<'_>) {
    let how = [How::Stored, How::Lzma, How::Zstandard, How::Mixed][usize::from(input.byte() % 4)];
    if let Some(frame) = one(input, &mut model.frames) {
        frame.how = how;
    }
}

fn any_column<'a>(model: &'a mut Model, input: &mut Input<'_>) -> Option<&'a mut Vec<Item>> {
    let place = usize::from(input.byte() % 15);
    model.frames.iter_mut().find_map(|frame| frame.payload.column(place))
}

fn item_of_column(model: &mut Model, input: &mut Input<'_>) {
    if let Some(column) = any_column(model, input) {
        change_one(column, input);
    }
}

/// Changes an item of a list.
fn change_one(items: &mut [Item], input: &mut Input<'_>) {
    let Some(item) = one(input, items) else { return };
    let what = input.byte();
    if let Some(value) = item.number() {
        if what % 16 == 15 {
            *item = Item::Raw(padded(value, what));
        } else {
            item.set(number(input, value));
        }
        return;
    }
    let Some(bytes) = item.bytes() else { return };
    let at = usize::from(input.short()) % (bytes.len() + 1);
    match what % 4 {
        0 => drop(bytes.splice(at..at, input.few().iter().copied())),
        1 => bytes.truncate(at),
        2 if at < bytes.len() => bytes[at] = input.byte(),
        _ => {
            let end = bytes.len().min(at + usize::from(input.byte() % 16));
            bytes.splice(at..end, input.few().iter().copied());
        }
    }
}

/// An integer in another than its shortest form, or of more than 64 bits.
fn padded(value: u64, what: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    skiff_wire::put_varint(&mut bytes, value);
    let last = bytes.len() - 1;
    match what / 16 % 3 {
        0 => {
            bytes[last] |= 0x80;
            bytes.push(0);
        }
        1 => {
            bytes[last] |= 0x80;
            bytes.resize(12, 0x80);
            bytes.push(1);
        }
        _ => bytes = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
    }
    bytes
}

fn columns(model: &mut Model, input: &mut Input<'_>) {
    match input.byte() % 8 {
        0 => {
            for frame in &mut model.frames {
                if let Payload::Tree(columns) = &mut frame.payload {
                    // A sixteenth is what follows the last.
                    let at = one_of(input, columns.len()).unwrap_or(0);
                    let column = columns[at].clone();
                    columns.push(column);
                }
            }
        }
        1 => {
            let item = Item::Integer(number(input, 0));
            if let Some(column) = any_column(model, input) {
                column.push(item);
            }
        }
        _ => {
            if let Some(column) = any_column(model, input) {
                shuffle(column, input);
            }
        }
    }
}

/// An entry, told as a whole, somewhere among the others.
fn insert(model: &mut Model, input: &mut Input<'_>) {
    let Some(Payload::Tree(columns)) = model
        .frames
        .iter_mut()
        .map(|frame| &mut frame.payload)
        .find(|payload| matches!(payload, Payload::Tree(_)))
    else {
        return;
    };
    let (kind, flags) = (input.byte() % 9, input.byte());
    let name = match flags % 4 {
        0 => [b"z/", input.few()].concat(),
        1 => input.few().to_vec(),
        2 => [&[b'z', 0x30 + input.byte() % 10][..], input.few()].concat(),
        _ => [b"../", input.few()].concat(),
    };
    // At the end, where the order mostly holds, or anywhere.
    let at = if flags & 4 == 0 { columns[0].len() } else { one_of(input, columns[0].len()).unwrap_or(0) };
    columns[0].insert(at, Item::Integer(7));
    let end = |columns: &mut [Vec<Item>], column: usize, item: Item| columns[column].push(item);
    end(columns, 2, Item::Integer(if flags & 8 == 0 { 0 } else { number(input, 0) }));
    end(columns, 3, Item::Bytes(name));
    end(columns, 4, Item::Byte(kind));
    if kind == 7 {
        end(columns, 14, Item::Integer(number(input, 1)));
        return;
    }
    end(columns, 5, Item::Integer(if flags & 16 == 0 { 0o644 } else { number(input, 0o7777) }));
    end(columns, 6, Item::Integer(if flags & 32 == 0 { 0 } else { number(input, 1 << 32) }));
    end(columns, 6, Item::Integer(0));
    end(columns, 8, Item::Integer(if flags & 64 == 0 { 0 } else { number(input, 0) }));
    if flags & 128 == 0 {
        end(columns, 9, Item::Integer(0));
    } else {
        end(columns, 9, Item::Integer(1));
        end(columns, 9, Item::Bytes([b"user.", input.few()].concat()));
        end(columns, 9, Item::Bytes(input.few().to_vec()));
    }
    match kind {
        2 => {
            end(columns, 10, Item::Integer(u64::from(input.byte() % 12)));
            end(columns, 11, Item::Integer(u64::from(input.byte())));
        }
        3 => end(columns, 12, Item::Bytes(input.few().to_vec())),
        4 | 5 => {
            end(columns, 13, Item::Integer(number(input, 1)));
            end(columns, 13, Item::Integer(number(input, 1)));
        }
        _ => {}
    }
}

fn all_records(model: &mut Model) -> Vec<&mut Record> {
    model.frames.iter_mut().flat_map(|frame| frame.payload.records()).collect()
}

/// Does something to one of all records.
fn with_record(model: &mut Model, input: &mut Input<'_>, change: impl FnOnce(&mut Record, &mut Input<'_>)) {
    let mut records = all_records(model);
    if let Some(record) = one(input, &mut records) {
        change(record, input);
    }
}

fn number_of_record(model: &mut Model, input: &mut Input<'_>) {
    with_record(model, input, |record, input| match input.byte() % 6 {
        0 => record.codec = u64::from(input.byte() % 9),
        1 => record.codec = number(input, record.codec),
        2 => record.content = number(input, record.content.cast_unsigned()).cast_signed(),
        3 => record.lies ^= 1 << (input.byte() % 4),
        _ => record.output = number(input, record.output),
    });
}

fn parts(model: &mut Model, input: &mut Input<'_>) {
    with_record(model, input, |record, input| match input.byte() % 4 {
        0 => shuffle(&mut record.parts, input),
        1 | 2 => {
            let place = input.byte();
            let origin = match place % 2 {
                0 => Origin::Base((place / 2).into()),
                _ => Origin::New((place / 2 % 16).into()),
            };
            let extent = [0, 1, u64::from(input.byte()), number(input, 2)][usize::from(input.byte() % 4)];
            let part = Part { origin, extent, offset: number(input, 0) };
            let at = one_of(input, record.parts.len() + 1).unwrap_or(0);
            record.parts.insert(at, part);
        }
        _ => {
            let Some(part) = one(input, &mut record.parts) else { return };
            match (input.byte() % 3, &mut part.origin) {
                (0, Origin::Base(place)) => *place = number(input, place.cast_unsigned()).cast_signed(),
                (0, Origin::New(place)) => *place = number(input, *place),
                (1, _) => part.extent = number(input, part.extent),
                _ => part.offset = number(input, part.offset),
            }
        }
    });
}

fn any_frame_of_records<'a>(model: &'a mut Model, input: &mut Input<'_>) -> Option<&'a mut Vec<Record>> {
    let mut frames: Vec<&mut Vec<Record>> = model
        .frames
        .iter_mut()
        .filter_map(|frame| match &mut frame.payload {
            Payload::Contents(records) => Some(records),
            _ => None,
        })
        .collect();
    let at = one_of(input, frames.len())?;
    Some(frames.swap_remove(at))
}

fn records(model: &mut Model, input: &mut Input<'_>) {
    if let Some(records) = any_frame_of_records(model, input) {
        shuffle(records, input);
    }
}

fn item_of_payload(model: &mut Model, input: &mut Input<'_>) {
    with_record(model, input, |record, input| match input.byte() % 4 {
        0 => shuffle(&mut record.payload, input),
        _ => change_one(&mut record.payload, input),
    });
}

/// A payload made up: bytes, commands of the codec `block`, or controls.
fn make(model: &mut Model, input: &mut Input<'_>) {
    if all_records(model).is_empty() && model.frames.iter().any(|frame| frame.section == TREE) {
        let record =
            Record { codec: 1, content: 0, output: 1, parts: Vec::new(), payload: Vec::new(), lies: 0 };
        model.frames.push(Frame::new(CONTENTS, Payload::Contents(vec![record])));
    }
    let codec = [payload::DATA, payload::BSDIFF, payload::BLOCK][usize::from(input.byte() % 3)];
    if !model.codecs.iter().any(|known| known.0 == codec) {
        model.codecs.push((codec, 0));
        model.codecs.sort_unstable();
    }
    with_record(model, input, |record, input| {
        record.codec = codec;
        record.payload = match codec {
            payload::DATA => vec![Item::Raw(input.few().to_vec())],
            payload::BSDIFF => {
                let count = u64::from(input.byte() % 4) + 1;
                let mut items = vec![Item::Integer(u64::from(input.byte() % 8)), Item::Integer(count)];
                for index in 0..count {
                    items.push(Item::Integer(u64::from(input.byte() % 32)));
                    items.push(Item::Integer(u64::from(input.byte() % 16)));
                    if index + 1 < count {
                        let seek = i64::from(input.byte().cast_signed());
                        items.push(Item::Integer(skiff_wire::zigzag(seek)));
                    }
                }
                items.push(Item::Raw(input.few().to_vec()));
                items
            }
            _ => {
                let mut items = vec![Item::Raw(vec![0x72, 0x73, 2, 0x36])];
                for _ in 0..input.byte() % 6 {
                    put_command(&mut items, input);
                }
                items.push(Item::Byte(0));
                items
            }
        };
    });
}

fn put_command(items: &mut Vec<Item>, input: &mut Input<'_>) {
    let what = input.byte();
    if what.is_multiple_of(3) {
        let literal = input.few().to_vec();
        items.push(Item::Byte(u8::try_from(literal.len()).unwrap_or(1)));
        items.push(Item::Raw(literal));
        return;
    }
    let widths = what / 3 % 16;
    items.push(Item::Byte(69 + widths));
    items.push(Item::Big(1 << (widths / 4), u64::from(input.byte())));
    items.push(Item::Big(1 << (widths % 4), u64::from(input.byte() % 64)));
}

/// A record of plain bytes becomes two.
fn split(model: &mut Model, input: &mut Input<'_>) {
    let Some(records) = any_frame_of_records(model, input) else { return };
    let Some(at) = one_of(input, records.len()) else { return };
    if records[at].codec != payload::DATA {
        return;
    }
    let mut rest = records[at].clone();
    if let (Some(first), Some(second)) = (
        records[at].payload.first_mut().and_then(Item::bytes),
        rest.payload.first_mut().and_then(Item::bytes),
    ) {
        let place = usize::from(input.byte()) % (first.len() + 1);
        first.truncate(place);
        second.drain(..place);
        records[at].output = place as u64;
        rest.output -= (place as u64).min(rest.output);
        records.insert(at + 1, rest);
    }
}

/// The size of a new content.
fn size(model: &mut Model, input: &mut Input<'_>) {
    if let Some(sizes) = model.frames.iter_mut().find_map(|frame| frame.payload.column(super::SIZES)) {
        change_one(sizes, input);
    }
}

/// Two numbers of a payload change places with their sum kept.
fn transfer(model: &mut Model, input: &mut Input<'_>) {
    with_record(model, input, |record, input| {
        let (from, to) = (one_of(input, record.payload.len()), one_of(input, record.payload.len()));
        let (Some(from), Some(to)) = (from, to) else { return };
        let (Some(less), Some(more)) = (record.payload[from].number(), record.payload[to].number()) else {
            return;
        };
        let by = number(input, 0);
        record.payload[from].set(less.wrapping_sub(by));
        record.payload[to].set(more.wrapping_add(by));
    });
}
