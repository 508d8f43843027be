use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::{Digest, Event, FormatError, FrameInfo, Header, Limits, Reader, Signatures};

/// How much is copied at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Copies a delta, with other signatures: those that `choose` makes of its header. Everything else stays as it is, and so does the
/// header digest, which names the delta. No more of it is held than its header.
///
/// Each frame is seen to have its digest, so that nobody signs what is damaged. What was written by then where one has not is of no
/// use.
///
/// # Errors
/// What `choose` says; what a [`Reader`] says of a delta that is damaged or cut off, or that bytes follow; [`FormatError::Io`]
/// where reading or writing fails.
pub fn replace_signatures<E: From<FormatError>>(
    mut delta: impl Read,
    limits: Limits,
    mut out: impl Write,
    choose: impl FnOnce(&Header) -> Result<Signatures, E>,
) -> Result<Header, E> {
    let Some(Event::Header(old)) = Reader::new(&mut delta, limits).next_event()? else {
        return Err(FormatError::corrupt(0, "it does not begin with a header").into());
    };
    let new = old.with_signatures(&choose(&old)?)?;
    out.write_all(new.bytes()).map_err(writing)?;
    for frame in old.frames() {
        copy(&mut delta, frame, &mut out)?;
    }
    let behind = old.delta_size();
    match read(&mut delta, &mut [0])? {
        0 => out.flush().map_err(writing)?,
        _ => return Err(FormatError::corrupt(behind, "bytes follow its end").into()),
    }
    Ok(new)
}

/// Copies one frame, and compares its digest.
fn copy(delta: &mut impl Read, frame: &FrameInfo, out: &mut impl Write) -> Result<(), FormatError> {
    let mut hasher = Sha256::new();
    let mut left = frame.encoded_size;
    let mut buffer = vec![0; BUFFER_BYTES];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = read(delta, &mut buffer[..wanted])?;
        if count == 0 {
            return Err(FormatError::corrupt(frame.offset, "it is cut off within this frame"));
        }
        hasher.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(writing)?;
        left -= count as u64;
    }
    if Digest::from_bytes(hasher.finalize().into()) == frame.digest {
        Ok(())
    } else {
        Err(FormatError::corrupt(frame.offset, "a frame does not have its digest"))
    }
}

fn read(delta: &mut impl Read, buffer: &mut [u8]) -> Result<usize, FormatError> {
    loop {
        match delta.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(|source| FormatError::Io { op: "reading the delta", source }),
        }
    }
}

fn writing(source: io::Error) -> FormatError {
    FormatError::Io { op: "writing the delta", source }
}
