//! What the `bsdiff` crate finds, as the codec's stream.

use std::io;

use super::stream::{Control, write};

/// The codec's payload for all of `new`, from the crate's matches.
pub(crate) fn payload(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    if bsdiff::diff(old, new, &mut stream).is_err() {
        return Vec::new();
    }
    let controls = controls(&stream).unwrap_or_default();
    write(old, new, &controls)
}

fn controls(mut stream: &[u8]) -> io::Result<Vec<Control>> {
    let mut controls = Vec::new();
    let mut position = 0_i64;
    while let Some((fields, rest)) = stream.split_first_chunk::<24>() {
        let field = |index: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&fields[index * 8..index * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        let (add, copy) = (field(0) as usize, field(1) as usize);
        // The sign is a bit of its own.
        let magnitude = (field(2) & !(1 << 63)) as i64;
        controls.push(Control { position: position as usize, add, copy });
        position += add as i64 + if field(2) >> 63 == 0 { magnitude } else { -magnitude };
        stream = rest.get(add + copy..).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(controls)
}
