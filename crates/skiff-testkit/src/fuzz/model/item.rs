//! What a delta is written from: numbers and bytes, each of which may be made to say anything.

use crate::fuzz::naive::Bytes;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// An integer in its shortest form.
    Integer(u64),
    Byte(u8),
    /// A number of so many bytes, the highest first.
    Big(u8, u64),
    /// A length and the bytes.
    Bytes(Vec<u8>),
    /// Bytes without a length.
    Raw(Vec<u8>),
}

impl Item {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(value) => skiff_wire::put_varint(out, *value),
            Self::Byte(byte) => out.push(*byte),
            Self::Big(width, value) => {
                let bytes = value.to_be_bytes();
                out.extend(&bytes[8 - usize::from(*width).min(8)..]);
            }
            Self::Bytes(bytes) => skiff_wire::put_bytes(out, bytes),
            Self::Raw(bytes) => out.extend(bytes),
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Integer(value) | Self::Big(_, value) => Some(*value),
            Self::Byte(byte) => Some(u64::from(*byte)),
            _ => None,
        }
    }

    pub(crate) fn set(&mut self, to: u64) {
        match self {
            Self::Integer(value) | Self::Big(_, value) => *value = to,
            Self::Byte(byte) => *byte = to as u8,
            _ => *self = Self::Integer(to),
        }
    }

    pub(crate) fn bytes(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Bytes(bytes) | Self::Raw(bytes) => Some(bytes),
            _ => None,
        }
    }
}

pub(crate) fn put_all(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    items.iter().for_each(|item| item.put(&mut out));
    out
}

/// What an item looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Integer,
    Byte,
    Bytes,
    /// A count, and as many times two lengths with their bytes.
    Pairs,
}

/// Reads items of these shapes, in turn, to the end; what does not fit is raw.
pub(crate) fn read_all(bytes: &[u8], shapes: &[Shape]) -> Vec<Item> {
    let mut reader = Reader::new(bytes);
    for shape in shapes.iter().cycle() {
        if reader.is_at_end() {
            break;
        }
        match shape {
            Shape::Integer => drop(reader.integer()),
            Shape::Byte => drop(reader.byte()),
            Shape::Bytes => reader.bytes(),
            Shape::Pairs => {
                let count = reader.integer().unwrap_or(0);
                (0..count.min(1000) * 2).for_each(|_| reader.bytes());
            }
        }
    }
    reader.finish()
}

/// Makes items of bytes.
pub(crate) struct Reader<'a> {
    left: Bytes<'a>,
    items: Vec<Item>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { left: Bytes(bytes), items: Vec::new() }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.left.0.is_empty()
    }

    pub(crate) fn integer(&mut self) -> Option<u64> {
        let mut ahead = self.left;
        let Ok(value) = ahead.integer() else { return self.rest() };
        self.left = ahead;
        self.items.push(Item::Integer(value));
        Some(value)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = self.left.byte().ok()?;
        self.items.push(Item::Byte(byte));
        Some(byte)
    }

    pub(crate) fn big(&mut self, width: u8) -> Option<u64> {
        let mut ahead = self.left;
        let Ok(bytes) = ahead.take(width.into()) else { return self.rest() };
        self.left = ahead;
        let value = bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        self.items.push(Item::Big(width, value));
        Some(value)
    }

    pub(crate) fn bytes(&mut self) {
        let mut ahead = self.left;
        if let Ok(bytes) = ahead.bytes() {
            self.left = ahead;
            self.items.push(Item::Bytes(bytes.to_vec()));
        } else {
            self.rest::<()>();
        }
    }

    pub(crate) fn raw(&mut self, length: u64) {
        match self.left.take(length) {
            Ok(bytes) => self.items.push(Item::Raw(bytes.to_vec())),
            Err(_) => drop(self.rest::<()>()),
        }
    }

    /// Takes all that is left as it is.
    fn rest<T>(&mut self) -> Option<T> {
        if !self.left.0.is_empty() {
            self.items.push(Item::Raw(self.left.0.to_vec()));
            self.left = Bytes(&[]);
        }
        None
    }

    pub(crate) fn finish(mut self) -> Vec<Item> {
        self.rest::<()>();
        self.items
    }
}
