//! What a reference is: a field of the old file that names a place.

/// What a reference is part of: what its likelihoods depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Call,
    Jump,
    Branch,
    Short,
    Memory,
    Immediate,
    Pointer,
    RelocationPlace,
    RelocationSymbol,
    Addend,
    SymbolValue,
    SymbolSize,
    SymbolName,
    UnwindBegin,
    UnwindSize,
    UnwindParent,
    Exceptions,
    IndexBegin,
    IndexEntry,
    TableEntry,
    Header,
    Page,
    Low,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = Kind::Low as usize + 1;

/// How a field says what it names: T is the place named, P that of the field, B that of its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// T.
    Absolute,
    /// T − (P + so many bytes).
    Relative(u8),
    /// P − T.
    Behind,
    /// (T − B) / so many bytes.
    Based(u8),
    /// Bits of an instruction.
    Word(Word),
}

/// The bits of an instruction that name a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// AArch64: so many bits, from this one on, hold T − P in words.
    Branch(u8, u8),
    /// AArch64's ADR: T − P.
    Near,
    /// AArch64's ADRP: the page of T less that of P.
    Page,
    /// AArch64: T within its page, in units of so many powers of two.
    Low(u8),
}

impl Word {
    /// The instruction `old` with other bits, of which the lowest are taken.
    const fn with(self, old: u32, bits: u32) -> u32 {
        let (mask, placed) = match self {
            Self::Branch(count, from) => {
                let mask = ((1 << count) - 1) << from;
                (mask, bits << from & mask)
            }
            Self::Near | Self::Page => {
                ((3 << 29) | (0x7_ffff << 5), (bits & 3) << 29 | (bits >> 2 & 0x7_ffff) << 5)
            }
            Self::Low(_) => (0xfff << 10, (bits & 0xfff) << 10),
        };
        old & !mask | placed
    }

    /// Those bits of an instruction, as a number with a sign if they have one.
    const fn bits(self, word: u32) -> i64 {
        let (bits, count) = match self {
            Self::Branch(count, from) => (word >> from, count as u32),
            Self::Near | Self::Page => ((word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3, 21),
            Self::Low(_) => return (word >> 10 & 0xfff) as i64,
        };
        let spare = u32::BITS - count;
        ((bits << spare).cast_signed() >> spare) as i64
    }

    /// The bits that name a target from a place.
    const fn bits_for(self, target: u64, place: u64) -> u32 {
        match self {
            Self::Branch(..) => (target.wrapping_sub(place) >> 2) as u32,
            Self::Near => target.wrapping_sub(place) as u32,
            Self::Page => (target >> 12).wrapping_sub(place >> 12) as u32,
            Self::Low(scale) => ((target & 0xfff) >> scale) as u32,
        }
    }

    /// The target that an instruction at a place names, or its page; `page` is that of the instruction before.
    const fn target(self, word: u32, place: u64, page: u64) -> u64 {
        let bits = self.bits(word);
        match self {
            Self::Branch(..) => place.wrapping_add_signed(bits << 2),
            Self::Near => place.wrapping_add_signed(bits),
            Self::Page => (place & !0xfff).wrapping_add_signed(bits << 12),
            Self::Low(scale) => page.wrapping_add_signed(bits << scale),
        }
    }
}

/// What a field counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    None,
    /// The beginning of a section.
    Section(usize),
    /// A place that moves with the field.
    Near(u64),
    /// The beginning of what the field tells the length of.
    Begin(u64),
    /// The page that the instruction of this position put into this register.
    Page {
        register: u8,
        position: u64,
    },
    /// Nothing: the layout tells the new value.
    Told(u64),
}

/// A field of the old file that names a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Where it is in the old file.
    pub(crate) position: u64,
    /// How many bytes it takes, 1 to 8.
    pub(crate) length: u8,
    pub(crate) kind: Kind,
    pub(super) form: Form,
    pub(super) base: Base,
    /// Its bytes.
    pub(crate) old: u64,
    /// Its address.
    pub(super) address: u64,
    /// The address it names.
    pub(super) target: u64,
}

impl Reference {
    /// Whether it tells a length.
    pub(super) const fn is_extent(&self) -> bool {
        matches!(self.base, Base::Begin(_))
    }

    /// Whether what it names ends where the target is.
    pub(super) const fn is_end(&self) -> bool {
        self.is_extent()
    }

    /// The field's value for a target.
    pub(super) fn field_of(&self, target: u64, place: u64, base: u64) -> u64 {
        let value = match (self.base, self.form) {
            (Base::Told(value), _) => value,
            (_, Form::Absolute) => target,
            (_, Form::Relative(after)) => target.wrapping_sub(place).wrapping_sub(u64::from(after)),
            (_, Form::Behind) => place.wrapping_sub(target),
            (_, Form::Word(word)) => u64::from(word.with(self.old as u32, word.bits_for(target, place))),
            (_, Form::Based(unit)) => target.wrapping_sub(base) / u64::from(unit.max(1)),
        };
        value & self.mask()
    }

    /// The field with a label in place of what it names.
    #[cfg(feature = "encode")]
    pub(super) fn labelled(&self, label: u32) -> u64 {
        match self.form {
            Form::Word(word) => u64::from(word.with(self.old as u32, label)),
            _ => u64::from(label) & self.mask(),
        }
    }

    /// Whether only the page of what it names is told.
    pub(super) const fn is_page(&self) -> bool {
        matches!(self.form, Form::Word(Word::Page))
    }

    /// The target that a value of the field names.
    pub(super) fn target_of(&self, value: u64, place: u64, base: u64) -> Option<u64> {
        let spare = u64::BITS - 8 * u32::from(self.length.clamp(1, 8));
        let signed = (value << spare).cast_signed() >> spare;
        Some(match self.form {
            _ if matches!(self.base, Base::Told(_)) => return None,
            Form::Absolute => value,
            Form::Relative(after) => place.wrapping_add(u64::from(after)).wrapping_add_signed(signed),
            Form::Behind => place.wrapping_sub(value),
            Form::Word(word) => word.target(value as u32, place, base),
            Form::Based(1) => base.wrapping_add_signed(signed),
            Form::Based(unit) => base.wrapping_add(value.wrapping_mul(u64::from(unit))),
        })
    }

    const fn mask(&self) -> u64 {
        if self.length >= 8 { u64::MAX } else { (1 << (8 * self.length)) - 1 }
    }
}
