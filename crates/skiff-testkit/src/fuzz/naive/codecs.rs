//! The codecs.

use std::io::Cursor;

use skiff_patch::{Codec, Limits, PatchError, Source, State};

use super::bytes::Bytes;
use super::{Refusal, Result, must};

/// More than is made of one payload here.
const MOST: u64 = 32 << 20;

pub(crate) struct Job<'a> {
    pub(crate) codec: u64,
    pub(crate) payload: &'a [u8],
    pub(crate) source: &'a [u8],
    pub(crate) output: u64,
}

/// All of these must be known, in the only version there is.
pub(crate) fn check(codecs: &[(u64, u64)]) -> Result<()> {
    let is_known = |&(number, version): &(u64, u64)| (1..=7).contains(&number) && version == 0;
    must(codecs.iter().all(is_known), "an unknown codec")
}

pub(crate) fn decode(job: &Job<'_>, limits: &Limits, state: &mut State) -> Result<Vec<u8>> {
    let output = match job.codec {
        1 => job.payload.to_vec(),
        2 => bsdiff(job)?,
        4 => block(job)?,
        _ => return by_the_product(job, limits, state),
    };
    must(output.len() as u64 == job.output, "another length than promised")?;
    Ok(output)
}

fn bsdiff(job: &Job<'_>) -> Result<Vec<u8>> {
    let mut bytes = Bytes(job.payload);
    let source_len = job.source.len() as u64;
    let mut position = bytes.integer()?;
    must(position <= source_len, "a position behind the source")?;
    let count = bytes.integer()?;
    let mut controls = Vec::new();
    for index in 0..count {
        let (add, copy) = (bytes.integer()?, bytes.integer()?);
        let seek = if index + 1 < count { bytes.signed()? } else { 0 };
        must(add > 0 || (index == 0 && copy > 0), "a control that adds nothing")?;
        controls.push((add, copy, seek));
    }
    let mut output = Vec::new();
    for (add, copy, seek) in controls {
        must(add <= source_len - position, "bytes behind the source")?;
        let start = usize::try_from(position).map_err(|_| Refusal::TooMuch)?;
        let corrections = bytes.take(add)?;
        output
            .extend(corrections.iter().zip(&job.source[start..]).map(|(byte, old)| byte.wrapping_add(*old)));
        output.extend(bytes.take(copy)?);
        let moved = (position + add).checked_add_signed(seek);
        position = moved.filter(|&to| to <= source_len).ok_or(Refusal::Wrong("a position outside"))?;
    }
    bytes.at_end()?;
    Ok(output)
}

fn block(job: &Job<'_>) -> Result<Vec<u8>> {
    let mut bytes = Bytes(job.payload);
    must(bytes.take(4)? == [0x72, 0x73, 2, 0x36], "no delta of librsync")?;
    let number = |bytes: &mut Bytes<'_>, width: u8| {
        let read = bytes.take(1 << width)?;
        Ok(read.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let mut output = Vec::new();
    loop {
        let command = bytes.byte()?;
        match command {
            0 => break,
            1..=64 => output.extend(bytes.take(command.into())?),
            65..=68 => {
                let length = number(&mut bytes, command - 65)?;
                must(length > 0, "a literal of nothing")?;
                output.extend(bytes.take(length)?);
            }
            69..=84 => {
                let offset = number(&mut bytes, (command - 69) / 4)?;
                let length = number(&mut bytes, (command - 69) % 4)?;
                must(length > 0, "a copy of nothing")?;
                let mut source = Bytes(job.source);
                source.take(offset)?;
                output.extend(source.take(length)?);
            }
            _ => return Err(Refusal::Wrong("no such command")),
        }
        if output.len() as u64 > MOST {
            return Err(Refusal::TooMuch);
        }
    }
    bytes.at_end()?;
    Ok(output)
}

fn by_the_product(job: &Job<'_>, limits: &Limits, state: &mut State) -> Result<Vec<u8>> {
    let codec = Codec::ALL.iter().find(|codec| u64::from(codec.id()) == job.codec);
    let codec = *codec.ok_or(Refusal::Wrong("no such codec"))?;
    let mut source = Source::new(Cursor::new(job.source), job.source.len() as u64);
    let mut output = Vec::new();
    let job = skiff_patch::Job::new(codec, job.payload, job.output);
    match skiff_patch::decode(&job, &mut source, &mut output, limits, state) {
        Ok(()) => Ok(output),
        Err(PatchError::LimitExceeded { .. }) => Err(Refusal::TooMuch),
        Err(_) => Err(Refusal::Wrong("a payload that its codec refuses")),
    }
}
