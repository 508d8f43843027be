//! The contents section: records, and what they make.

use super::bytes::{Bytes, signed};
use super::section::Told;
use super::{Base, Refusal, Result, codecs, lists, must};

/// More than is made here.
const MOST: usize = 32 << 20;

#[derive(Clone, Copy)]
enum Extent {
    Whole,
    Renewed,
    Range { offset: u64, length: u64 },
}

enum Origin {
    Base(usize),
    New(usize),
}

struct Record {
    codec: u64,
    number: usize,
    output: u64,
    parts: Vec<(Origin, Extent)>,
    payload: u64,
}

/// The new contents, by number.
pub(crate) fn read<'a>(
    frames: impl Iterator<Item = &'a [u8]>,
    base: &Base,
    told: &Told,
    (known, limits): (&[(u64, u64)], &skiff_patch::Limits),
) -> Result<Vec<Vec<u8>>> {
    let mut contents = vec![Vec::new(); told.new.len()];
    let mut open: Option<usize> = None;
    for frame in frames {
        let mut bytes = Bytes(frame);
        let count = bytes.integer()?;
        must(count > 0, "a frame without records")?;
        let mut heads = Heads { bytes, base, told, number: -1, entry: 0 };
        let mut records = Vec::new();
        for _ in 0..count {
            records.push(heads.next()?);
        }
        let mut bytes = heads.bytes;
        let mut state = skiff_patch::State::new();
        for record in records {
            let payload = bytes.take(record.payload)?;
            let number = record.number;
            must(open.is_none_or(|open| open == number), "a content begins before another one ends")?;
            let size = told.new[number].size;
            let made = contents[number].len() as u64;
            must(
                made < size && record.output <= size - made,
                "a content becomes too long, or is made twice",
            )?;
            must(known.iter().any(|codec| codec.0 == record.codec), "a codec that the header does not name")?;
            match record.codec {
                3 | 7 => must(record.output == size, "a part of a file that is made as a whole")?,
                6 => {
                    must(record.output >= 4096 || made + record.output == size, "a small part of an archive")?
                }
                _ => {}
            }
            let whole = |number: usize| contents[number].len() as u64 == told.new[number].size;
            let source = source(&record, (base, told), (&contents, &whole))?;
            let job = codecs::Job { codec: record.codec, payload, source: &source, output: record.output };
            let output = codecs::decode(&job, limits, &mut state)?;
            contents[number].extend(output);
            if contents.iter().map(Vec::len).sum::<usize>() > MOST {
                return Err(Refusal::TooMuch);
            }
            open = ((contents[number].len() as u64) < size).then_some(number);
        }
        bytes.at_end()?;
    }
    let all = contents.iter().zip(&told.new).all(|(content, new)| content.len() as u64 == new.size);
    must(all, "contents are missing")?;
    Ok(contents)
}

struct Heads<'a> {
    bytes: Bytes<'a>,
    base: &'a Base,
    told: &'a Told,
    number: i64,
    entry: i64,
}

impl Heads<'_> {
    fn next(&mut self) -> Result<Record> {
        let head = self.bytes.below(1 << 19, "a codec's number")?;
        let (codec, is_next, is_whole, is_home) = (head / 8, head & 1 != 0, head & 2 != 0, head & 4 != 0);
        let by = if is_next { 1 } else { self.bytes.signed()? };
        must(is_next || by != 1, "the next content in full")?;
        let number = self.number.checked_add(by).and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|&number| number < self.told.new.len());
        let number = number.ok_or(Refusal::Wrong("no such content"))?;
        self.number = i64::try_from(number).map_err(|_| Refusal::TooMuch)?;
        let new = &self.told.new[number];
        let output = if is_whole { new.size } else { self.bytes.integer()? };
        must(output > 0 && (is_whole || output != new.size), "what a record makes")?;
        let parts = if is_home {
            let home = new.home.ok_or(Refusal::Wrong("no file at home"))?;
            self.entry = i64::try_from(home).map_err(|_| Refusal::TooMuch)?;
            vec![(Origin::Base(home), Extent::Whole)]
        } else {
            let parts = self.parts()?;
            let is_told_in_full =
                |home| matches!(&parts[..], [(Origin::Base(file), Extent::Whole)] if *file == home);
            must(!new.home.is_some_and(is_told_in_full), "home in full")?;
            parts
        };
        Ok(Record { codec, number, output, parts, payload: self.bytes.integer()? })
    }

    fn parts(&mut self) -> Result<Vec<(Origin, Extent)>> {
        let mut parts = Vec::new();
        for _ in 0..self.bytes.below(17, "more than 16 parts")? {
            let told = self.bytes.integer()?;
            let origin = if told % 2 == 1 {
                let number = usize::try_from(told / 2).ok().filter(|&number| number < self.told.new.len());
                Origin::New(number.ok_or(Refusal::Wrong("no such content"))?)
            } else {
                let place =
                    self.entry.checked_add(signed(told / 2)).and_then(|place| usize::try_from(place).ok());
                let place =
                    place.filter(|&place| self.base.entries.get(place).is_some_and(|e| e.file().is_some()));
                let place = place.ok_or(Refusal::Wrong("no such file of the base"))?;
                self.entry = i64::try_from(place).map_err(|_| Refusal::TooMuch)?;
                Origin::Base(place)
            };
            let extent = match self.bytes.integer()? {
                0 => Extent::Whole,
                1 => Extent::Renewed,
                more => Extent::Range { length: more - 1, offset: self.bytes.integer()? },
            };
            parts.push((origin, extent));
        }
        Ok(parts)
    }
}

fn source(
    record: &Record,
    (base, told): (&Base, &Told),
    (contents, is_whole): (&[Vec<u8>], &dyn Fn(usize) -> bool),
) -> Result<Vec<u8>> {
    let mut source = Vec::new();
    for (origin, extent) in &record.parts {
        let content = match *origin {
            Origin::Base(place) => &base.contents[place],
            Origin::New(number) => {
                must(is_whole(number), "a content that is not whole")?;
                &contents[number]
            }
        };
        match *extent {
            Extent::Whole => source.extend_from_slice(content),
            Extent::Renewed => {
                must(matches!(origin, Origin::Base(_)) && record.parts.len() == 1, "what is renewed")?;
                let length = content.len() as u64;
                must(
                    length <= 1 << 20 && length <= record.output.saturating_mul(2),
                    "a list that is too long",
                )?;
                let path = &told.new[record.number].path;
                source.extend(lists::renew(content, path, told, (contents, is_whole)));
            }
            Extent::Range { offset, length } => {
                let mut range = Bytes(content);
                range.take(offset)?;
                source.extend_from_slice(range.take(length)?);
            }
        }
    }
    Ok(source)
}
