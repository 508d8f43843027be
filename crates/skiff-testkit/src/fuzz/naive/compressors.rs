//! What a frame's bytes are compressed with.

use std::io::Read as _;

use xz2::stream::{Action, Status, Stream};

use super::{Refusal, Result, must};

pub(crate) fn check(compressor: u64, parameter: u64) -> Result<()> {
    match compressor {
        0 | 3 => must(parameter == 0, "a parameter of something that has none"),
        1 => {
            let properties = parameter % 256;
            let (lc, lp, pb) = (properties % 9, properties / 9 % 5, properties / 45);
            must(parameter / 256 <= 39 && lc + lp <= 4 && pb <= 4, "a parameter that LZMA does not have")
        }
        2 => must((10..=31).contains(&parameter), "a window that Zstandard does not have"),
        _ => Err(Refusal::Wrong("an unknown compressor")),
    }
}

pub(crate) fn dictionary(compressor: u64, parameter: u64) -> u64 {
    match compressor {
        1 => {
            let dictionary = parameter / 256;
            (2 + dictionary % 2) << (dictionary / 2 + 11)
        }
        2 => 1 << parameter,
        _ => 0,
    }
}

pub(crate) fn decompress((compressor, parameter): (u64, u64), bytes: &[u8], size: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(|_| Refusal::TooMuch)?;
    let payload = match compressor {
        0 => Some(bytes.to_vec()),
        1 => lzma(parameter, bytes, size),
        2 => zstandard(parameter, bytes, size),
        _ => skiff_coder::Text::decode(bytes, size).ok(),
    };
    payload.filter(|payload| payload.len() == size).ok_or(Refusal::Wrong("a frame that is damaged"))
}

fn lzma(parameter: u64, bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let properties = u8::try_from(parameter % 256).ok()?;
    let dictionary = u32::try_from(dictionary(1, parameter)).ok()?.to_le_bytes();
    let file = [&[properties][..], &dictionary, &[0xff; 8], bytes].concat();
    let mut stream = Stream::new_lzma_decoder(u64::MAX).ok()?;
    let mut payload = Vec::with_capacity(size + 1);
    loop {
        let (read, written) = (stream.total_in(), payload.len());
        let status =
            stream.process_vec(&file[usize::try_from(read).ok()?..], &mut payload, Action::Finish).ok()?;
        if status == Status::StreamEnd {
            return (stream.total_in() == file.len() as u64).then_some(payload);
        }
        if payload.len() > size || (stream.total_in() == read && payload.len() == written) {
            return None;
        }
    }
}

fn zstandard(parameter: u64, bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let window = zstandard_window(bytes)?;
    if window > 1 << parameter || window < size as u64 {
        return None;
    }
    // A stream's decoder, unlike the real one, and one that stops behind a frame.
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).ok()?.single_frame();
    decoder.window_log_max(31).ok()?;
    let mut payload = Vec::new();
    (&mut decoder).take(size as u64 + 1).read_to_end(&mut payload).ok()?;
    if payload.len() != size {
        return None;
    }
    decoder.finish().is_empty().then_some(payload)
}

/// `Window_Size` of a frame without a dictionary (RFC 8878, 3.1.1.1).
fn zstandard_window(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let descriptor = *rest.first()?;
    if descriptor & 3 != 0 {
        return None;
    }
    if descriptor & 0x20 == 0 {
        let window = u64::from(*rest.get(1)?);
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    let number = |count: usize| {
        let field = rest.get(1..=count)?;
        Some(field.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte)))
    };
    match descriptor >> 6 {
        0 => number(1),
        1 => Some(number(2)? + 256),
        2 => number(4),
        _ => number(8),
    }
}
