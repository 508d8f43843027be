//! Lists of checksums: told last, from what they were with the checksums of what has been made by then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use rayon::prelude::*;
use skiff_patch::align;
use skiff_replay::renew::{Checksum, MAX_LIST, Named, md5, renew};
use skiff_tree::{ContentDigest, ContentSource, EntryPath, Kind};

use crate::encoder::{Work, load};
use crate::facts::LIST_MEMORY;
use crate::plan::Planned;
use crate::release::BaseContents;
use crate::{DiffError, FileKind, Idea};

/// A renewed list has to take so many bytes less than the old one, to be worth what a device spends on it.
const WORTH: u64 = 16;

/// A list and how it is made.
pub(crate) struct List {
    /// What it is made from.
    pub(crate) renewed: Vec<u8>,
    pub(crate) plan: align::Plan,
    /// The numbers of the contents whose checksums it has.
    named: Vec<u32>,
}

/// What the target's files hash to.
struct Contents<'w, 'a> {
    work: &'w Work<'a>,
    /// The new contents: their numbers and sizes.
    new: HashMap<ContentDigest, (u32, u64)>,
    /// Each is computed once, though several lists may name it.
    md5: Mutex<HashMap<u32, [u8; 16]>>,
}

impl Work<'_> {
    /// The planned contents that are lists, by number. They come after all others, so nothing else may be made from them.
    pub(crate) fn lists(&self, planned: &[Planned<'_>]) -> Result<BTreeMap<u32, List>, DiffError> {
        let BaseContents::Known(base) = self.base.contents else { return Ok(BTreeMap::new()) };
        if !self.ideas.has(Idea::Checksums) || !self.ideas.has(Idea::Align) {
            return Ok(BTreeMap::new());
        }
        let contents = Contents::new(self);
        let lists = planned.par_iter().map(|planned| {
            let list = self.list(planned, base, &contents)?;
            Ok(list.map(|list| (planned.number, list)))
        });
        let lists: Result<Vec<Option<(u32, List)>>, DiffError> = lists.collect();
        let lists: BTreeMap<u32, List> = lists?.into_iter().flatten().collect();
        // One that names another would have to come after it.
        let names_none = |list: &List| !list.named.iter().any(|number| lists.contains_key(number));
        let independent: Vec<u32> =
            lists.iter().filter(|(_, list)| names_none(list)).map(|(number, _)| *number).collect();
        Ok(lists.into_iter().filter(|(number, _)| independent.binary_search(number).is_ok()).collect())
    }

    fn list(
        &self,
        planned: &Planned<'_>,
        base: &dyn ContentSource,
        contents: &Contents<'_, '_>,
    ) -> Result<Option<List>, DiffError> {
        let Some(named) = planned.base.filter(|named| {
            planned.kind == FileKind::Text
                && planned.is_held
                && planned.size <= MAX_LIST
                && named.size <= MAX_LIST.min(planned.size.saturating_mul(2))
        }) else {
            return Ok(None);
        };
        self.options.control.check()?;
        let old = load(base, named.path, named.digest, "base")?;
        let mut numbers = Vec::new();
        let renewed =
            renew(&old, planned.path, |path, checksum| contents.find(path, checksum, &mut numbers))?;
        if renewed == old {
            return Ok(None);
        }
        let new = load(self.target.contents, planned.path, planned.digest, "target")?;
        let options = align::Options { effort: self.options.level.effort(), ..align::Options::default() };
        let plan = align::Plan::new(&renewed, &new, &options);
        let without = align::Plan::new(&old, &new, &options).forecast().estimate;
        let forecast = plan.forecast();
        let is_worth_it = forecast.reads_source
            && forecast.estimate + WORTH <= without
            && forecast.decoder_memory.saturating_add(LIST_MEMORY) <= self.budget.codec_memory;
        Ok(is_worth_it.then_some(List { renewed, plan, named: numbers }))
    }
}

impl<'w, 'a> Contents<'w, 'a> {
    fn new(work: &'w Work<'a>) -> Self {
        let entries = work.target.tree.entries();
        let new = work.told.new_contents.iter().zip(0..).filter_map(|(new, number)| {
            let file = entries[new.entry as usize].as_file()?;
            Some((file.digest, (number, new.size)))
        });
        Self { work, new: new.collect(), md5: Mutex::default() }
    }

    /// What a replay finds at a path when everything but lists is made.
    fn find(&self, path: &EntryPath, checksum: Checksum, numbers: &mut Vec<u32>) -> Result<Named, DiffError> {
        let tree = self.work.target.tree;
        let inode = tree.find(path).and_then(|entry| tree.inode(entry));
        let Some(Kind::File(file)) = inode.map(|inode| &inode.kind) else { return Ok(Named::Nothing) };
        let Some(&(number, size)) = self.new.get(&file.digest) else { return Ok(Named::Kept) };
        numbers.push(number);
        let checksum = match checksum {
            Checksum::Sha256 => file.digest.as_bytes().to_vec(),
            Checksum::Md5 => self.md5(number)?.to_vec(),
        };
        Ok(Named::New { size, checksum })
    }

    fn md5(&self, number: u32) -> Result<[u8; 16], DiffError> {
        let known = || self.md5.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(&known) = known().get(&number) {
            return Ok(known);
        }
        // The line may name a hard link, which only leads to a content.
        let entry = self.work.told.new_contents[number as usize].entry;
        let path = &self.work.target.tree.entries()[entry as usize].path;
        let failed = |source| DiffError::Read { side: "target", path: path.clone(), source };
        let content = self.work.target.contents.open(path).map_err(failed)?;
        let checksum = md5(&content, content.size()).map_err(failed)?;
        known().insert(number, checksum);
        Ok(checksum)
    }
}
