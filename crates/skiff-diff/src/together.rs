//! New files that are like others, and so like each other that a compressor which sees them together needs nothing else.

use rayon::prelude::*;

use crate::DiffError;
use crate::candidate::{Made, compressed_size, plain};
use crate::encoder::{HEAD_BYTES, Work, load};
use crate::plan::{Planned, PlannedSource, extension};

/// How a content is made.
pub(crate) struct Chosen<'p, 'a> {
    pub(crate) made: Made,
    /// What from.
    pub(crate) sources: &'p [PlannedSource<'a>],
    /// About how many bytes that takes, where the only alternative is to send it as it is: what that takes depends on what stands
    /// beside it.
    pub(crate) doubt: Option<u64>,
}

/// What is compressed together to see what it takes, in bytes.
const TOGETHER: usize = 4 << 20;

impl Work<'_> {
    /// Sends those as they are that take less so, together: neighbours that have the same extension.
    pub(crate) fn reconsider(
        &self,
        wave: &[Planned<'_>],
        chosen: &mut [Chosen<'_, '_>],
    ) -> Result<(), DiffError> {
        let doubted: Vec<usize> = (0..chosen.len()).filter(|&place| chosen[place].doubt.is_some()).collect();
        let alike = |&one: &usize, &other: &usize| extension(wave[one].path) == extension(wave[other].path);
        let groups: Vec<&[usize]> = doubted.chunk_by(alike).filter(|group| group.len() > 1).collect();
        let weighed = groups.into_par_iter().map(|group| {
            let made =
                group.iter().filter_map(|&place| chosen[place].doubt).map(|size| size + HEAD_BYTES).sum();
            Ok((self.plain_size(wave, group)? < made).then_some(group))
        });
        let weighed: Result<Vec<Option<&[usize]>>, DiffError> = weighed.collect();
        for &place in weighed?.into_iter().flatten().flatten() {
            let planned = &wave[place];
            let new = load(self.target.contents, planned.path, planned.digest, "target")?;
            chosen[place].made = Made::Records(plain(planned.number, &new, &self.budget));
        }
        Ok(())
    }

    /// About how many bytes contents take that are compressed together.
    fn plain_size(&self, wave: &[Planned<'_>], group: &[usize]) -> Result<u64, DiffError> {
        let (mut bytes, mut size) = (Vec::new(), 0);
        for &place in group {
            self.options.control.check()?;
            let planned = &wave[place];
            bytes.extend(load(self.target.contents, planned.path, planned.digest, "target")?);
            if bytes.len() > TOGETHER {
                size += compressed_size(&std::mem::take(&mut bytes));
            }
        }
        // As everywhere: what codecs that take their time make of it.
        Ok((size + compressed_size(&bytes)) / 4 * 3)
    }
}
