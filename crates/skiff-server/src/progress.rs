//! How far a delta is.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use skiff_protocol::{Pending, Stage};

/// How far a delta is, told by one thread and asked for by others.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    stage: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

const STAGES: [Stage; 3] = [Stage::Waiting, Stage::Reading, Stage::Comparing];

impl Progress {
    pub(crate) fn enter(&self, stage: Stage, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn pending(&self) -> Pending {
        let stage = STAGES[usize::from(self.stage.load(Ordering::Relaxed)).min(STAGES.len() - 1)];
        let total = self.total.load(Ordering::Relaxed);
        Pending { stage, done: self.done.load(Ordering::Relaxed).min(total), total }
    }
}
