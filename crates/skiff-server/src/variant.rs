//! Which of a pair's deltas a device gets: it depends on what the device can apply.

use serde::{Deserialize, Serialize};
use skiff_diff::{Idea, Ideas};
use skiff_patch::Codec;
use skiff_protocol::{Capabilities, Problem, ProblemCode};

/// The kinds of deltas between two releases: what a delta keeps to, so that all devices that can do as much get the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Variant {
    /// The version of the format.
    format: u16,
    /// A bit for each codec that may be used, by its number.
    codecs: u64,
    /// The most memory that decoding may take, in bytes.
    memory: Option<u64>,
}

/// Memory that deltas are made for: a device gets what is made for the most that it can grant. In between lies too little to make
/// and keep one more delta.
const MEMORY: [u64; 10] = {
    const MIB: u64 = 1 << 20;
    [10 * MIB, 12 * MIB, 16 * MIB, 24 * MIB, 32 * MIB, 48 * MIB, 64 * MIB, 96 * MIB, 128 * MIB, 256 * MIB]
};

impl Variant {
    /// What a device of these capabilities gets.
    pub(crate) fn of(capabilities: &Capabilities) -> Result<Self, Problem> {
        let refuse = |detail: String| Err(Problem::new(ProblemCode::NotForDevice, detail));
        if !capabilities.formats.contains(&skiff_format::VERSION) {
            let known = skiff_format::VERSION;
            return refuse(format!("the format is of version {known}, which the device does not read"));
        }
        let has = |codec: &Codec| {
            capabilities.codecs.iter().any(|has| (has.id, has.version) == (codec.id(), codec.version()))
        };
        // What every delta may need, and every device has.
        if !has(&Codec::Data) || !has(&Codec::Bsdiff) {
            return refuse(
                "the device lacks the codecs data and bsdiff, of which every delta is made".into(),
            );
        }
        let codecs = Codec::ALL.iter().filter(|codec| has(codec)).fold(0, |set, codec| set | 1 << codec.id());
        let memory = match capabilities.decoder_memory {
            None => None,
            Some(granted) => match MEMORY.iter().rev().find(|&&memory| memory <= granted) {
                Some(&memory) => Some(memory),
                None => return refuse(format!("deltas take {} bytes of memory at least", MEMORY[0])),
            },
        };
        Ok(Self { format: skiff_format::VERSION, codecs, memory })
    }

    /// What the encoder may try.
    pub(crate) fn ideas(self) -> Ideas {
        let needs = [
            (Codec::Gzip, Idea::Gzip),
            (Codec::Align, Idea::Align),
            (Codec::Zip, Idea::Zip),
            (Codec::Png, Idea::Png),
        ];
        let lacking = needs.into_iter().filter(|&(codec, _)| !self.has(codec));
        lacking.fold(Ideas::ALL, |ideas, (_, idea)| ideas.without(idea))
    }

    /// Whether deltas of the kind may use a codec.
    pub(crate) fn has(self, codec: Codec) -> bool {
        self.codecs & 1 << codec.id() != 0
    }

    pub(crate) fn max_decoder_memory(self) -> Option<u64> {
        self.memory
    }

    /// A name for it, for names of files.
    pub(crate) fn name(self) -> String {
        let memory = self.memory.map_or("any".into(), |memory| format!("{}m", memory >> 20));
        format!("v{}-c{:x}-{memory}", self.format, self.codecs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_protocol::Codec as Named;

    fn capabilities(codecs: impl IntoIterator<Item = u16>, decoder_memory: Option<u64>) -> Capabilities {
        let codecs = codecs.into_iter().map(|id| Named { id, version: 0 }).collect();
        Capabilities { formats: [skiff_format::VERSION].into(), codecs, decoder_memory }
    }

    #[test]
    fn devices_that_can_do_as_much_get_the_same() {
        let of = |codecs: std::ops::Range<u16>, memory| Variant::of(&capabilities(codecs, memory)).unwrap();
        // Codecs that are not known here make no difference, nor does memory that is not enough for more.
        assert_eq!(of(1..8, Some(64 << 20)), of(1..99, Some(65 << 20)));
        assert_ne!(of(1..8, Some(64 << 20)), of(1..8, Some(63 << 20)));
        assert_ne!(of(1..8, None), of(1..6, None));
        assert!(of(1..8, None).ideas().has(Idea::Zip) && !of(1..6, None).ideas().has(Idea::Zip));
    }

    #[test]
    fn what_no_delta_can_be_made_for_is_told() {
        for wrong in [
            Capabilities { formats: [77].into(), ..capabilities(1..8, None) },
            capabilities([1, 3], None),
            capabilities(1..8, Some(1 << 20)),
        ] {
            assert_eq!(Variant::of(&wrong).unwrap_err().code, ProblemCode::NotForDevice, "{wrong:?}");
        }
    }
}
