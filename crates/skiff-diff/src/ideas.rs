//! What the encoder may try, one switch for each, so that what each saves can be measured.

/// One thing that the encoder does to make deltas smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Idea {
    /// A new file is made from another version of it, or from a file of the same name elsewhere, where the base does not have its
    /// path.
    Siblings,
    /// A new file is made from what is like it, wherever that is, where its name leads to nothing or to what is unlike it; from a
    /// new file before it, too, and from several together.
    Similar,
    /// Files are made from others by approximate matching.
    Bsdiff,
    /// What gzip compressed is compared uncompressed.
    Gzip,
    /// Archives are compared member by member, uncompressed: see the codec `zip`.
    Zip,
    /// Images are compared uncompressed: see the codec `png`. Takes part in [`Align`](Self::Align).
    Png,
    /// What a file has in common with another, and how it differs, is told by a code that learns: see the codec `align`.
    Align,
    /// Lists of checksums are told from what the listed files hash to. Takes part in [`Align`](Self::Align).
    Checksums,
    /// References in executables are predicted from where what they name went.
    References,
    /// Frames that are small are compressed with mixed contexts.
    Mixed,
}

impl Idea {
    /// Every idea.
    pub const ALL: &[Self] = &[
        Self::Siblings,
        Self::Similar,
        Self::Bsdiff,
        Self::Gzip,
        Self::Zip,
        Self::Png,
        Self::Align,
        Self::Checksums,
        Self::References,
        Self::Mixed,
    ];

    /// The name that reports spell.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Siblings => "siblings",
            Self::Similar => "similar",
            Self::Bsdiff => "bsdiff",
            Self::Gzip => "gzip",
            Self::Zip => "zip",
            Self::Png => "png",
            Self::Align => "align",
            Self::Checksums => "checksums",
            Self::References => "references",
            Self::Mixed => "mixed",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of ideas: all of them, unless some are left out to see what they are worth. Any set makes sound deltas.
///
/// ```
/// use skiff_diff::{Idea, Ideas, Options};
///
/// let options = Options { ideas: Ideas::ALL.without(Idea::Gzip), ..Options::default() };
/// assert!(options.ideas.has(Idea::Bsdiff) && !options.ideas.has(Idea::Gzip));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ideas(u32);

impl Ideas {
    /// Every idea, those of later versions included.
    pub const ALL: Self = Self(u32::MAX);
    /// None: new contents are sent as they are, compressed.
    pub const NONE: Self = Self(0);

    /// This set without an idea.
    #[must_use]
    pub const fn without(self, idea: Idea) -> Self {
        Self(self.0 & !idea.bit())
    }

    /// This set and an idea.
    #[must_use]
    pub const fn with(self, idea: Idea) -> Self {
        Self(self.0 | idea.bit())
    }

    /// Of this set one idea at most.
    #[must_use]
    pub const fn only(self, idea: Idea) -> Self {
        Self(self.0 & idea.bit())
    }

    /// Whether an idea is in it.
    #[must_use]
    pub const fn has(self, idea: Idea) -> bool {
        self.0 & idea.bit() != 0
    }
}

impl Default for Ideas {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_idea_has_a_bit_and_a_name_of_its_own() {
        for &idea in Idea::ALL {
            assert!(!Ideas::ALL.without(idea).has(idea) && Ideas::NONE.with(idea).has(idea));
            for &other in Idea::ALL.iter().filter(|&&other| other != idea) {
                assert!(Ideas::ALL.without(idea).has(other) && idea.name() != other.name());
                assert!(Ideas::ALL.only(idea).has(idea) && !Ideas::ALL.only(idea).has(other));
            }
        }
    }
}
