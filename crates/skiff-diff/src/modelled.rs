//! Contents whose payloads depend on those before them in their frame: planned side by side, written one after the other.

use std::io::Read as _;

use skiff_patch::{Codec, Source, State, align};
use skiff_replay::record::{Origin, Part as SourcePart, Record};
use skiff_tree::{ContentReader, ContentSource};

use crate::DiffError;
use crate::plan::Planned;

/// What the payloads of a group are to take at most, in bytes. Each group learns from nothing, and each is a frame, where a device
/// that was interrupted goes on.
const GROUP_BYTES: u64 = 2 << 20;
/// What a payload may be expected to take at most, below the decoder's limit of a frame.
const PART_BYTES: u64 = 5 << 20;

/// A content, or a part of one, that is to be written.
pub(crate) struct Part<'p, 'a> {
    planned: &'p Planned<'a>,
    plan: align::Plan,
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
    /// Takes a plan whose payloads are expected to have so many bytes; gives back the groups that are full.
    pub(crate) fn push(
        &mut self,
        planned: &'p Planned<'a>,
        plan: &align::Plan,
        bytes: u64,
    ) -> Vec<Vec<Part<'p, 'a>>> {
        let mut full = Vec::new();
        let count = bytes.div_ceil(PART_BYTES).clamp(1, plan.output_len());
        for index in 0..count {
            let range = plan.output_len() * index / count..plan.output_len() * (index + 1) / count;
            if self.bytes > 0 && self.bytes + bytes / count > GROUP_BYTES {
                full.extend(self.flush());
            }
            let start = range.start;
            self.parts.push(Part { planned, plan: plan.part(range), start });
            self.bytes += bytes / count;
        }
        full
    }

    /// Ends the group under way.
    pub(crate) fn flush(&mut self) -> Option<Vec<Part<'p, 'a>>> {
        self.bytes = 0;
        let parts = std::mem::take(&mut self.parts);
        (!parts.is_empty()).then_some(parts)
    }
}

impl Part<'_, '_> {
    /// Writes the record.
    pub(crate) fn write(
        &self,
        base: &dyn ContentSource,
        target: &dyn ContentSource,
        state: &mut State,
    ) -> Result<Record, DiffError> {
        let planned = self.planned;
        let from = planned.base.as_ref().expect("because a plan needs a base");
        let failed = |side, path: &skiff_tree::EntryPath| {
            let path = path.clone();
            move |source| DiffError::Read { side, path, source }
        };
        let old = base.open(from.path).map_err(failed("base", from.path))?;
        let new = target.open(planned.path).map_err(failed("target", planned.path))?;
        let mut source = Source::new(ContentReader::new(&old), from.size);
        let mut new = ContentReader::new(&new);
        std::io::Seek::seek(&mut new, std::io::SeekFrom::Start(self.start))
            .map_err(failed("target", planned.path))?;
        let payload = self.plan.write(&mut source, new.by_ref(), state)?;
        let source = vec![SourcePart { origin: Origin::Base(from.index), range: None }];
        let output_len = self.plan.output_len();
        Ok(Record { codec: Codec::Align.id(), content: planned.number, output_len, source, payload })
    }
}
