//! What the heads of records leave out, because whoever reads them knows the trees.

use skiff_tree::{Entry, NewContent, Tree};

/// The new contents as both sides know them before the first record.
#[derive(Debug, Clone, Default)]
pub struct Known(Vec<KnownContent>);

#[derive(Debug, Clone, Copy)]
struct KnownContent {
    size: u64,
    home: Option<u32>,
}

impl Known {
    /// Of the new contents by number, which the target's entries have.
    #[must_use]
    pub fn new<C>(base: &Tree, entries: &[Entry<C>], contents: &[NewContent]) -> Self {
        let known = |&NewContent { size, entry }: &NewContent| {
            let path = &entries[entry as usize].path;
            let home = base.position(path).filter(|&index| base.entries()[index].as_file().is_some());
            KnownContent { size, home: home.and_then(|index| u32::try_from(index).ok()) }
        };
        Self(contents.iter().map(known).collect())
    }

    /// How many bytes a content has.
    pub(crate) fn size(&self, number: u32) -> Option<u64> {
        self.get(number).map(|content| content.size)
    }

    /// Where among the base's entries the file stands that has a content's path.
    pub(crate) fn home(&self, number: u32) -> Option<u32> {
        self.get(number)?.home
    }

    fn get(&self, number: u32) -> Option<&KnownContent> {
        self.0.get(usize::try_from(number).ok()?)
    }
}
