//! Goes through the states that cuts leave.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use skiff_apply::*;
use skiff_fs::RootOptions;
use skiff_testkit::crash::{Effort, Files, Log, Moment, Recorder};
use skiff_tree::ReleaseId;

use crate::common::*;

/// Nothing, or what is wrong.
pub(crate) type Verdict = Result<(), String>;
type Operation = Box<dyn Fn(&Store) -> Result<Option<Outcome>, ApplyError>>;
type Check = Box<dyn Fn(&Store, bool) -> Verdict>;

/// An operation that is cut off, and done again.
pub(crate) struct Case {
    pub name: &'static str,
    pub set_up: Box<dyn Fn() -> Fixture>,
    pub opens: fn(&Path, &StoreOptions) -> Result<Store, ApplyError>,
    /// What is current before; none where nothing is.
    pub old: Option<Image>,
    /// Whether that is damaged.
    pub old_is_damaged: bool,
    /// What is current afterwards.
    pub new: Image,
    /// Brings that about, where it has not been. Tells how, where it applies a delta.
    pub operation: Operation,
    /// What else has to be so at the start after a cut, before anything is recovered; after the operation was reported as done or not.
    pub holds: Check,
    /// How those syncs begin that are not missed here, because it is for another case that they are made.
    pub needed_elsewhere: &'static [&'static str],
}

/// What was gone through.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Distinct trees.
    pub states: usize,
    pub exhaustive_moments: usize,
    pub sampled_moments: usize,
}

impl Tally {
    pub(crate) fn is_exhaustive(&self) -> bool {
        self.sampled_moments == 0
    }
}

/// Asserts that an operation survives every cut, and that it would not without its syncs.
pub(crate) fn prove(case: &Case, effort: &Effort) -> Tally {
    let (log, _keep) = record(case);
    let mut explorer = Explorer::new(case, &log);
    let tally = search_all(&mut explorer, &log, effort);
    let barriers = log.barriers();

    for (number, label) in barriers.iter().enumerate() {
        let is_needed = !case.needed_elsewhere.iter().any(|start| label.starts_with(start));
        match explorer.search(Some(number), effort) {
            Err(failure) => {
                println!("  without sync {number}, {label}: {failure}");
                assert!(is_needed, "{}: sync {number}, {label}, is needed here after all", case.name);
            }
            Ok(_) => assert!(!is_needed, "{}: nothing is lost without sync {number}, {label}", case.name),
        }
    }
    tally
}

/// Asserts that every state survives, whichever syncs that takes.
pub(crate) fn survive(case: &Case, effort: &Effort) -> Tally {
    let (log, _keep) = record(case);
    search_all(&mut Explorer::new(case, &log), &log, effort)
}

fn search_all(explorer: &mut Explorer<'_>, log: &Log, effort: &Effort) -> Tally {
    let name = explorer.case.name;
    let tally = explorer.search(None, effort).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    println!(
        "{name}: {} changes, {} syncs, {} distinct states; {} instants exhaustively, {} sampled",
        log.changes(),
        log.barriers().len(),
        tally.states,
        tally.exhaustive_moments,
        tally.sampled_moments
    );
    tally
}

fn record(case: &Case) -> (Log, Fixture) {
    let fixture = (case.set_up)();
    let path = fixture.store.path().to_owned();
    // What was begun beside other work is waited for before a checkpoint is recorded.
    let disk = Arc::new(Recorder::new(&path).waiting_before("checkpoint.tmp"));
    let options = RootOptions::default().with_storage(disk.clone());
    let store = (case.opens)(&path, &StoreOptions::default().with_root(options)).unwrap();
    (case.operation)(&store).unwrap();
    disk.mark();
    let log = disk.log();
    assert_eq!(
        log.end().digest(),
        Files::read(&path).digest(),
        "{}: the log is not what was done",
        case.name
    );
    (log, fixture)
}

/// What a device may rely on at the start after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Promise {
    /// The operation was reported as done.
    is_done: bool,
    /// A checkpoint was recorded: from here on the delta is read again, or from further on.
    resumes_at: u64,
}

struct Explorer<'a> {
    case: &'a Case,
    log: &'a Log,
    scratch: tempfile::TempDir,
    scratches: usize,
    /// Positions of the log, and where an update goes on that is cut off from there on.
    checkpoints: Vec<(usize, u64)>,
    verdicts: HashMap<([u8; 32], Promise), Verdict>,
    /// After recovering, as many states become the same.
    recovered: HashMap<([u8; 32], Promise, Option<u64>), Verdict>,
}

impl<'a> Explorer<'a> {
    fn new(case: &'a Case, log: &'a Log) -> Self {
        let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (verdicts, recovered) = (HashMap::new(), HashMap::new());
        let mut explorer =
            Self { case, log, scratch, scratches: 0, checkpoints: Vec::new(), verdicts, recovered };
        explorer.checkpoints = explorer.checkpoints();
        explorer
    }

    /// From when on an update goes on where. Once the whole release is moved to where it stays, nothing goes on any more.
    fn checkpoints(&mut self) -> Vec<(usize, u64)> {
        let moved = self.log.position_of("/release to releases/");
        let certain = self.log.certain().into_iter();
        let before_that = certain.filter(|(position, _)| moved.is_none_or(|moved| *position <= moved));
        let mut checkpoints: Vec<(usize, u64)> = Vec::new();
        for (position, files) in before_that {
            let directory = self.write(&files);
            let staged = Store::open(&directory, &StoreOptions::default()).and_then(|store| store.status());
            if let Some(staged) = staged.ok().and_then(|status| status.staged) {
                checkpoints.push((position, staged.resume_offset));
            }
            fs::remove_dir_all(directory).unwrap();
        }
        checkpoints.extend(moved.map(|moved| (moved + 1, 0)));
        checkpoints
    }

    /// Tries states until one fails.
    fn search(&mut self, without: Option<usize>, effort: &Effort) -> Result<Tally, String> {
        let (mut tally, mut distinct) = (Tally::default(), HashSet::new());
        for moment in self.log.moments(without) {
            let promise = self.promise_at(&moment);
            let choices = moment.choices(effort);
            tally.exhaustive_moments += usize::from(choices.is_exhaustive);
            tally.sampled_moments += usize::from(!choices.is_exhaustive);
            for choice in &choices.all {
                let files = moment.files(choice);
                let digest = files.digest();
                distinct.insert(digest);
                let known = self.verdicts.get(&(digest, promise)).cloned();
                let verdict = known.unwrap_or_else(|| {
                    let verdict = self.judge(&files, promise);
                    self.verdicts.insert((digest, promise), verdict.clone());
                    verdict
                });
                verdict.map_err(|what| {
                    let cut = format!("cut after event {}", moment.position);
                    format!("{what}; {cut}, {}", moment.describe(choice))
                })?;
            }
        }
        tally.states = distinct.len();
        Ok(tally)
    }

    fn promise_at(&self, moment: &Moment) -> Promise {
        let before = self.checkpoints.iter().rfind(|(position, _)| *position <= moment.position);
        Promise { is_done: moment.marks > 0, resumes_at: before.map_or(0, |(_, offset)| *offset) }
    }

    fn write(&mut self, files: &Files) -> std::path::PathBuf {
        self.scratches += 1;
        let directory = self.scratch.path().join(self.scratches.to_string());
        fs::create_dir(&directory).unwrap();
        files.write(&directory);
        directory
    }

    fn judge(&mut self, files: &Files, promise: Promise) -> Verdict {
        let directory = self.write(files);
        let verdict = self.start(&directory, promise);
        fs::remove_dir_all(directory).unwrap();
        verdict
    }

    /// What a device does at its start.
    fn start(&mut self, directory: &Path, promise: Promise) -> Verdict {
        let store = (self.case.opens)(directory, &StoreOptions::default()).map_err(told("opening"))?;
        if promise.is_done {
            is_current(&store, self.case.new.id())?;
        }
        (self.case.holds)(&store, promise.is_done)?;
        let recovered = store.recover(&rootless()).map_err(told("recovering"))?;
        if let Some(unresolved) = recovered.unresolved {
            return Err(format!("recovering left: {unresolved}"));
        }
        let offset = recovered.staged.map(|staged| staged.resume_offset);
        let key = (Files::read(directory).digest(), promise, offset);
        if let Some(known) = self.recovered.get(&key) {
            return known.clone();
        }
        let verdict = self.go_on(&store, promise, offset);
        self.recovered.insert(key, verdict.clone());
        verdict
    }

    fn go_on(&self, store: &Store, promise: Promise, offset: Option<u64>) -> Verdict {
        let case = self.case;
        let new = case.new.id();
        let old = case.old.as_ref().map(Image::id);
        let current = current(store)?;
        if current != Some(new) && (promise.is_done || current != old) {
            return Err(format!("{current:?} is current"));
        }
        let may_be_damaged = case.old_is_damaged && !promise.is_done;
        if current.is_some() && !may_be_damaged {
            assert_whole(store)?;
        }
        if current != Some(new) && offset.unwrap_or(0) < promise.resumes_at {
            return Err(format!("it goes on at {offset:?} instead of {}", promise.resumes_at));
        }
        let outcome = (case.operation)(store).map_err(told("going on"))?;
        if let (Some(offset), Some(outcome)) = (offset, outcome)
            && outcome != (Outcome::Resumed { offset })
        {
            return Err(format!(
                "what its checkpoint promised is not there: {outcome:?} instead of on from {offset}"
            ));
        }
        for _ in 0..2 {
            is_current(store, new)?;
            assert_whole(store)?;
            (case.operation)(store).map_err(told("doing it again"))?;
            store.recover(&rootless()).map_err(told("recovering again"))?;
        }
        let left = (names(store.path()), names(&store.path().join("staging")));
        if left != (["current", "lock", "releases", "staging"].map(str::to_owned).into(), Vec::new()) {
            return Err(format!("it left {left:?}"));
        }
        Ok(())
    }
}

fn current(store: &Store) -> Result<Option<ReleaseId>, String> {
    Ok(store.current().map_err(told("asking for the current release"))?.map(|current| current.id))
}

fn is_current(store: &Store, release: ReleaseId) -> Verdict {
    let current = current(store)?;
    if current == Some(release) { Ok(()) } else { Err(format!("{current:?} is current")) }
}

fn assert_whole(store: &Store) -> Verdict {
    let report = store.verify(&rootless()).map_err(told("verifying"))?;
    if report.is_sound() { Ok(()) } else { Err(format!("the release is damaged: {:?}", report.mismatches)) }
}

fn told<E: Debug + std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}
