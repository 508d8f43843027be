//! Archives that are made up, flattened here and extracted by GNU tar: whatever differs is in a table, with why.
//!
//! `SKIFF_ROUNDS=100000 SKIFF_SEED=1 cargo test --release --workspace --test images -- --ignored gnu_tar` runs more of them, and others.

mod generate;
mod rules;

use std::collections::BTreeMap;
use std::path::Path;

use skiff_testkit::in_mount_namespace;
use skiff_tree::{Change, Difference, Entry, Kind, Mode, Mtime, Tree};

use crate::common::*;
use generate::Random;
use rules::{RULES, Rule};

const ROUNDS: u64 = 2_500;

/// How what we make of an archive differs from what GNU tar makes of it.
#[derive(Debug)]
pub(super) enum Differs {
    /// We refuse it, for this reason; tar extracts something.
    WeRefuse(String),
    /// Tar says this and that it failed; we take it.
    TarRefuses(String),
    /// An entry is another one, or only on one side: ours and tar's.
    Entry(Option<Box<Entry>>, Option<Box<Entry>>),
}

/// What we and tar make of an archive: the differences, and whether both have taken it.
fn compare(archive: &[u8], scratch: &Path) -> (Vec<Differs>, bool) {
    let (file, root) = (scratch.join("archive.tar"), scratch.join("extracted"));
    std::fs::write(&file, archive).expect("an archive");
    let ours = flatten(&format!("tar:{}", file.display())).map(|flat| flat.tree);
    let theirs = extract_archive_with_gnu_tar(&file, &root);
    std::fs::remove_dir_all(&root).expect("removing what was extracted");
    match (ours, theirs) {
        (Err(_), Err(_)) => (Vec::new(), false),
        (Err(ours), Ok(_)) => (vec![Differs::WeRefuse(ours.to_string())], false),
        (Ok(_), Err(theirs)) => (vec![Differs::TarRefuses(theirs)], false),
        (Ok(ours), Ok(theirs)) => (entries(&ours, &theirs), true),
    }
}

fn entries(ours: &Tree, theirs: &Tree) -> Vec<Differs> {
    let boxed = |entry: &Entry| Some(Box::new(entry.clone()));
    let differs = |change: Change<'_>| match change {
        Change::Same { .. } => None,
        // Each unpacker chooses for itself what those are that no member declares.
        Change::Changed { base, target } if is_undeclared(base) && target.is_directory() => None,
        Change::Changed { base, target } => Some(Differs::Entry(boxed(base), boxed(target))),
        Change::Removed { base } => Some(Differs::Entry(boxed(base), None)),
        Change::Added { target } => Some(Differs::Entry(None, boxed(target))),
    };
    Difference::new(ours, theirs).filter_map(differs).collect()
}

/// Whether a directory is what we make where no member declares one.
fn is_undeclared(entry: &Entry) -> bool {
    entry.as_inode().is_some_and(|inode| {
        let metadata = &inode.metadata;
        matches!(inode.kind, Kind::Directory)
            && Some(metadata.mode) == Mode::new(0o755)
            && (metadata.uid, metadata.gid, metadata.mtime) == (0, 0, Mtime::from_seconds(0))
            && metadata.xattrs.is_empty()
    })
}

/// The rule that an archive's difference is after.
fn rule_of(archive: &[u8], differs: &Differs) -> Option<&'static Rule> {
    RULES.iter().find(|rule| (rule.applies)(archive, differs))
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
#[ignore = "needs GNU tar and root"]
fn made_up_archives_become_what_gnu_tar_extracts_but_for_what_is_listed() {
    let name = "against_tar::made_up_archives_become_what_gnu_tar_extracts_but_for_what_is_listed";
    in_mount_namespace(name, |scratch| {
        let (first, rounds) = (number("SKIFF_SEED", 0), number("SKIFF_ROUNDS", ROUNDS));
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut unknown, mut alike, mut refused) = (Vec::new(), 0, 0);
        for seed in first..first.saturating_add(rounds) {
            let archive = generate::archive(&mut Random::new(seed));
            let (differs, both) = compare(&archive, scratch);
            match (differs.is_empty(), both) {
                (true, true) => alike += 1,
                (true, false) => refused += 1,
                _ => {}
            }
            for differs in differs {
                match rule_of(&archive, &differs) {
                    Some(rule) => *counts.entry(rule.kind).or_default() += 1,
                    None => unknown.push(format!("seed {seed}: {differs:?}")),
                }
            }
        }
        println!("{rounds} archives: {alike} alike, {refused} refused by both; differences {counts:#?}");
        unknown.truncate(500);
        assert!(unknown.is_empty(), "{}", unknown.join("\n"));
        // What is compared must be there to be compared.
        assert!(alike > rounds / 5 && refused > rounds / 50, "{alike} alike, {refused} refused by both");
    });
}

#[test]
#[ignore = "needs GNU tar and root"]
fn each_difference_from_gnu_tar_that_is_listed_is_there() {
    in_mount_namespace("against_tar::each_difference_from_gnu_tar_that_is_listed_is_there", |scratch| {
        let mut missing = Vec::new();
        for rule in RULES {
            let archive = (rule.example)();
            let (differs, _) = compare(&archive, scratch);
            let is_it = |differs| rule_of(&archive, differs).is_some_and(|other| other.kind == rule.kind);
            if !differs.iter().any(is_it) {
                missing.push(format!("{}: {differs:?}", rule.kind));
            }
            assert!(rule.why.len() > 20, "{} needs a reason", rule.kind);
        }
        assert!(missing.is_empty(), "{}", missing.join("\n"));
        println!("{} kinds of differences", RULES.len());
    });
}
