//! Contents whose payloads depend on those before them in their frame: planned side by side, written one after the other.

use std::io::Read as _;

use skiff_patch::{Plan, Source, State};
use skiff_replay::VirtualSource;
use skiff_replay::record::{Extent, Record};
use skiff_tree::{ContentReader, ContentSource};

use crate::DiffError;
use crate::candidate::source_parts;
use crate::lists::List;
use crate::plan::{Planned, PlannedSource};

/// What the payloads of a group are to take at most, in bytes. Each group learns from nothing, and each is a frame, where a device
/// that was interrupted goes on.
pub(crate) const GROUP_BYTES: u64 = 2 << 20;
/// What a payload may be expected to take at most, below the decoder's limit of a frame.
const PART_BYTES: u64 = 6 << 20;

/// A content, or a part of one, that is to be written.
pub(crate) struct Part<'p, 'a> {
    planned: &'p Planned<'a>,
    /// What the plan was made for.
    sources: &'p [PlannedSource<'a>],
    /// The bytes that are in place of the source's.
    renewed: Option<Vec<u8>>,
    plan: Plan,
    /// Where it begins in the content.
    start: u64,
}

/// Collects what is to be written into groups.
#[derive(Default)]
pub(crate) struct Groups<'p, 'a> {
    parts: Vec<Part<'p, 'a>>,
    bytes: u64,
}

impl<'p, 'a> Groups<'p, 'a> {
    /// Takes a plan; gives back the groups that are full.
    pub(crate) fn push(
        &mut self,
        planned: &'p Planned<'a>,
        sources: &'p [PlannedSource<'a>],
        plan: Plan,
    ) -> Vec<Vec<Part<'p, 'a>>> {
        let mut full = Vec::new();
        for (start, plan) in parts(plan) {
            full.extend(self.add(Part { planned, sources, renewed: None, plan, start }));
        }
        full
    }

    /// Takes a part; gives back the group that is full.
    pub(crate) fn add(&mut self, part: Part<'p, 'a>) -> Option<Vec<Part<'p, 'a>>> {
        let bytes = part.plan.forecast().estimate;
        let full = if self.bytes > 0 && self.bytes + bytes > GROUP_BYTES { self.flush() } else { None };
        self.parts.push(part);
        self.bytes += bytes;
        full
    }

    /// Ends the group under way.
    pub(crate) fn flush(&mut self) -> Option<Vec<Part<'p, 'a>>> {
        self.bytes = 0;
        let parts = std::mem::take(&mut self.parts);
        (!parts.is_empty()).then_some(parts)
    }
}

/// The plan, or plans for parts of what it makes, with where they begin.
fn parts(plan: Plan) -> Vec<(u64, Plan)> {
    let length = plan.forecast().output_len;
    let count = plan.forecast().estimate.div_ceil(PART_BYTES).clamp(1, length.max(1));
    let begin = |index: u64| {
        u64::try_from(u128::from(length) * u128::from(index) / u128::from(count)).unwrap_or(length)
    };
    let parts = (0..count).map(|index| Some((begin(index), plan.part(begin(index)..begin(index + 1))?)));
    match parts.collect() {
        Some(parts) if count > 1 => parts,
        _ => vec![(0, plan)],
    }
}

impl<'p, 'a> Part<'p, 'a> {
    /// What a plan makes from `start` on, from the file that the name leads to.
    pub(crate) fn new(planned: &'p Planned<'a>, plan: Plan, start: u64) -> Self {
        Self { planned, sources: planned.base.as_slice(), renewed: None, plan, start }
    }

    /// What is made from the renewed list that the name leads to.
    pub(crate) fn of_list(planned: &'p Planned<'a>, list: List) -> Self {
        let (renewed, plan) = (Some(list.renewed), Plan::Align(list.plan));
        Self { planned, sources: planned.base.as_slice(), renewed, plan, start: 0 }
    }

    /// Writes the record.
    pub(crate) fn write(
        &self,
        base: &dyn ContentSource,
        target: &dyn ContentSource,
        state: &mut State,
    ) -> Result<Record, DiffError> {
        let planned = self.planned;
        let failed = |side, path: &skiff_tree::EntryPath| {
            let path = path.clone();
            move |source| DiffError::Read { side, path, source }
        };
        let new = target.open(planned.path).map_err(failed("target", planned.path))?;
        let mut new = ContentReader::new(&new);
        std::io::Seek::seek(&mut new, std::io::SeekFrom::Start(self.start))
            .map_err(failed("target", planned.path))?;
        let sources = if self.plan.forecast().reads_source { self.sources } else { &[] };
        let mut old = VirtualSource::new();
        if let Some(renewed) = &self.renewed {
            old.push(Box::new(&renewed[..]), None).expect("because it is whole, and alone");
        }
        for source in sources.iter().filter(|_| self.renewed.is_none()) {
            let (side, contents) = source.side(base, target);
            let content = contents.open(source.path).map_err(failed(side, source.path))?;
            old.push(content, None).ok_or_else(|| DiffError::Changed { side, path: source.path.clone() })?;
        }
        let length = old.size();
        let payload = self.plan.write(&mut Source::new(old, length), new.by_ref(), state)?;
        let (codec, output_len) = (self.plan.codec().id(), self.plan.forecast().output_len);
        let extent = if self.renewed.is_some() { Extent::Renewed } else { Extent::Whole };
        let source = source_parts(sources, extent);
        Ok(Record { codec, content: planned.number, output_len, source, payload })
    }
}
