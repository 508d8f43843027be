//! The bsdiff codec's stream: written, compressed and looked into.

use std::io::Write as _;

use skiff_benches::{Context as _, Failure};
use skiff_wire::{Input, put_varint, unzigzag, zigzag};
use xz2::stream::{Check, Filters, LzmaOptions, Stream};

/// Add so many bytes to those of the old file from `position` on, then copy so many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control {
    pub(crate) position: usize,
    pub(crate) add: usize,
    pub(crate) copy: usize,
}

/// What a stream consists of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts {
    pub(crate) controls: u64,
    pub(crate) literals: u64,
    pub(crate) differing: u64,
    control_bits: u64,
}

impl Facts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.controls += other.controls;
        self.literals += other.literals;
        self.differing += other.differing;
        self.control_bits += other.control_bits;
    }

    /// About how many bits an adaptive range coder takes: half of those of a control's numbers again for telling how long they
    /// are, 4.5 for a literal, 9 for a byte that differs.
    pub(crate) fn bits(&self) -> u64 {
        self.control_bits + self.literals * 9 / 2 + self.differing * 9
    }
}

/// The codec's payload for all of `new`.
pub(crate) fn write(old: &[u8], new: &[u8], controls: &[Control]) -> Vec<u8> {
    let mut joined: Vec<Control> = Vec::with_capacity(controls.len());
    for control in controls {
        match joined.last_mut() {
            Some(last) if control.add == 0 => last.copy += control.copy,
            Some(last) if last.copy == 0 && last.position + last.add == control.position => {
                (last.add, last.copy) = (last.add + control.add, control.copy);
            }
            _ => joined.push(*control),
        }
    }
    let mut payload = Vec::with_capacity(new.len() + 16);
    put_varint(&mut payload, joined.first().map_or(0, |first| first.position as u64));
    put_varint(&mut payload, joined.len() as u64);
    for (index, control) in joined.iter().enumerate() {
        put_varint(&mut payload, control.add as u64);
        put_varint(&mut payload, control.copy as u64);
        if let Some(next) = joined.get(index + 1) {
            put_varint(&mut payload, zigzag(next.position as i64 - (control.position + control.add) as i64));
        }
    }
    let mut at = 0;
    for Control { position, add, copy } in joined {
        let pairs = new[at..at + add].iter().zip(&old[position..]);
        payload.extend(pairs.map(|(new, old)| new.wrapping_sub(*old)));
        at += add + copy;
        payload.extend_from_slice(&new[at - copy..at]);
    }
    payload
}

/// Looks into a payload for all of `new`.
pub(crate) fn facts(payload: &[u8], old_length: usize, new: &[u8]) -> Result<Facts, Failure> {
    let mut input = Input::new(payload);
    let mut position = input.varint().context(|| "a payload".into())? as i64;
    let count = input.varint().context(|| "a payload".into())?;
    let mut controls = Vec::new();
    let mut facts = Facts { controls: count, ..Facts::default() };
    for index in 0..count {
        let (add, copy) =
            (input.varint().context(|| "a payload".into())?, input.varint().context(|| "a payload".into())?);
        controls.push((add as usize, copy as usize));
        let seek =
            if index + 1 < count { unzigzag(input.varint().context(|| "a payload".into())?) } else { 0 };
        position += add as i64 + seek;
        facts.control_bits += bits(add) + bits(copy) + bits((seek - copy as i64).unsigned_abs());
        facts.literals += copy;
    }
    let mut data = input.rest();
    if data.len() != new.len() || position < 0 || position as usize > old_length {
        return Err(Failure::new("a payload is not what it should be"));
    }
    for (add, copy) in controls {
        facts.differing += data[..add].iter().filter(|&&difference| difference != 0).count() as u64;
        data = &data[add + copy..];
    }
    Ok(facts)
}

fn bits(number: u64) -> u64 {
    let length = u64::from(u64::BITS - number.leading_zeros());
    length + (length + 3) / 2
}

/// How many bytes xz makes of a payload, without its container.
pub(crate) fn compressed(payload: &[u8]) -> Result<u64, Failure> {
    let mut options = LzmaOptions::new_preset(9 | (1 << 31)).context(|| "xz".into())?;
    options.dict_size(8 << 20).literal_context_bits(3).literal_position_bits(0).position_bits(2);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::None).context(|| "xz".into())?;
    let mut encoder = xz2::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(payload).context(|| "xz".into())?;
    Ok(encoder.finish().context(|| "xz".into())?.len() as u64)
}
