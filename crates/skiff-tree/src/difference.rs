use std::cmp::Ordering;
use std::iter::Peekable;
use std::slice::Iter;

use crate::{Entry, Tree};

/// How a path of the base became a path of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// The path stands in both trees, equal in everything.
    Same {
        /// The entry in the base.
        base: &'a Entry,
        /// The entry in the target.
        target: &'a Entry,
    },
    /// The path stands in both trees, and something differs.
    Changed {
        /// The entry in the base.
        base: &'a Entry,
        /// The entry in the target.
        target: &'a Entry,
    },
    /// The path stands in the base only.
    Removed {
        /// The entry in the base.
        base: &'a Entry,
    },
    /// The path stands in the target only.
    Added {
        /// The entry in the target.
        target: &'a Entry,
    },
}

/// Goes through two trees at once, path by path in canonical order.
///
/// ```
/// use skiff_tree::*;
/// # fn tree(names: &[&str]) -> Tree {
/// #     let entry = |name: &str| Entry::inode(EntryPath::new(name).unwrap(), Metadata::default(), Kind::Directory);
/// #     Tree::from_unsorted(names.iter().map(|name| entry(name)).chain([entry("")]).collect()).unwrap()
/// # }
/// let (base, target) = (tree(&["bin", "lib"]), tree(&["bin", "opt"]));
/// let changed = Difference::new(&base, &target).filter(|change| !matches!(change, Change::Same { .. }));
/// assert_eq!(changed.count(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct Difference<'a> {
    base: Peekable<Iter<'a, Entry>>,
    target: Peekable<Iter<'a, Entry>>,
}

impl<'a> Difference<'a> {
    /// From the roots on.
    #[must_use]
    pub fn new(base: &'a Tree, target: &'a Tree) -> Self {
        Self { base: base.entries().iter().peekable(), target: target.entries().iter().peekable() }
    }
}

impl<'a> Iterator for Difference<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let order = match (self.base.peek(), self.target.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(base), Some(target)) => base.path.cmp(&target.path),
        };
        match order {
            Ordering::Less => self.base.next().map(|base| Change::Removed { base }),
            Ordering::Greater => self.target.next().map(|target| Change::Added { target }),
            Ordering::Equal => {
                let (base, target) = self.base.next().zip(self.target.next())?;
                Some(if base == target {
                    Change::Same { base, target }
                } else {
                    Change::Changed { base, target }
                })
            }
        }
    }
}
