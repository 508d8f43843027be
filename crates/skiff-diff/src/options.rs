//! How a delta is made.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

use skiff_format::{Compression, FormatError, Header, Signatures};
use skiff_fs::Control;
use skiff_patch::Effort;

use crate::Ideas;

/// The longest payload that is compressed with mixed contexts by default: a device takes a second for it.
const MIXED_BYTES: usize = 1 << 20;

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Codecs without models, frames in zstd: applied fastest.
    Fast,
    /// Codecs that learn, and frames in xz or, where they are short, in mixed contexts.
    #[default]
    Default,
    /// Frames in whatever comes out smallest for each: slower to make, and where that is mixed contexts slower to apply.
    Best,
}

impl Level {
    /// How much time finding what files have in common may take.
    pub(crate) fn effort(self) -> Effort {
        match self {
            Self::Fast => Effort::Fast,
            Self::Default | Self::Best => Effort::Default,
        }
    }

    /// What is tried for each frame of so many bytes.
    pub(crate) fn compressions(self, length: usize) -> &'static [Compression] {
        /// Text and columns gain where positions predict nothing; tables of words where they predict literals.
        const BEST: [Compression; 5] = [
            Compression::Mixed,
            Compression::XZ,
            Compression::Xz { literal_context_bits: 3, literal_position_bits: 0, position_bits: 0 },
            Compression::Xz { literal_context_bits: 0, literal_position_bits: 0, position_bits: 0 },
            Compression::Xz { literal_context_bits: 0, literal_position_bits: 2, position_bits: 2 },
        ];
        match self {
            Self::Fast => &[Compression::Zstd { level: 9 }],
            Self::Default if length <= MIXED_BYTES => &BEST[..2],
            Self::Default => &BEST[1..2],
            Self::Best => &BEST,
        }
    }
}

/// Makes the signatures of a delta with this header.
pub type Sign<'a> = dyn Fn(&Header) -> Result<Signatures, FormatError> + Send + Sync + 'a;

/// How to make a delta.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How hard to try.
    pub level: Level,
    /// Threads; as many as the machine has cores unless set.
    pub threads: Option<NonZeroUsize>,
    /// About how many bytes of memory to use, 1 GiB unless set. Files are searched in windows of 64 MiB; pairs that take
    /// more than the budget together wait for each other. A file and its base are held while it is encoded, unless the base and
    /// three times the file pass the budget: then what both have in common is found by blocks, what lies between is searched
    /// near where its neighbours came from, a 256th of the budget or 4 MiB at a time, and neither file is held. Archives of
    /// that size are not opened, and references in executables not predicted.
    pub memory: u64,
    /// What a full pull would take, in bytes: told to the device, and the measure of whether the delta is worth it.
    pub pull_bytes: Option<u64>,
    /// Where temporary files go; they have no name there and vanish with the process. The system's place unless set.
    pub spool: Option<&'a Path>,
    /// The most memory that a device may need to decode, in bytes. Where it is little, frames are smaller, and codecs that
    /// take more are left out; the delta then is larger. Unbounded unless set: the report tells what is needed.
    pub max_decoder_memory: Option<u64>,
    /// What may be tried to make the delta smaller: everything, unless what that is worth is to be measured.
    pub ideas: Ideas,
    /// Whether the report [explains](crate::Report::explanation) where the bytes went, which takes a little longer.
    pub explain: bool,
    /// What signs the delta, once it has proved itself. Nothing, unless set.
    pub sign: Option<&'a Sign<'a>>,
    /// Watches and stops the work. Progress counts bytes of new contents; what there is of them is the target's
    /// [`content_bytes_missing_from`](skiff_tree::Tree::content_bytes_missing_from) the base.
    pub control: Control<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            level: Level::Default,
            threads: None,
            memory: 1 << 30,
            pull_bytes: None,
            spool: None,
            max_decoder_memory: None,
            ideas: Ideas::ALL,
            explain: false,
            sign: None,
            control: Control::default(),
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("Options");
        options.field("level", &self.level).field("threads", &self.threads).field("memory", &self.memory);
        options.field("pull_bytes", &self.pull_bytes).field("max_decoder_memory", &self.max_decoder_memory);
        options.field("ideas", &self.ideas).finish_non_exhaustive()
    }
}
