//! What a reference is: a field of the old file that names a place.

/// What a reference is part of: what its likelihoods depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The operand of a call.
    Call,
    /// The operand of a jump.
    Jump,
    /// The operand of a jump under a condition.
    Branch,
    /// The operand of a jump that does not reach far.
    Short,
    /// An operand that names data by its distance.
    Memory,
    /// An operand that is an address.
    Immediate,
    /// An address in data.
    Pointer,
    /// Where a relocation applies.
    RelocationPlace,
    /// The symbol of a relocation.
    RelocationSymbol,
    /// What a relocation adds.
    Addend,
    /// The address of a symbol.
    SymbolValue,
    /// How long what a symbol names is.
    SymbolSize,
    /// Where the name of a symbol stands.
    SymbolName,
    /// Where a function begins, in `.eh_frame`.
    UnwindBegin,
    /// How long it is.
    UnwindSize,
    /// Where the entry stands that the one of a function refers to.
    UnwindParent,
    /// Where the table of exceptions stands.
    Exceptions,
    /// Where a function begins, in `.eh_frame_hdr` or `.ARM.exidx`.
    IndexBegin,
    /// Where its entry stands.
    IndexEntry,
    /// An entry of a table of jumps.
    TableEntry,
    /// A field of a header or of `.dynamic` that the layout tells.
    Header,
    /// The page of an address, or half of it, that an instruction puts into a register.
    Page,
    /// The rest of such an address.
    Low,
    /// A word beside the code that code loads.
    Literal,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = Kind::Literal as usize + 1;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; KINDS] = [
        Self::Call,
        Self::Jump,
        Self::Branch,
        Self::Short,
        Self::Memory,
        Self::Immediate,
        Self::Pointer,
        Self::RelocationPlace,
        Self::RelocationSymbol,
        Self::Addend,
        Self::SymbolValue,
        Self::SymbolSize,
        Self::SymbolName,
        Self::UnwindBegin,
        Self::UnwindSize,
        Self::UnwindParent,
        Self::Exceptions,
        Self::IndexBegin,
        Self::IndexEntry,
        Self::TableEntry,
        Self::Header,
        Self::Page,
        Self::Low,
        Self::Literal,
    ];

    /// The name that `doc/format.md` gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Jump => "jump",
            Self::Branch => "branch",
            Self::Short => "short",
            Self::Memory => "memory",
            Self::Immediate => "immediate",
            Self::Pointer => "pointer",
            Self::RelocationPlace => "relocation place",
            Self::RelocationSymbol => "relocation symbol",
            Self::Addend => "addend",
            Self::SymbolValue => "symbol value",
            Self::SymbolSize => "symbol size",
            Self::SymbolName => "symbol name",
            Self::UnwindBegin => "unwind begin",
            Self::UnwindSize => "unwind size",
            Self::UnwindParent => "unwind parent",
            Self::Exceptions => "exceptions",
            Self::IndexBegin => "index begin",
            Self::IndexEntry => "index entry",
            Self::TableEntry => "table entry",
            Self::Header => "header",
            Self::Page => "page",
            Self::Low => "low",
            Self::Literal => "literal",
        }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u32);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);

    #[cfg(feature = "encode")]
    pub(crate) fn of(kinds: &[Kind]) -> Self {
        Self(kinds.iter().fold(0, |set, kind| set | 1 << *kind as u32))
    }

    pub(crate) const fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

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
    /// ARM's B and BL.
    ArmBranch,
    /// ARM's MOVW and MOVT: the lower and the upper half of T.
    ArmLow,
    ArmHigh,
    /// Thumb's B and Bcc of two bytes, with so many bits.
    ThumbShort(u8),
    /// Thumb's Bcc, BL and B.W, and BLX, of four bytes.
    ThumbBranch,
    ThumbCall,
    ThumbCallArm,
    /// Thumb's MOVW and MOVT.
    ThumbLow,
    ThumbHigh,
    /// ARM's tables of functions: T − P in 31 bits.
    Prel31,
}

/// `count` bits of a number from bit `from` on, which stand in the instruction from bit `at` on.
struct Bits {
    from: u32,
    count: u32,
    at: u32,
}

const fn bits(from: u32, count: u32, at: u32) -> Bits {
    Bits { from, count, at }
}

impl Word {
    /// Where the bits of the number are in the instruction.
    fn fields(self) -> &'static [Bits] {
        match self {
            Self::Branch(26, _) => const { &[bits(0, 26, 0)] },
            Self::Branch(14, _) => const { &[bits(0, 14, 5)] },
            Self::Branch(..) => const { &[bits(0, 19, 5)] },
            Self::Near | Self::Page => const { &[bits(0, 2, 29), bits(2, 19, 5)] },
            Self::Low(_) => const { &[bits(0, 12, 10)] },
            Self::ArmBranch => const { &[bits(0, 24, 0)] },
            Self::ArmLow | Self::ArmHigh => const { &[bits(0, 12, 0), bits(12, 4, 16)] },
            Self::ThumbShort(8) => const { &[bits(0, 8, 0)] },
            Self::ThumbShort(_) => const { &[bits(0, 11, 0)] },
            Self::ThumbBranch => {
                const { &[bits(0, 11, 16), bits(11, 6, 0), bits(17, 1, 29), bits(18, 1, 27), bits(19, 1, 10)] }
            }
            Self::ThumbCall | Self::ThumbCallArm => {
                const { &[bits(0, 11, 16), bits(11, 10, 0), bits(21, 1, 27), bits(22, 1, 29), bits(23, 1, 10)] }
            }
            Self::ThumbLow | Self::ThumbHigh => {
                const { &[bits(0, 8, 16), bits(8, 3, 28), bits(11, 1, 10), bits(12, 4, 0)] }
            }
            Self::Prel31 => const { &[bits(0, 31, 0)] },
        }
    }

    /// Thumb's calls tell two bits by whether they differ from the sign.
    const fn untwist(self, number: u32) -> u32 {
        match self {
            Self::ThumbCall | Self::ThumbCallArm if number & 1 << 23 == 0 => number ^ 3 << 21,
            _ => number,
        }
    }

    /// The instruction `old` with another number, of which the lowest bits are taken.
    fn with(self, old: u32, number: u32) -> u32 {
        let number = self.untwist(number);
        self.fields().iter().fold(old, |word, field| {
            let mask = ((1 << field.count) - 1) << field.at;
            word & !mask | number >> field.from << field.at & mask
        })
    }

    /// The number in an instruction, with a sign if it has one.
    pub(super) fn bits(self, word: u32) -> i64 {
        let join =
            |number: u32, field: &Bits| number | (word >> field.at & ((1 << field.count) - 1)) << field.from;
        let number = self.untwist(self.fields().iter().fold(0, join));
        let count: u32 = self.fields().iter().map(|field| field.count).sum();
        match self {
            Self::Low(_) | Self::ArmLow | Self::ArmHigh | Self::ThumbLow | Self::ThumbHigh => {
                i64::from(number)
            }
            _ => {
                let spare = u32::BITS - count;
                i64::from((number << spare).cast_signed() >> spare)
            }
        }
    }

    /// The number that names a target from a place.
    const fn bits_for(self, target: u64, place: u64) -> u32 {
        let distance = target.wrapping_sub(place);
        let number = match self {
            Self::Branch(..) => distance >> 2,
            Self::Near | Self::Prel31 => distance,
            Self::Page => (target >> 12).wrapping_sub(place >> 12),
            Self::Low(scale) => (target & 0xfff) >> scale,
            Self::ArmBranch => distance.wrapping_sub(8) >> 2,
            Self::ThumbShort(_) | Self::ThumbBranch | Self::ThumbCall => distance.wrapping_sub(4) >> 1,
            // Words are counted, but in the same bits.
            Self::ThumbCallArm => target.wrapping_sub(place.wrapping_add(4) & !3) >> 1,
            Self::ArmLow | Self::ThumbLow => target & 0xffff,
            Self::ArmHigh | Self::ThumbHigh => target >> 16 & 0xffff,
        };
        number as u32
    }

    /// The target that an instruction at a place names, or as much as it tells of it; `known` is what the instruction
    /// before told.
    fn target(self, word: u32, place: u64, known: u64) -> u64 {
        let bits = self.bits(word);
        match self {
            Self::Branch(..) => place.wrapping_add_signed(bits << 2),
            Self::Near | Self::Prel31 => place.wrapping_add_signed(bits),
            Self::Page => (place & !0xfff).wrapping_add_signed(bits << 12),
            Self::Low(scale) => known.wrapping_add_signed(bits << scale),
            Self::ArmBranch => place.wrapping_add(8).wrapping_add_signed(bits << 2),
            Self::ThumbShort(_) | Self::ThumbBranch | Self::ThumbCall => {
                place.wrapping_add(4).wrapping_add_signed(bits << 1)
            }
            Self::ThumbCallArm => (place.wrapping_add(4) & !3).wrapping_add_signed(bits << 1),
            Self::ArmLow | Self::ThumbLow => bits.cast_unsigned(),
            Self::ArmHigh | Self::ThumbHigh => (bits.cast_unsigned() << 16) | known & 0xffff,
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
    /// Nothing: the other half goes into this register.
    Half {
        register: u8,
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
            // A symbol that is taken for another costs its length too, which has no label: all bytes differ.
            _ if self.kind == Kind::SymbolValue => {
                u64::from(label).wrapping_mul(0x9e37_79b9_0000_0001) & self.mask()
            }
            _ => u64::from(label) & self.mask(),
        }
    }

    /// Whether it tells but a part of what it names, which the rest follows: the register it goes into.
    pub(super) const fn part(&self) -> Option<u8> {
        match (self.form, self.base) {
            (Form::Word(Word::Page), _) => Some(self.old as u8 & 31),
            (_, Base::Half { register }) => Some(register),
            _ => None,
        }
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
