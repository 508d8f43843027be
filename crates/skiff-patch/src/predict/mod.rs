//! Predicting what references become: of an executable's operands, pointers and tables, from where what they name went.

mod aarch64;
mod arm;
mod data;
mod elf;
mod layout;
mod learned;
mod map;
#[cfg(feature = "encode")]
pub(crate) mod neutral;
mod placement;
mod reference;
mod segments;
#[cfg(test)]
mod tests;
#[cfg(feature = "encode")]
pub(crate) mod weigh;
mod x86;

use elf::Machine;
use layout::Content;
pub(crate) use layout::Layout;
use learned::Learned;
use map::{Map, Neighbours, Placed};
use reference::Base;
pub use reference::Kind;
pub(crate) use reference::{KINDS, Kinds, Reference};

/// `length` bytes of the new file from `start` on are nearly those of the old one from `position` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) start: u64,
    pub(crate) position: u64,
    pub(crate) length: u64,
}

#[cfg(feature = "encode")]
impl Copy {
    /// The bytes of the old and the new file.
    pub(crate) fn of<'a>(&self, old: &'a [u8], new: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let range = |start: u64| start as usize..(start + self.length) as usize;
        (&old[range(self.position)], &new[range(self.start)])
    }

    /// How many bytes differ.
    pub(crate) fn differences(&self, old: &[u8], new: &[u8]) -> u64 {
        let (old, new) = self.of(old, new);
        old.iter().zip(new).filter(|(old, new)| old != new).count() as u64
    }
}

/// The most candidates of a prediction.
pub(crate) const CANDIDATES: usize = 3;

/// What a reference may have become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prediction {
    /// Values of the field, as little-endian integers, all different, the likeliest first.
    pub(crate) candidates: [u64; CANDIDATES],
    /// How many there are: at least one.
    pub(crate) count: usize,
    /// What the likelihood of the candidates depends on, below [`CONTEXTS`].
    pub(crate) context: usize,
}

/// How many contexts of predictions there are.
pub(crate) const CONTEXTS: usize = KINDS * 64;

/// Where candidates come from.
const SOURCES: usize = 5;
const LEARNED: usize = 0;
const COPIED: usize = 1;
const NEIGHBOUR: usize = 2;
const OTHER_SIDE: usize = 3;
const SAME: usize = 4;

/// How often a source was right of late, in 65536ths, and what that is taken to be at first.
type Scores = [u16; SOURCES];
const FIRST_SCORES: Scores = [40_000, 36_000, 20_000, 10_000, 15_000];

/// What the sources say of one reference.
#[derive(Debug, Clone, Copy, Default)]
struct Opinions {
    values: [Option<u64>; SOURCES],
    context: usize,
}

/// Predicts references, and learns from what they became.
pub(crate) struct Predictor {
    layout: Layout,
    map: Map,
    learned: Learned,
    neighbours: Neighbours,
    scores: Vec<Scores>,
    x86: x86::Sweep,
    aarch64: aarch64::Sweep,
    arm: arm::Sweep,
    pages: Pages,
    /// The reference predicted last, and what was said of it.
    last: Option<(u64, u64, Opinions)>,
}

impl Predictor {
    pub(crate) fn new(layout: Layout, copies: &[Copy]) -> Self {
        let copied = copies.iter().fold(0_u64, |sum, copy| sum.saturating_add(copy.length));
        Self {
            map: Map::new(&layout, copies),
            learned: Learned::new(copied),
            neighbours: Neighbours::new(&layout),
            scores: vec![FIRST_SCORES; CONTEXTS],
            x86: x86::Sweep::default(),
            aarch64: aarch64::Sweep::default(),
            arm: arm::Sweep::default(),
            pages: Pages::default(),
            last: None,
            layout,
        }
    }

    /// How much memory a predictor takes, in bytes, for so many copies of at most so many bytes together.
    pub(crate) fn memory(copies: u64, copied: u64) -> u64 {
        let copies = copies.min(placement::COPY_LIMIT as u64);
        copies * placement::MEMORY_PER_COPY
            + Learned::memory(copied)
            + Neighbours::MEMORY
            + (CONTEXTS * size_of::<Scores>()) as u64
            + layout::MEMORY
    }

    /// What the byte of the old file at `position` belongs to: code and each kind of data change in ways of their own.
    pub(crate) fn class(&self, position: u64) -> usize {
        let index = self.map.in_file(position, position.saturating_add(1)).next();
        match index.map(|index| self.layout.old[index].content) {
            Some(Content::Code) => 1,
            Some(Content::Pointers) => 2,
            Some(Content::ReadOnly) => 3,
            Some(Content::Relocations | Content::RelocationsWithAddend | Content::PackedRelocations) => 4,
            Some(Content::Symbols | Content::Dynamic) => 5,
            Some(Content::Unwind | Content::UnwindIndex | Content::ArmUnwindIndex) => 6,
            _ => 7,
        }
    }

    /// Appends the references that lie wholly in `old`, the bytes of the old file from `position` on, in their order.
    pub(crate) fn find(&mut self, position: u64, old: &[u8], found: &mut Vec<Reference>) {
        let end = position.saturating_add(old.len() as u64);
        for index in self.map.in_file(position, end) {
            let section = self.layout.old[index];
            let from = section.place.offset.max(position);
            let to = section.place.offset.saturating_add(section.file_size()).min(end);
            let Some(bytes) = old.get((from - position) as usize..(to - position) as usize) else { continue };
            match (section.content, self.layout.machine) {
                (Content::Code, Machine::X86_64) => {
                    let context = x86::Context {
                        map: &self.map,
                        is_fixed: self.layout.is_fixed,
                        address: section.place.address.wrapping_add(from - section.place.offset),
                    };
                    self.x86.find(&context, from, bytes, found);
                }
                (Content::Code, Machine::AArch64) => {
                    let address = section.place.address.wrapping_add(from - section.place.offset);
                    self.aarch64.find(&self.map, (from, address), bytes, found);
                }
                (Content::Code, Machine::Arm) => {
                    let context = arm::Context {
                        map: &self.map,
                        table: self.map.table,
                        position: from,
                        address: section.place.address.wrapping_add(from - section.place.offset),
                    };
                    self.arm.find(&context, bytes, found);
                }
                _ => data::find(&self.layout, &self.map, index, from, bytes, found),
            }
        }
        if self.layout.silent != Kinds::NONE {
            found.retain(|reference| !self.layout.silent.has(reference.kind));
        }
    }

    /// What `reference` became where its bytes went to `start`.
    pub(crate) fn predict(&mut self, reference: &Reference, start: u64) -> Prediction {
        let opinions = self.opinions(reference, start);
        self.last = Some((reference.position, start, opinions));
        let scores = &self.scores[opinions.context];
        let mut order = std::array::from_fn::<_, SOURCES, _>(|source| source);
        order.sort_by_key(|source| std::cmp::Reverse(scores[*source]));
        let mut prediction = Prediction { candidates: [0; CANDIDATES], count: 0, context: opinions.context };
        for value in order.into_iter().filter_map(|source| opinions.values[source]) {
            if prediction.count < CANDIDATES && !prediction.candidates[..prediction.count].contains(&value) {
                prediction.candidates[prediction.count] = value;
                prediction.count += 1;
            }
        }
        prediction
    }

    /// Tells what `reference` became where its bytes went to `start`.
    pub(crate) fn learn(&mut self, reference: &Reference, start: u64, actual: &[u8]) {
        let mut bytes = [0; 8];
        let length = actual.len().min(8);
        bytes[..length].copy_from_slice(&actual[..length]);
        let actual = u64::from_le_bytes(bytes);
        let opinions = match self.last {
            Some((position, at, opinions)) if (position, at) == (reference.position, start) => opinions,
            _ => self.opinions(reference, start),
        };
        for (score, value) in self.scores[opinions.context].iter_mut().zip(opinions.values) {
            match value {
                Some(value) if value == actual => *score += (u16::MAX - *score) >> 4,
                Some(_) => *score -= *score >> 4,
                None => {}
            }
        }
        let (place, base) = self.new_places(reference, start);
        if let Some(target) = reference.target_of(actual, place, base) {
            if let Some(register) = reference.part() {
                self.pages.put(register, reference.position, target);
                if reference.target & 0xfff != 0 || matches!(reference.base, Base::Half { .. }) {
                    return;
                }
            }
            if let (Some(key), Some(value)) = (self.key(reference), self.value(reference, target, base)) {
                self.learned.put(key, value);
            }
            if !reference.is_extent() && self.map.is_new(target) {
                self.neighbours.put(reference.target, target);
            }
        }
    }

    fn opinions(&mut self, reference: &Reference, start: u64) -> Opinions {
        let (place, base) = self.new_places(reference, start);
        let field = |target: u64| reference.field_of(target, place, base);
        let mut values = [None; SOURCES];
        let learned = self.key(reference).and_then(|key| self.learned.get(key));
        let sureness = learned.map_or(0, |(_, sureness)| sureness);
        values[LEARNED] = learned.map(|(value, _)| field(self.target(reference, value, base)));
        let placed = match reference.base {
            // What the layout tells has no target.
            Base::Told(_) => Some(Placed::default()),
            _ => self.map.place(reference.target, reference.is_end()),
        };
        let nearness = match placed {
            None => 3,
            Some(placed) if placed.distance == 0 => 0,
            Some(placed) if placed.distance < 64 => 1,
            Some(_) => 2,
        };
        values[COPIED] = placed.map(|placed| field(placed.address));
        values[OTHER_SIDE] = placed.and_then(|placed| placed.other).map(field);
        values[NEIGHBOUR] = self.neighbours.get(reference.target).map(field);
        values[SAME] = Some(reference.old);
        let is_agreed = values[LEARNED].or(values[NEIGHBOUR]) == values[COPIED];
        let is_same = values[LEARNED].or(values[COPIED]) == values[SAME];
        let flags = usize::from(is_agreed) << 1 | usize::from(is_same);
        let context = (reference.kind as usize * 4 + usize::from(sureness)) * 16 + nearness * 4 + flags;
        Opinions { values, context }
    }

    /// The address the reference went to, and what its field counts from there.
    fn new_places(&mut self, reference: &Reference, start: u64) -> (u64, u64) {
        let place = self.map.new_address(start);
        let base = match reference.base {
            Base::None => 0,
            Base::Section(index) => self.layout.new[index].map_or(0, |place| place.address),
            Base::Near(address) => address.wrapping_add(place.wrapping_sub(reference.address)),
            Base::Begin(address) => {
                let known = self.map.key(address).and_then(|key| self.learned.get(key));
                let known = known.map(|(value, _)| self.map.unpack(address, value));
                known.or_else(|| Some(self.map.place(address, false)?.address)).unwrap_or(address)
            }
            Base::Page { register, position } => self.pages.get(register, position).unwrap_or(0),
            Base::Half { .. } => 0,
            Base::Told(value) => value,
        };
        (place, base)
    }

    /// What a reference's target is learned under.
    fn key(&self, reference: &Reference) -> Option<u32> {
        match reference.base {
            Base::Begin(begin) => self.map.key(begin)?.checked_add(Map::EXTENTS),
            Base::Told(_) => None,
            _ => self.map.key(reference.target),
        }
    }

    fn value(&self, reference: &Reference, target: u64, base: u64) -> Option<u32> {
        if reference.is_extent() {
            return u32::try_from(target.wrapping_sub(base)).ok();
        }
        self.map.is_new(target).then(|| self.map.pack(target))?
    }

    fn target(&self, reference: &Reference, value: u32, base: u64) -> u64 {
        if reference.is_extent() {
            return base.wrapping_add(u64::from(value));
        }
        self.map.unpack(reference.target, value)
    }
}

/// The pages that instructions put into registers, in the new file.
#[derive(Debug, Default)]
struct Pages([Option<(u64, u64)>; 32]);

impl Pages {
    fn put(&mut self, register: u8, position: u64, page: u64) {
        self.0[usize::from(register) & 31] = Some((position, page));
    }

    fn get(&self, register: u8, position: u64) -> Option<u64> {
        let (at, page) = self.0[usize::from(register) & 31]?;
        (at == position).then_some(page)
    }
}
