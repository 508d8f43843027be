//! Small objects that were asked for last, in memory: what a whole fleet asks for at once is read once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;

/// The largest object that is held, in bytes.
pub(crate) const LARGEST: u64 = 1 << 20;
/// How many bytes are held.
const ALL: usize = 64 << 20;

/// Objects by name. Those under a name never change.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Each with when it was asked for last.
    objects: HashMap<String, (Bytes, u64)>,
    /// Their names by that, the oldest first.
    order: BTreeMap<u64, String>,
    now: u64,
    bytes: usize,
}

impl Held {
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.now += 1;
        let now = state.now;
        let (bytes, used) = state.objects.get_mut(name)?;
        let (bytes, before) = (bytes.clone(), std::mem::replace(used, now));
        if let Some(name) = state.order.remove(&before) {
            state.order.insert(now, name);
        }
        Some(bytes)
    }

    pub(crate) fn put(&self, name: &str, bytes: Bytes) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.remove(name);
        state.now += 1;
        let now = state.now;
        state.bytes += bytes.len();
        state.order.insert(now, name.to_owned());
        state.objects.insert(name.to_owned(), (bytes, now));
        while state.bytes > ALL
            && let Some((_, oldest)) = state.order.pop_first()
        {
            state.remove(&oldest);
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl State {
    fn remove(&mut self, name: &str) {
        if let Some((bytes, used)) = self.objects.remove(name) {
            self.bytes -= bytes.len();
            self.order.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_longest_ago_goes_first() {
        let held = Held::default();
        let large = Bytes::from(vec![0; LARGEST as usize]);
        let names: Vec<String> = (0..ALL >> 20).map(|index| index.to_string()).collect();
        for name in &names {
            held.put(name, large.clone());
        }
        assert!(held.get("0").is_some());
        held.put("another", large.clone());
        assert!(held.get("0").is_some() && held.get("1").is_none() && held.get("another").is_some());
        held.put("another", Bytes::new());
        held.put("one more", large);
        assert!(names[2..].iter().all(|name| held.get(name).is_some()));
        held.remove("0");
        assert!(held.get("0").is_none());
    }
}
