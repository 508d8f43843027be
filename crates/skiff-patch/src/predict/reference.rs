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
            (_, Form::Based(unit)) => target.wrapping_sub(base) / u64::from(unit.max(1)),
        };
        value & self.mask()
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
            Form::Based(1) => base.wrapping_add_signed(signed),
            Form::Based(unit) => base.wrapping_add(value.wrapping_mul(u64::from(unit))),
        })
    }

    const fn mask(&self) -> u64 {
        if self.length >= 8 { u64::MAX } else { (1 << (8 * self.length)) - 1 }
    }
}
