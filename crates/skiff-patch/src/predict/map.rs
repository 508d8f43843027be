//! From old to new addresses, by sections and copies, and by how far the neighbourhood moved.

use std::cell::RefCell;

use super::Copy;
use super::layout::{Content, DETACHED, Layout, Place};
use super::placement::Placement;

/// From old to new addresses, by sections and copies.
pub(super) struct Map {
    placement: RefCell<Placement>,
    /// The sections that have bytes in the file: where they begin and end, in order, none overlapping another.
    in_file: Vec<(u64, u64, usize)>,
    /// The sections that have an address, by address.
    by_address: Vec<(Place, usize)>,
    /// The new ones: by offset, and by address.
    new_by_offset: Vec<Place>,
    new_by_address: Vec<Place>,
    /// For each section, where it went, and whether it has bytes in the file.
    pub(super) sections: Vec<(Place, Option<Place>, bool)>,
    /// The table of addresses that code names places by, if there is one.
    pub(super) table: Option<usize>,
    lowest_old: u64,
    lowest_new: u64,
}

/// Where an address went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Placed {
    pub(super) address: u64,
    /// How far the nearest copied byte is away.
    pub(super) distance: u32,
    /// Where it went if it moved with what is copied on the other side.
    pub(super) other: Option<u64>,
}

impl Map {
    /// Added to keys under which lengths are learned.
    pub(super) const EXTENTS: u32 = 1 << 30;

    pub(super) fn new(layout: &Layout, copies: &[Copy]) -> Self {
        let in_file = layout.old.iter().enumerate().filter(|(_, section)| section.file_size() > 0);
        let mut in_file: Vec<_> = in_file
            .map(|(index, section)| {
                let offset = section.place.offset;
                (offset, offset.saturating_add(section.file_size()), index)
            })
            .collect();
        in_file.sort_unstable();
        let mut done = 0;
        in_file.retain(|(start, end, _)| {
            let is_free = *start >= done;
            done = done.max(*end);
            is_free
        });
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
        new_by_address.sort_unstable_by_key(|place| (place.address, place.size, place.offset));
        let in_new = news.iter().filter(|(_, in_file)| *in_file).map(|(place, _)| *place);
        let mut new_by_offset: Vec<_> = in_new.collect();
        new_by_offset.sort_unstable_by_key(|place| (place.offset, place.size, place.address));
        Self {
            placement: RefCell::new(Placement::new(copies)),
            lowest_old: by_address.first().map_or(0, |(place, _)| place.address),
            lowest_new: new_by_address.first().map_or(0, |place| place.address),
            in_file,
            by_address,
            new_by_offset,
            new_by_address,
            sections,
            table: layout.old.iter().position(|section| section.content == Content::Table),
        }
    }

    /// The sections with bytes between two offsets of the old file, by offset.
    pub(super) fn in_file(&self, from: u64, to: u64) -> impl Iterator<Item = usize> + use<> {
        let first = self.in_file.partition_point(|(_, end, _)| *end <= from);
        let touching = self.in_file[first..].iter().take_while(|(start, ..)| *start < to);
        touching.map(|(.., index)| *index).collect::<Vec<_>>().into_iter()
    }

    /// The section an old address is in.
    pub(super) fn section(&self, address: u64) -> Option<usize> {
        let count = self.by_address.partition_point(|(place, _)| place.address <= address);
        let (place, index) = self.by_address[..count].last()?;
        (address < place.end()).then_some(*index)
    }

    /// Whether something is at an old address.
    pub(super) fn is_old(&self, address: u64) -> bool {
        self.section(address).is_some()
    }

    /// Whether something is at a new address, or ends there.
    pub(super) fn is_new(&self, address: u64) -> bool {
        let count = self.new_by_address.partition_point(|place| place.address <= address);
        self.new_by_address[..count].last().is_some_and(|place| address <= place.end())
    }

    /// The new address of an offset in the new file.
    pub(super) fn new_address(&self, offset: u64) -> u64 {
        let count = self.new_by_offset.partition_point(|place| place.offset <= offset);
        match self.new_by_offset[..count].last() {
            Some(place) => place.address.wrapping_add(offset.wrapping_sub(place.offset)),
            None => offset,
        }
    }

    /// Where what is at an old address went; `is_end` if the address is the end of what it names.
    pub(super) fn place(&self, address: u64, is_end: bool) -> Option<Placed> {
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
    pub(super) fn key(&self, address: u64) -> Option<u32> {
        if address & DETACHED != 0 {
            let offset = u32::try_from(address & !DETACHED).ok().filter(|offset| *offset < 1 << 31)?;
            return Some(1 << 31 | offset);
        }
        let key = u32::try_from(address.wrapping_sub(self.lowest_old)).ok()?;
        (key < Self::EXTENTS - 1).then_some(key + 1)
    }

    /// A new address in four bytes.
    pub(super) fn pack(&self, address: u64) -> Option<u32> {
        let lowest = if address & DETACHED != 0 { DETACHED } else { self.lowest_new };
        u32::try_from(address.wrapping_sub(lowest)).ok()
    }

    /// The new address that was packed for `old`.
    pub(super) fn unpack(&self, old: u64, value: u32) -> u64 {
        let lowest = if old & DETACHED != 0 { DETACHED } else { self.lowest_new };
        lowest.wrapping_add(u64::from(value))
    }
}

/// How far the references' targets moved, by their neighbourhood.
pub(super) struct Neighbours {
    moves: Vec<i32>,
    lowest: u64,
    shift: u32,
}

impl Neighbours {
    const BITS: u32 = 16;
    pub(super) const MEMORY: u64 = 4 << Self::BITS;
    /// Where nothing was learned.
    const UNKNOWN: i32 = i32::MIN;

    pub(super) fn new(layout: &Layout) -> Self {
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

    pub(super) fn get(&self, address: u64) -> Option<u64> {
        let moved = self.moves[self.slot(address)?];
        (moved != Self::UNKNOWN).then(|| address.wrapping_add_signed(i64::from(moved)))
    }

    pub(super) fn put(&mut self, old: u64, new: u64) {
        if let (Some(slot), Ok(moved)) = (self.slot(old), i32::try_from(new.wrapping_sub(old).cast_signed()))
        {
            self.moves[slot] = moved;
        }
    }
}
