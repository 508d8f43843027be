//! Which of several equal blocks to copy: the choice that makes the fewest commands.

use crate::Command;
use crate::table::Table;

/// How many places are followed at once.
const FOLLOWED: usize = 16;
/// How many blocks of a class are looked at for places to follow.
const LOOKED_AT: usize = 64;
/// How many runs wait for a choice at most.
const WAITING: usize = 1 << 16;

/// Blocks that follow each other in the new file, without new bytes between them, on their way to becoming copies.
///
/// Two choices are kept beside each other. One follows, from where a run begins, all places where it may have come from, until
/// none is left that goes on as the new file does, and so makes the fewest runs. The other always takes the first of equal
/// blocks, as librsync does, whose offsets may be shorter. The one that takes fewer bytes counts.
#[derive(Debug)]
pub(crate) struct Runs {
    block_len: u64,
    /// Where the run under way may begin, and how many blocks and bytes it has.
    followed: Vec<u32>,
    run: Run,
    longest: Vec<Run>,
    first: Vec<Run>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Run {
    block: u32,
    blocks: u32,
    bytes: u64,
}

impl Runs {
    pub(crate) fn new(block_len: u32) -> Self {
        Self {
            block_len: u64::from(block_len),
            followed: Vec::new(),
            run: Run::default(),
            longest: Vec::new(),
            first: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Whether the next block should wait until [`finish`](Self::finish) has made room.
    pub(crate) fn is_full(&self) -> bool {
        self.first.len() >= WAITING
    }

    /// One more block: of this class, and so many bytes long.
    pub(crate) fn push(&mut self, table: &Table, class: u32, length: u32) {
        let bytes = u64::from(length);
        let block = table.members(class).next().unwrap_or_default();
        match self.first.last_mut() {
            Some(run) if run.block.checked_add(run.blocks) == Some(block) => run.grow(bytes),
            _ => self.first.push(Run { block, blocks: 1, bytes }),
        }
        let (run, followed) = (&mut self.run, &mut self.followed);
        let goes_on =
            |&start: &u32| start.checked_add(run.blocks).and_then(|next| table.class(next)) == Some(class);
        if followed.iter().any(goes_on) {
            followed.retain(goes_on);
            run.grow(bytes);
            return;
        }
        self.end_run();
        self.run = Run { block: 0, blocks: 1, bytes };
        self.followed.extend(places(table, class));
    }

    /// The copies that make the blocks since the last time.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = (u64, u64)> + use<> {
        self.end_run();
        let (longest, first) = (std::mem::take(&mut self.longest), std::mem::take(&mut self.first));
        let block_len = self.block_len;
        let copy = move |run: Run| (u64::from(run.block) * block_len, run.bytes);
        let cost = |run: &Run| {
            let (offset, length) = copy(*run);
            Command::Copy { offset, length }.encoded_len()
        };
        let total = |runs: &[Run]| runs.iter().map(cost).sum::<u64>();
        let best = if total(&longest) <= total(&first) { longest } else { first };
        best.into_iter().map(copy)
    }

    fn end_run(&mut self) {
        if let Some(&block) = self.followed.iter().min() {
            self.longest.push(Run { block, ..self.run });
        }
        self.followed.clear();
    }
}

impl Run {
    fn grow(&mut self, bytes: u64) {
        self.blocks += 1;
        self.bytes += bytes;
    }
}

/// Where a run that begins with this class may come from: the first of its blocks, and of others those that do not themselves
/// follow one of the class. In a long run of equal blocks only its start is of use.
fn places(table: &Table, class: u32) -> impl Iterator<Item = u32> {
    let mut before = None;
    let heads = table.members(class).take(LOOKED_AT).filter(move |&block| {
        let follows = before == block.checked_sub(1) && before.is_some();
        before = Some(block);
        !follows
    });
    heads.take(FOLLOWED)
}
