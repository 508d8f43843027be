//! The same events, however the input arrives.

use std::io::{self, Read};

use proptest::collection::vec;
use proptest::prelude::*;
use skiff_format::{Compression, Decoder, Event, Limits, Reader, Section};

use crate::{decode, samples};

type Frames = Vec<(Section, Vec<u8>, Compression)>;

fn compression() -> impl Strategy<Value = Compression> {
    let xz = |(literal_context_bits, literal_position_bits, position_bits)| Compression::Xz {
        literal_context_bits,
        literal_position_bits,
        position_bits,
    };
    prop_oneof![
        Just(Compression::Stored),
        (0..=2_u8, 0..=2_u8, 0..=4_u8).prop_map(xz),
        (1..=22).prop_map(|level| Compression::Zstd { level }),
    ]
}

/// Bytes that compress, and bytes that do not.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 1..200),
        (vec(any::<u8>(), 1..20), 1..200_usize).prop_map(|(b, n)| b.repeat(n))
    ]
}

fn frames() -> impl Strategy<Value = Frames> {
    let section = |section| vec((Just(section), payload(), compression()), 1..3);
    let optional = move |kind| prop_oneof![Just(Vec::new()), section(kind)];
    let parts = (
        optional(Section::Config),
        optional(Section::Manifest),
        section(Section::Tree),
        optional(Section::Unknown(77)),
        optional(Section::Contents),
    );
    parts.prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat())
}

fn write(frames: &Frames) -> Vec<u8> {
    let borrowed: Vec<_> = frames.iter().map(|(s, payload, c)| (*s, &payload[..], *c)).collect();
    samples::write(&borrowed)
}

/// Gives as many bytes as the next of the sizes says, is interrupted where one is 0, and counts.
struct Trickle<'a> {
    left: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    count: u64,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = *self.sizes.next().unwrap();
        if size == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = size.min(buffer.len());
        let count = self.left.read(&mut buffer[..room])?;
        self.count += count as u64;
        Ok(count)
    }
}

fn end_of(event: &Event, header: &skiff_format::Header) -> u64 {
    let index = match event {
        Event::Header(header) => return header.bytes().len() as u64,
        Event::Frame(frame) => frame.index,
        Event::Skipped { index } => *index,
        other => panic!("{other:?}"),
    };
    header.frames()[index].offset + header.frames()[index].encoded_size
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_was_written_comes_out(frames in frames()) {
        let delta = write(&frames);
        let (events, end) = decode(&delta, Limits::default());
        end.unwrap();
        prop_assert_eq!(events.len(), frames.len() + 1);
        for (index, (event, (section, payload, _))) in events[1..].iter().zip(&frames).enumerate() {
            match event {
                Event::Frame(frame) => {
                    prop_assert_eq!((frame.index, frame.section, &frame.payload), (index, *section, payload));
                }
                Event::Skipped { index: skipped } => {
                    prop_assert_eq!((*skipped, *section), (index, Section::Unknown(77)));
                }
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(write(&frames), delta, "the same input gave other bytes");
    }

    #[test]
    fn any_split_gives_the_same_events(
        frames in frames(),
        sizes in vec(0..90_usize, 1..40),
        (cut, signed) in any::<(bool, bool)>(),
    ) {
        let mut delta = write(&frames);
        if signed {
            delta = samples::signed(&delta);
        }
        if cut {
            delta.truncate(delta.len() - delta.len() / 3);
        }
        let (events, end) = decode(&delta, Limits::default());
        let mut decoder = Decoder::new(Limits::default());
        let (mut seen, mut left, mut sizes) = (Vec::new(), &delta[..], sizes.iter().cycle());
        // Empty pieces come too; one byte more ends a cycle of nothing but those.
        while !left.is_empty() {
            let (mut piece, rest) = left.split_at(left.len().min(*sizes.next().unwrap()));
            let (mut byte, rest) = rest.split_at(rest.len().min(1));
            left = rest;
            for input in [&mut piece, &mut byte] {
                while let Some(event) = decoder.push(input).unwrap() {
                    seen.push(event);
                }
                prop_assert!(input.is_empty());
            }
        }
        prop_assert_eq!(seen, events);
        prop_assert_eq!(format!("{:?}", decoder.finish()), format!("{end:?}"));
    }

    #[test]
    fn a_reader_gives_the_same_and_reads_no_further(
        frames in frames(),
        sizes in vec(prop_oneof![1 => Just(0), 3 => 1..300_usize], 1..9),
    ) {
        prop_assume!(sizes.iter().any(|&size| size > 0));
        let delta = samples::signed(&write(&frames));
        let (events, _) = decode(&delta, Limits::default());
        let Event::Header(header) = &events[0] else { panic!("the first event is the header") };
        let mut trickle = Trickle { left: &delta, sizes: sizes.iter().cycle(), count: 0 };
        let mut reader = Reader::new(&mut trickle, Limits::default());
        for event in &events {
            prop_assert_eq!(reader.next_event().unwrap(), Some(event.clone()));
        }
        prop_assert_eq!(reader.next_event().unwrap(), None);

        for (stop, last) in events.iter().enumerate() {
            let mut trickle = Trickle { left: &delta, sizes: sizes.iter().cycle(), count: 0 };
            let mut reader = Reader::new(&mut trickle, Limits::default());
            for _ in 0..=stop {
                reader.next_event().unwrap();
            }
            prop_assert_eq!(trickle.count, end_of(last, header), "after event {}", stop);
        }
    }

    #[test]
    fn it_goes_on_at_any_frame(frames in frames(), signed in any::<bool>()) {
        let mut delta = write(&frames);
        if signed {
            delta = samples::signed(&delta);
        }
        let (events, _) = decode(&delta, Limits::default());
        let Event::Header(header) = &events[0] else { panic!("the first event is the header") };
        // As a device keeps it.
        let header = skiff_format::Header::parse(header.bytes()).unwrap();
        for next in 0..=header.frames().len() {
            let offset = header.frames().get(next).map_or(header.delta_size(), |frame| frame.offset);
            let left = &delta[usize::try_from(offset).unwrap()..];
            let mut reader = Reader::resume(left, header.clone(), next, Limits::default()).unwrap();
            for event in &events[next + 1..] {
                prop_assert_eq!(reader.next_event().unwrap(), Some(event.clone()));
            }
            prop_assert_eq!(reader.next_event().unwrap(), None);
        }
        let beyond = header.frames().len() + 1;
        prop_assert!(Decoder::resume(header, beyond, Limits::default()).is_err());
    }
}
