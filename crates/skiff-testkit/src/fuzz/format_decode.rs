use skiff_format::{Decoder, Digest, Event, FormatError, Header, Limits};

use super::Reached;
use super::input::Input;

/// Where the header's digest stands, and where its body begins.
const DIGEST: std::ops::Range<usize> = 16..48;
const BODY: usize = 52;

/// The container's decoder: the first byte tells whether digests are mended first, the second in how large pieces the
/// rest, a delta, arrives.
///
/// Any split of the input gives the same events and the same error; a frame has the size that its header tells, which is
/// within the limits; and a delta that is taken is as long as it says.
///
/// # Panics
/// Where one of these does not hold.
pub fn format_decode(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mend_digests = input.byte() % 2 == 1;
    let piece = usize::from(input.byte()).max(1);
    let mut delta = input.rest().to_vec();
    if mend_digests {
        mend(&mut delta);
    }

    let whole = decode(&delta, delta.len().max(1));
    let pieces = decode(&delta, piece);
    assert_eq!(whole.0, pieces.0, "events depend on how the input was split");
    assert_eq!(whole.1, pieces.1, "the end depends on how the input was split");
    check(&whole.0, &delta, whole.1.is_none());
    if whole.1.is_none() { Reached::Accepted } else { Reached::Refused }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.header_bytes = 64 << 10;
    limits.frame_bytes = 256 << 10;
    limits.dictionary_bytes = 1 << 20;
    limits.decoder_memory = 16 << 20;
    limits
}

/// All events, and the message of the error if there was one.
fn decode(delta: &[u8], piece: usize) -> (Vec<Event>, Option<String>) {
    let mut decoder = Decoder::new(limits());
    let mut events = Vec::new();
    let mut feed = || -> Result<(), FormatError> {
        for mut input in delta.chunks(piece) {
            while let Some(event) = decoder.push(&mut input)? {
                events.push(event);
            }
            assert!(input.is_empty(), "the decoder left input without saying why");
        }
        decoder.finish()
    };
    let end = feed().err().map(|error| error.to_string());
    (events, end)
}

fn check(events: &[Event], delta: &[u8], whole: bool) {
    let Some((Event::Header(header), frames)) = events.split_first() else {
        assert!(events.is_empty() && !whole, "something came before the header");
        return;
    };
    assert_eq!(Header::parse(header.bytes()).as_ref().ok(), Some(&**header), "a header does not read back");
    for (index, event) in frames.iter().enumerate() {
        if let Event::Frame(frame) = event {
            let told = &header.frames()[index];
            let found = (frame.index, frame.offset, frame.section, frame.payload.len() as u64);
            assert_eq!(found, (index, told.offset, told.section, told.decoded_size));
            assert!(told.decoded_size <= limits().frame_bytes, "a frame beyond the limit was decoded");
        }
    }
    if whole {
        assert_eq!(header.delta_size(), delta.len() as u64);
        assert_eq!(header.frames().len(), frames.len());
    }
}

/// Makes all digests right, the header's and the frames': no fuzzer finds those, and behind them lies most of the code.
fn mend(delta: &mut [u8]) {
    let Some(length) =
        delta.get(12..16).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    else {
        return;
    };
    let Some(end) = usize::try_from(length).ok().and_then(|length| length.checked_add(BODY)) else { return };
    if end > delta.len() {
        return;
    }
    mend_header(delta, end);
    let Ok(header) = Header::parse(&delta[..end]) else { return };
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

fn mend_header(delta: &mut [u8], end: usize) {
    let covered = [&delta[..DIGEST.start], &delta[BODY..end]].concat();
    delta[DIGEST].copy_from_slice(Digest::of(&covered).as_bytes());
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
