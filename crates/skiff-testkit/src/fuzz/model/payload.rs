//! Payloads of codecs, taken apart into items as far as they are not coded bit by bit.

use super::item::{Item, Reader};

pub(crate) const DATA: u64 = 1;
pub(crate) const BSDIFF: u64 = 2;
pub(crate) const BLOCK: u64 = 4;

pub(crate) fn read(codec: u64, payload: &[u8]) -> Vec<Item> {
    let mut reader = Reader::new(payload);
    match codec {
        BSDIFF => bsdiff(&mut reader),
        // Header, compressor, plain length, opening, inner codec.
        3 => {
            reader.bytes();
            let mut inner = 0;
            (0..4).for_each(|_| inner = reader.integer().unwrap_or(0));
            inside(inner, &mut reader);
        }
        BLOCK => block(&mut reader),
        // Flags, copies and where they begin; what is in the stream is coded.
        5 => {
            reader.byte();
            (0..3).for_each(|_| _ = reader.integer());
        }
        6 => zip(&mut reader),
        7 => {
            reader.raw(2);
            reader.integer();
            reader.bytes();
            (0..3).for_each(|_| _ = reader.integer());
            if reader.integer() != Some(0) {
                reader.integer();
            }
            let inner = reader.integer().unwrap_or(0);
            inside(inner, &mut reader);
        }
        _ => {}
    }
    reader.finish()
}

fn inside(codec: u64, reader: &mut Reader<'_>) {
    if codec == BSDIFF {
        bsdiff(reader);
    }
}

fn bsdiff(reader: &mut Reader<'_>) {
    reader.integer();
    let count = reader.integer().unwrap_or(0);
    for index in 0..count.min(10_000) {
        reader.integer();
        reader.integer();
        if index + 1 < count {
            reader.integer();
        }
    }
}

fn block(reader: &mut Reader<'_>) {
    reader.raw(4);
    while let Some(command) = reader.byte() {
        match command {
            1..=64 => reader.raw(command.into()),
            65..=68 => {
                let length = reader.big(1 << (command - 65)).unwrap_or(0);
                reader.raw(length);
            }
            69..=84 => {
                reader.big(1 << ((command - 69) / 4));
                reader.big(1 << ((command - 69) % 4));
            }
            _ => {}
        }
    }
}

fn zip(reader: &mut Reader<'_>) {
    let archives = reader.integer().unwrap_or(0);
    // What is told of each, the position, and the bounds.
    (0..archives.min(8) * 4 + 5).for_each(|_| _ = reader.integer());
    reader.bytes();
    // How many bytes the numbers have is told before them: they are kept together.
    reader.bytes();
}

/// How much the items of a codec's payload would make, where that can be seen; the data of `bsdiff` get as long.
pub(crate) fn mend(codec: u64, items: &mut Vec<Item>) -> Option<u64> {
    match codec {
        DATA => Some(super::item::put_all(items).len() as u64),
        BSDIFF => {
            let count = usize::try_from(items.get(1)?.number()?).ok()?;
            let mut sum = 0_u64;
            for index in 0..count {
                let [add, copy] = [2, 3].map(|part| items.get(index * 3 + part).and_then(Item::number));
                sum = sum.checked_add(add?)?.checked_add(copy?)?;
            }
            let length = usize::try_from(sum).ok().filter(|&length| length <= 1 << 20)?;
            let data = 2 + (count * 3).saturating_sub(1);
            items.truncate(data + 1);
            if items.len() == data {
                items.push(Item::Raw(Vec::new()));
            }
            items.get_mut(data)?.bytes()?.resize(length, b'+');
            Some(sum)
        }
        BLOCK => {
            let bytes = super::item::put_all(items);
            let mut reader = Reader::new(&bytes);
            block(&mut reader);
            let mut sum = 0_u64;
            let mut parts = reader.finish().into_iter().skip(1);
            while let Some(Item::Byte(command)) = parts.next() {
                let length = match command {
                    1..=64 => {
                        parts.next();
                        command.into()
                    }
                    65..=68 => {
                        let length = parts.next()?.number()?;
                        parts.next();
                        length
                    }
                    69..=84 => {
                        parts.next();
                        parts.next()?.number()?
                    }
                    _ => 0,
                };
                sum = sum.checked_add(length)?;
            }
            Some(sum)
        }
        _ => None,
    }
}
