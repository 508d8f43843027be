//! Makes a delta's digests right: no fuzzer finds those, and behind them lies most of the code.

use skiff_format::{Digest, Header};

/// Where the header's digest stands, and where its body begins.
const DIGEST: std::ops::Range<usize> = 16..48;
const BODY: usize = 52;

/// Mends the digests of the header and of all frames that are there.
pub(crate) fn mend(delta: &mut [u8]) {
    let Some([body, signatures]) = lengths(delta) else { return };
    let end = body.saturating_add(BODY);
    let frames = end.saturating_add(signatures);
    if frames > delta.len() {
        return;
    }
    mend_header(delta, end);
    let Ok(header) = Header::parse(&delta[..frames]) else { return };
    let mut row = BODY;
    for frame in header.frames() {
        let start = usize::try_from(frame.offset).unwrap_or(usize::MAX);
        let size = usize::try_from(frame.encoded_size).unwrap_or(usize::MAX);
        let Some(bytes) = delta.get(start..start.saturating_add(size)) else { break };
        let digest = Digest::of(bytes);
        // The table ends the header, and a row of it ends with the digest.
        let Some(at) = find(&delta[row..end], frame.digest.as_bytes()) else { break };
        delta[row + at..row + at + 32].copy_from_slice(digest.as_bytes());
        row += at + 32;
    }
    mend_header(delta, end);
}

/// How long the header's body is, and the signatures behind it.
fn lengths(delta: &[u8]) -> Option<[usize; 2]> {
    let length = |at: usize| {
        let bytes = delta.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    Some([length(12)?, length(48)?])
}

fn mend_header(delta: &mut [u8], end: usize) {
    let covered = [&delta[..DIGEST.start], &delta[BODY..end]].concat();
    delta[DIGEST].copy_from_slice(Digest::of(&covered).as_bytes());
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
