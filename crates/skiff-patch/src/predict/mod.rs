//! Predicting what references become: of an executable's operands, pointers and tables, from where what they name went.

mod aarch64;
mod arm;
mod data;
mod elf;
mod layout;
mod learned;
#[cfg(feature = "encode")]
pub(crate) mod neutral;
mod placement;
mod reference;
mod x86;

use elf::Machine;
pub(crate) use layout::Layout;
use layout::{Content, DETACHED, Place};
use learned::Learned;
use placement::Placement;
use reference::Base;
pub(crate) use reference::{KINDS, Reference};

/// `length` bytes of the new file from `start` on are nearly those of the old one from `position` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) start: u64,
    pub(crate) position: u64,
    pub(crate) length: u64,
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

    /// How much memory a predictor takes, in bytes, for so many copies of so many bytes together.
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
        let index = self.map.in_file(position, position.saturating_add(1)).into_iter().next();
        match index.map(|index| self.layout.old[index].content) {
            Some(Content::Code) => 1,
            Some(Content::Pointers) => 2,
            Some(Content::ReadOnly) => 3,
            Some(Content::Relocations | Content::RelocationsWithAddend) => 4,
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
                        table: self.layout.old.iter().position(|section| section.content == Content::Table),
                        position: from,
                        address: section.place.address.wrapping_add(from - section.place.offset),
                    };
                    self.arm.find(&context, bytes, found);
                }
                _ => data::find(&self.layout, &self.map, index, from, bytes, found),
            }
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
        let placed = self.map.place(reference.target, reference.is_end());
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

/// From old to new addresses, by sections and copies.
struct Map {
    placement: std::cell::RefCell<Placement>,
    /// The sections that have bytes in the file, by offset, and where each ends.
    in_file: Vec<(u64, u64, usize)>,
    /// The sections that have an address, by address.
    by_address: Vec<(Place, usize)>,
    /// The new ones: by offset, and by address.
    new_by_offset: Vec<Place>,
    new_by_address: Vec<Place>,
    /// For each section, where it went, and whether it has bytes in the file.
    sections: Vec<(Place, Option<Place>, bool)>,
    lowest_old: u64,
    lowest_new: u64,
}

/// Where an address went.
#[derive(Debug, Clone, Copy)]
struct Placed {
    address: u64,
    distance: u32,
    other: Option<u64>,
}

impl Map {
    /// Added to keys under which lengths are learned.
    const EXTENTS: u32 = 1 << 30;

    fn new(layout: &Layout, copies: &[Copy]) -> Self {
        let in_file = layout.old.iter().enumerate().filter(|(_, section)| section.file_size() > 0);
        let mut in_file: Vec<_> = in_file
            .map(|(index, section)| {
                let offset = section.place.offset;
                (offset, offset.saturating_add(section.file_size()), index)
            })
            .collect();
        in_file.sort_unstable();
        let sections: Vec<_> = layout
            .old
            .iter()
            .zip(&layout.new)
            .map(|(old, new)| (old.place, *new, old.content != Content::Unset))
            .collect();
        let filled = sections.iter().enumerate().filter(|(_, (place, ..))| place.size > 0);
        let mut by_address: Vec<_> = filled.map(|(index, (place, ..))| (*place, index)).collect();
        by_address.sort_unstable_by_key(|(place, index)| (place.address, *index));
        let news = sections.iter().filter_map(|(_, new, in_file)| new.map(|new| (new, *in_file)));
        let news: Vec<_> = news.filter(|(place, _)| place.size > 0).collect();
        let mut new_by_address: Vec<_> = news.iter().map(|(place, _)| *place).collect();
        new_by_address.sort_unstable_by_key(|place| place.address);
        let in_new = news.iter().filter(|(_, in_file)| *in_file).map(|(place, _)| *place);
        let mut new_by_offset: Vec<_> = in_new.collect();
        new_by_offset.sort_unstable_by_key(|place| (place.offset, place.size));
        Self {
            placement: std::cell::RefCell::new(Placement::new(copies)),
            lowest_old: by_address.first().map_or(0, |(place, _)| place.address),
            lowest_new: new_by_address.first().map_or(0, |place| place.address),
            in_file,
            by_address,
            new_by_offset,
            new_by_address,
            sections,
        }
    }

    /// The sections with bytes between two offsets of the old file, by offset.
    fn in_file(&self, from: u64, to: u64) -> Vec<usize> {
        let touching = self.in_file.iter().filter(|(start, end, _)| *start < to && *end > from);
        let mut done = from;
        touching
            .filter(|(start, end, _)| {
                let is_free = *start >= done || done == from;
                done = done.max(*end);
                is_free
            })
            .map(|(.., index)| *index)
            .collect()
    }

    /// The section an old address is in.
    fn section(&self, address: u64) -> Option<usize> {
        let count = self.by_address.partition_point(|(place, _)| place.address <= address);
        let (place, index) = self.by_address[..count].last()?;
        (address < place.end()).then_some(*index)
    }

    /// Whether something is at an old address.
    fn is_old(&self, address: u64) -> bool {
        self.section(address).is_some()
    }

    /// Whether something is at a new address, or ends there.
    fn is_new(&self, address: u64) -> bool {
        let count = self.new_by_address.partition_point(|place| place.address <= address);
        self.new_by_address[..count].last().is_some_and(|place| address <= place.end())
    }

    /// The new address of an offset in the new file.
    fn new_address(&self, offset: u64) -> u64 {
        let count = self.new_by_offset.partition_point(|place| place.offset <= offset);
        match self.new_by_offset[..count].last() {
            Some(place) => place.address.wrapping_add(offset.wrapping_sub(place.offset)),
            None => offset,
        }
    }

    /// Where what is at an old address went; `is_end` if the address is the end of what it names.
    fn place(&self, address: u64, is_end: bool) -> Option<Placed> {
        let back = u64::from(is_end);
        let inside = address.wrapping_sub(back);
        let (index, back) = match self.section(inside) {
            Some(index) => (index, back),
            // The end of a section is often named.
            None => (self.section(address.wrapping_sub(1))?, 1),
        };
        let (old, new, in_file) = self.sections[index];
        let new = new?;
        if address == old.end() {
            return Some(Placed { address: new.end(), distance: 0, other: None });
        }
        let inside = address.wrapping_sub(back).wrapping_sub(old.address);
        if !in_file {
            let address = new.address.wrapping_add(inside).wrapping_add(back);
            return Some(Placed { address, distance: 0, other: None });
        }
        let shifted = new.address.wrapping_add(inside).wrapping_add(back);
        let placed = self.placement.borrow_mut().of(old.offset.wrapping_add(inside));
        let within = |start: u64| {
            let inside = start.checked_sub(new.offset).filter(|inside| *inside < new.size)?;
            Some(new.address.wrapping_add(inside).wrapping_add(back))
        };
        let address = placed.and_then(|placed| within(placed.start));
        Some(match (placed, address) {
            (Some(placed), Some(address)) => {
                Placed { address, distance: placed.distance, other: placed.other.and_then(within) }
            }
            _ => Placed { address: shifted, distance: u32::MAX, other: None },
        })
    }

    /// The number by which an old address is learned.
    fn key(&self, address: u64) -> Option<u32> {
        if address & DETACHED != 0 {
            let offset = u32::try_from(address & !DETACHED).ok().filter(|offset| *offset < 1 << 31)?;
            return Some(1 << 31 | offset);
        }
        let key = u32::try_from(address.wrapping_sub(self.lowest_old)).ok()?;
        (key < Self::EXTENTS - 1).then_some(key + 1)
    }

    /// A new address in four bytes.
    fn pack(&self, address: u64) -> Option<u32> {
        let lowest = if address & DETACHED != 0 { DETACHED } else { self.lowest_new };
        u32::try_from(address.wrapping_sub(lowest)).ok()
    }

    /// The new address that was packed for `old`.
    fn unpack(&self, old: u64, value: u32) -> u64 {
        let lowest = if old & DETACHED != 0 { DETACHED } else { self.lowest_new };
        lowest.wrapping_add(u64::from(value))
    }
}

/// How far the references' targets moved, by their neighbourhood.
struct Neighbours {
    moves: Vec<i32>,
    lowest: u64,
    shift: u32,
}

impl Neighbours {
    const BITS: u32 = 16;
    const MEMORY: u64 = 4 << Self::BITS;
    /// Where nothing was learned.
    const UNKNOWN: i32 = i32::MIN;

    fn new(layout: &Layout) -> Self {
        let places = layout.old.iter().filter(|section| !section.is_detached()).map(|section| section.place);
        let lowest = places.clone().map(|place| place.address).min().unwrap_or(0);
        let highest = places.map(|place| place.end()).max().unwrap_or(0);
        let bits = u64::BITS - highest.saturating_sub(lowest).leading_zeros();
        Self {
            moves: vec![Self::UNKNOWN; 1 << Self::BITS],
            lowest,
            shift: bits.saturating_sub(Self::BITS).max(6),
        }
    }

    fn slot(&self, address: u64) -> Option<usize> {
        let slot = usize::try_from(address.checked_sub(self.lowest)? >> self.shift).ok()?;
        (slot < self.moves.len()).then_some(slot)
    }

    fn get(&self, address: u64) -> Option<u64> {
        let moved = self.moves[self.slot(address)?];
        (moved != Self::UNKNOWN).then(|| address.wrapping_add_signed(i64::from(moved)))
    }

    fn put(&mut self, old: u64, new: u64) {
        if let (Some(slot), Ok(moved)) = (self.slot(old), i32::try_from(new.wrapping_sub(old).cast_signed()))
        {
            self.moves[slot] = moved;
        }
    }
}
