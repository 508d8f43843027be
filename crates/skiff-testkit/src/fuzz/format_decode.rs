use skiff_format::{Decoder, Event, FormatError, Header, Limits};

use super::Reached;
use super::input::Input;
use super::mend::mend;

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
    let signed_again = header.with_signatures(header.signatures());
    assert_eq!(signed_again.as_ref().ok(), Some(&**header), "signatures have two forms");
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
