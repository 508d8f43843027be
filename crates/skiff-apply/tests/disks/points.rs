//! Where an update is cut off: on either side of each of its calls, or of a sample of them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use skiff_fs::{DiskStorage, FaultyStorage, Passing, When};

use crate::update::{Update, through};

/// One side of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) call: usize,
    pub(crate) name: &'static str,
    pub(crate) when: When,
}

impl Point {
    pub(crate) fn is(&self, passing: &Passing) -> bool {
        (self.call, self.when) == (passing.number, passing.when)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.when == When::Before { "before" } else { "after" };
        write!(f, "cut {side} call {}, {}", self.call, self.name)
    }
}

/// The calls of an update, in their order, which is the same each time.
pub(crate) struct Calls(Vec<&'static str>);

impl Calls {
    /// Counts them on this store, which is updated.
    pub(crate) fn of(update: &Update, store: &Path) -> Self {
        let counting = Arc::new(FaultyStorage::new(DiskStorage));
        update.apply(&through(store, Arc::clone(&counting))).unwrap();
        Self(counting.calls())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the update was done at this point: the swap, and the sync of its directory.
    pub(crate) fn is_done(&self, point: &Point) -> bool {
        let three = self.0.windows(3).rposition(|three| three == ["symlink", "rename", "sync"]).unwrap();
        let done = three + 2;
        point.call > done || (point.call == done && point.when == When::After)
    }

    /// Both sides of every call; unless all are wanted, of those that order others or decide, and of one in `stride` others.
    pub(crate) fn points(&self, stride: usize) -> Vec<Point> {
        let decides = |name| matches!(name, "sync" | "rename" | "symlink");
        let all = every_call();
        let chosen =
            self.0.iter().enumerate().filter(|&(call, name)| all || decides(*name) || call % stride == 0);
        chosen
            .flat_map(|(call, &name)| [When::Before, When::After].map(|when| Point { call, name, when }))
            .collect()
    }
}

/// Whether all there is to try is to be tried, however long it takes.
pub(crate) fn every_call() -> bool {
    std::env::var_os("SKIFF_EVERY_CALL").is_some()
}
