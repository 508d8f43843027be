//! Which contents a new one is like, where names do not tell: found by what their sketches share.
//!
//! Sketches are compared by an index from features to contents. What most features lead to is compared as a whole, and of that the
//! contents are taken that have most of the new one between them: one where it was renamed, several where it was put together.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use flate2::read::MultiGzDecoder;
use rayon::prelude::*;
use skiff_replay::record::Origin;
use skiff_tree::{ContentDigest, ContentReader, ContentSource, EntryPath};

use crate::plan::{Planned, PlannedSource, encode_memory, is_held};
use crate::release::{Base, BaseContents};
use crate::sketch::{Density, Sketch};
use crate::{DiffError, FileKind, Level, Machine, Options, Release};

/// A shorter content costs little more than what would tell where it comes from.
const SHORTEST: u64 = 48;
/// The file at the same path is taken to be like a new one of so many bytes without looking: it takes long, and nobody renames those.
const LONGEST: u64 = 32 << 20;
/// What is looked at of what gzip compressed, in bytes.
const PLAIN_BYTES: u64 = 4 << 20;
/// A feature that so many contents have leads to the first ones only.
const MOST_NAMED: usize = 64;
/// How many contents are compared as a whole.
const COMPARED: usize = 8;
/// How many a new content is made from at most.
const MOST_SOURCES: usize = 4;
/// How much of it the file that its name leads to has to have to be one of them, in 256ths.
const LEAST_NAMED: usize = 16;
/// What all contents together may have searched beside what their names lead to, in bytes: searching takes a second for some 30 MiB.
const SEARCHED: u64 = 512 << 20;

/// Contents that may be made from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    Elf(Machine),
    Python,
    Zip,
    /// Texts, and data of any kind; what gzip compressed is compared uncompressed.
    Bytes,
}

impl Family {
    fn of(kind: FileKind) -> Option<Self> {
        match kind {
            FileKind::Elf(machine) => Some(Self::Elf(machine)),
            FileKind::PythonBytecode => Some(Self::Python),
            FileKind::Zip => Some(Self::Zip),
            FileKind::Gzip | FileKind::Text | FileKind::Other => Some(Self::Bytes),
            // Its pixels are compressed: equal bytes are chance.
            FileKind::Png => None,
        }
    }
}

/// A content that others may be made from.
struct Known<'a> {
    source: PlannedSource<'a>,
    family: Family,
    kind: FileKind,
    /// For one of the target, its place in the plan: those after it may be made from it.
    place: Option<usize>,
    sketch: Sketch,
}

/// A new content for which names tell too little.
struct Sought {
    place: usize,
    family: Family,
    /// How much of it the file has that its name leads to, in 256ths.
    covered: usize,
}

/// Finds for each planned content what it is like, where its name leads to nothing or to what is unlike it.
pub(crate) fn find<'a>(
    planned: &mut [Planned<'a>],
    base: &Base<'a>,
    target: &Release<'a>,
    options: &Options<'_>,
) -> Result<(), DiffError> {
    let BaseContents::Known(base_contents) = base.contents else { return Ok(()) };
    let new = sketched(planned, target.contents, options)?;
    let sought = sought(planned, &new, base_contents, options)?;
    let Some(reach) = sought.iter().map(|sought| reach(planned[sought.place].size)).max() else {
        return Ok(());
    };
    let families: HashSet<Family> = sought.iter().map(|sought| sought.family).collect();
    let mut known = of_base(base, base_contents, (&families, reach), options)?;
    known.extend(of_target(planned, &new, &families));
    let index = Index::new(&known);
    let found = sought.par_iter().map(|sought| {
        options.control.check()?;
        let sketch = new[sought.place].as_ref().expect("because what is sought was sketched");
        Ok(index.like((sought, &planned[sought.place]), sketch, options))
    });
    let found: Result<Vec<Vec<usize>>, DiffError> = found.collect();
    let mut left = SEARCHED;
    for (sought, found) in sought.iter().zip(found?) {
        let mut sources: Vec<_> = found.iter().map(|&number| known[number].source).collect();
        let planned = &mut planned[sought.place];
        let bytes = total(sources.iter().map(|source| source.size));
        let is_together = is_made_of_several(planned.kind) && !sources.is_empty();
        // What it was has something that nothing else has, and that sketches do not tell.
        if let Some(named) = planned.base
            && is_together
            && sought.covered >= LEAST_NAMED
            && !sources.contains(&named)
            && is_held(bytes + named.size, planned.size, options.memory)
        {
            sources.push(named);
        }
        let bytes = total(sources.iter().map(|source| source.size));
        if sources.is_empty() || sources.iter().eq(planned.base.iter()) || bytes > left {
            continue;
        }
        left -= bytes;
        planned.memory = planned.memory.max(encode_memory(bytes, planned.size));
        planned.similar = sources;
    }
    Ok(())
}

/// Of one that is opened only the beginning of what it is made from would be.
fn is_made_of_several(kind: FileKind) -> bool {
    !matches!(kind, FileKind::Gzip | FileKind::Zip)
}

/// How long a content may be that one of so many bytes is made from: a device reads it, and the encoder searches it.
fn reach(size: u64) -> u64 {
    const ALWAYS: u64 = 1 << 20;
    size.saturating_mul(16).max(ALWAYS)
}

fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// The sketches of the new contents.
fn sketched(
    planned: &[Planned<'_>],
    contents: &dyn ContentSource,
    options: &Options<'_>,
) -> Result<Vec<Option<Sketch>>, DiffError> {
    let density = Density::new(planned.len(), total(planned.iter().map(|planned| planned.size)));
    let sure = Sure::at(options.level);
    let sketches = planned.par_iter().map(|planned| {
        let is_looked_at = match &planned.base {
            None => true,
            Some(named) => sure.is_asked && (named.path != planned.path || planned.size <= LONGEST),
        };
        if !is_looked_at || !planned.is_held || planned.size < SHORTEST || Family::of(planned.kind).is_none()
        {
            return Ok(None);
        }
        options.control.check()?;
        sketch(contents, ("target", planned.path), planned.size, density).map(|(_, sketch)| Some(sketch))
    });
    sketches.collect()
}

fn sketch(
    contents: &dyn ContentSource,
    (side, path): (&'static str, &EntryPath),
    size: u64,
    density: Density,
) -> Result<(FileKind, Sketch), DiffError> {
    let failed = |source| DiffError::Read { side, path: path.clone(), source };
    let content = contents.open(path).map_err(failed)?;
    let kind = FileKind::of(&*content).map_err(failed)?;
    let reader = ContentReader::new(&content);
    if kind != FileKind::Gzip {
        return Ok((kind, Sketch::of(reader, size, density).map_err(failed)?));
    }
    // Where it is damaged it is sketched as far as it goes.
    let mut plain = Vec::new();
    let _ = MultiGzDecoder::new(reader).take(PLAIN_BYTES).read_to_end(&mut plain);
    let length = plain.len() as u64;
    Ok((kind, Sketch::of(&plain[..], length, density).map_err(failed)?))
}

/// The contents whose names lead to nothing, or to what has little of them.
fn sought(
    planned: &[Planned<'_>],
    new: &[Option<Sketch>],
    base: &dyn ContentSource,
    options: &Options<'_>,
) -> Result<Vec<Sought>, DiffError> {
    let named = total(planned.iter().filter_map(|planned| planned.base.as_ref()).map(|base| base.size));
    let density = Density::new(planned.len(), named);
    let sure = Sure::at(options.level);
    let sought = planned.par_iter().zip(new).enumerate().map(|(place, (planned, sketched))| {
        let (Some(new), Some(family)) = (sketched, Family::of(planned.kind)) else { return Ok(None) };
        let Some(named) = &planned.base else { return Ok(Some(Sought { place, family, covered: 0 })) };
        options.control.check()?;
        let (_, old) = sketch(base, ("base", named.path), named.size, density)?;
        let (shared, comparable) = new.shared(&old);
        let covered = shared.count() * 256 / comparable.max(1);
        let is_sure = covered >= if named.path == planned.path { sure.path } else { sure.name };
        Ok((!is_sure).then_some(Sought { place, family, covered }))
    });
    let sought: Result<Vec<Option<Sought>>, DiffError> = sought.collect();
    Ok(sought?.into_iter().flatten().collect())
}

/// How much of a content the file has to have that is at its path, or whose name is like its own, so that nothing else is looked for,
/// in 256ths.
struct Sure {
    /// Whether names are doubted at all.
    is_asked: bool,
    path: usize,
    name: usize,
}

impl Sure {
    fn at(level: Level) -> Self {
        match level {
            // Looking into files whose names tell takes longer than making them of those.
            Level::Fast => Self { is_asked: false, path: 0, name: 0 },
            // Of two programs of one package, each is made best from the other, and not from what it was.
            Level::Default | Level::Best => Self { is_asked: true, path: 224, name: 224 },
        }
    }
}

/// The contents of the base, each once.
fn of_base<'a>(
    base: &Base<'a>,
    contents: &dyn ContentSource,
    (families, reach): (&HashSet<Family>, u64),
    options: &Options<'_>,
) -> Result<Vec<Known<'a>>, DiffError> {
    let mut seen: HashSet<ContentDigest> = HashSet::new();
    let files = base
        .tree
        .files()
        .filter(|(_, _, file)| (SHORTEST..=reach).contains(&file.size) && seen.insert(file.digest));
    let files: Vec<_> = files.collect();
    let density = Density::new(files.len(), total(files.iter().map(|(_, _, file)| file.size)));
    let known = files.into_par_iter().map(|(index, entry, file)| {
        options.control.check()?;
        let failed = |source| DiffError::Read { side: "base", path: entry.path.clone(), source };
        let kind = FileKind::of(&*contents.open(&entry.path).map_err(failed)?).map_err(failed)?;
        let Some(family) = Family::of(kind).filter(|family| families.contains(family)) else {
            return Ok(None);
        };
        let (kind, sketch) = sketch(contents, ("base", &entry.path), file.size, density)?;
        let index = u32::try_from(index).expect("because a tree in memory has fewer than 2^32 entries");
        let source = PlannedSource {
            origin: Origin::Base(index),
            path: &entry.path,
            digest: file.digest,
            size: file.size,
        };
        Ok(Some(Known { source, family, kind, place: None, sketch }))
    });
    let known: Result<Vec<Option<Known<'a>>>, DiffError> = known.collect();
    Ok(known?.into_iter().flatten().collect())
}

/// The new contents, which those after them may be made from.
fn of_target<'a>(
    planned: &[Planned<'a>],
    new: &[Option<Sketch>],
    families: &HashSet<Family>,
) -> Vec<Known<'a>> {
    let known = planned.iter().zip(new).enumerate().filter_map(|(place, (planned, sketch))| {
        // A record of an archive is written before what learns, whatever their order in the plan.
        let family =
            Family::of(planned.kind).filter(|family| families.contains(family) && *family != Family::Zip)?;
        let (origin, path) = (Origin::Target(planned.number), planned.path);
        let source = PlannedSource { origin, path, digest: planned.digest, size: planned.size };
        Some(Known { source, family, kind: planned.kind, place: Some(place), sketch: sketch.clone()? })
    });
    known.collect()
}

/// What a content has of a new one.
struct Share {
    /// Its number.
    number: usize,
    /// The features of the new one that it has, by their places in the sketch, of so many that it could have.
    shared: Vec<usize>,
    comparable: usize,
}

/// What a content adds to those that were chosen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gain {
    /// Of the new content, in parts of [`WHOLE`].
    part: usize,
    /// How many features tell that.
    features: usize,
}

const WHOLE: usize = 4096;

impl Share {
    fn gain(&self, is_covered: &[bool]) -> Gain {
        let features = self.shared.iter().filter(|&&feature| !is_covered[feature]).count();
        Gain { part: features * WHOLE / self.comparable.max(1), features }
    }
}

/// Which contents have a feature.
struct Index<'k, 'a> {
    known: &'k [Known<'a>],
    /// A feature and the number of a content, in order.
    features: Vec<u64>,
}

impl<'k, 'a> Index<'k, 'a> {
    fn new(known: &'k [Known<'a>]) -> Self {
        let of_one = |(number, known): (usize, &'k Known<'a>)| {
            known.sketch.features().iter().map(move |&feature| u64::from(feature) << 32 | number as u64)
        };
        let mut features: Vec<u64> = known.iter().enumerate().flat_map(of_one).collect();
        features.par_sort_unstable();
        Self { known, features }
    }

    /// The contents that have most of a new one between them, by their numbers, the one that has most first.
    fn like(
        &self,
        (sought, planned): (&Sought, &Planned<'_>),
        sketch: &Sketch,
        options: &Options<'_>,
    ) -> Vec<usize> {
        let compared = self.led_to((sought, planned), sketch).into_iter();
        let mut open: Vec<Share> = compared.map(|number| self.share(number, sketch)).collect();
        let mut is_covered = vec![false; sketch.features().len()];
        let mut chosen: Vec<usize> = Vec::new();
        let mut bytes = 0_u64;
        let most = if is_made_of_several(planned.kind) { MOST_SOURCES } else { 1 };
        while chosen.len() < most {
            open.retain(|share| {
                let source = self.known[share.number].source.size;
                is_held(source.saturating_add(bytes), planned.size, options.memory)
            });
            let gains = open.iter().enumerate().map(|(place, share)| (share.gain(&is_covered), place));
            let Some((gain, place)) = gains.max_by_key(|&(gain, place)| (gain, std::cmp::Reverse(place)))
            else {
                break;
            };
            let adds = |least: u64| gain.part as u64 * planned.size >= least * WHOLE as u64;
            let is_worth_it = if chosen.is_empty() {
                gain.features > 0 && gain.part + WHOLE / 32 >= sought.covered * (WHOLE / 256)
            } else {
                gain.features >= 4 && gain.part >= WHOLE / 16 && adds(256)
            };
            if !is_worth_it {
                break;
            }
            let share = open.swap_remove(place);
            share.shared.iter().for_each(|&feature| is_covered[feature] = true);
            bytes += self.known[share.number].source.size;
            chosen.push(share.number);
            open.sort_unstable_by_key(|share| share.number);
        }
        chosen
    }

    fn share(&self, number: usize, sketch: &Sketch) -> Share {
        let (shared, comparable) = sketch.shared(&self.known[number].sketch);
        Share { number, shared: shared.collect(), comparable }
    }

    /// The contents that most features lead to; what few contents have says more.
    fn led_to(&self, (sought, planned): (&Sought, &Planned<'_>), sketch: &Sketch) -> Vec<usize> {
        let reach = reach(planned.size);
        let may_serve = |known: &Known<'_>| {
            known.family == sought.family
                && known.source.size <= reach
                && known.place.is_none_or(|place| place < sought.place)
                && (known.kind != FileKind::Gzip || planned.kind == FileKind::Gzip)
        };
        let mut votes: BTreeMap<usize, u64> = BTreeMap::new();
        for &feature in sketch.features() {
            let start = self.features.partition_point(|&entry| entry < u64::from(feature) << 32);
            let of_feature =
                self.features[start..].iter().take_while(|&&entry| entry >> 32 == u64::from(feature));
            let numbers: Vec<usize> =
                of_feature.take(MOST_NAMED).map(|&entry| entry as u32 as usize).collect();
            let vote = (1 << 20) / numbers.len().max(1) as u64;
            for number in numbers.into_iter().filter(|&number| may_serve(&self.known[number])) {
                *votes.entry(number).or_default() += vote;
            }
        }
        let mut votes: Vec<_> =
            votes.into_iter().map(|(number, votes)| (std::cmp::Reverse(votes), number)).collect();
        votes.sort_unstable();
        let mut compared: Vec<usize> = votes.into_iter().take(COMPARED).map(|(_, number)| number).collect();
        compared.sort_unstable();
        compared
    }
}
