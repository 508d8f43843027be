//! Updates that are cut off, and go on.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::common::*;
use skiff_apply::*;
use skiff_format::Section;

/// The last place before a cut where an update can go on, given a checkpoint after every frame: the first whole frame of
/// contents makes the first.
fn expected_offset(delta: &[u8], cut: u64) -> Option<u64> {
    let header = frames(delta);
    let contents = header.frames().iter().filter(|frame| frame.section == Section::Contents);
    contents.map(|frame| frame.offset + frame.encoded_size).rfind(|end| *end <= cut)
}

fn apply_watched(fixture: &Fixture, source: &mut Watched<'_>) -> Result<Applied, ApplyError> {
    fixture.store.apply(source, Expectation::TrustDelta, &rootless())
}

#[test]
fn a_lost_connection_costs_what_came_after_the_last_checkpoint() {
    let (old, new) = (old(), new());
    let delta = in_small_frames(&old, &new);
    let header = frames(&delta);
    let length = delta.len() as u64;
    // In every part of the delta, at every border and in the middle.
    let borders =
        header.frames().iter().flat_map(|frame| [frame.offset, frame.offset + frame.encoded_size / 2]);
    let cuts: Vec<u64> = [0, 1, 60].into_iter().chain(borders).chain([length - 1]).collect();
    assert!(cuts.len() > 40, "the delta has few frames: {}", cuts.len());
    for cut in cuts {
        let fixture = Fixture::quick(&old);
        let error = apply_watched(&fixture, &mut Watched::failing_at(&delta, cut)).unwrap_err();
        assert!(matches!(error, ApplyError::Delta { .. }), "cut at {cut}: {error}");
        assert_eq!(fixture.store.current().unwrap().unwrap().id, old.id());
        let recovered = fixture.store.recover(&rootless()).unwrap();
        let expected = expected_offset(&delta, cut);
        assert_eq!(recovered.staged.map(|staged| staged.resume_offset), expected, "cut at {cut}");

        let mut source = Watched::new(&delta);
        let applied =
            apply_watched(&fixture, &mut source).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        fixture.assert_current(&new);
        assert_eq!(fixture.names("staging"), [""; 0]);
        match expected {
            Some(offset) => {
                assert_eq!(applied.outcome, Outcome::Resumed { offset });
                assert_eq!(source.opened, [0, offset]);
                assert_eq!(source.read, header.bytes().len() as u64 + length - offset, "cut at {cut}");
            }
            None => assert_eq!((applied.outcome, source.read), (Outcome::Applied, length), "cut at {cut}"),
        }
    }
}

#[test]
fn a_file_that_is_cut_off_goes_on_when_there_is_more_of_it() {
    let (old, new) = (old(), new());
    let delta = in_small_frames(&old, &new);
    let fixture = Fixture::quick(&old);
    let mut last = 0;
    for end in (0..delta.len()).step_by(delta.len() / 23) {
        // Alternately in one pass and with seeks.
        let part = &delta[..end];
        let error = if end % 2 == 0 {
            fixture.store.apply(&mut OnePassDelta::new(part), Expectation::TrustDelta, &rootless())
        } else {
            fixture.apply(part, &new)
        };
        let error = error.unwrap_err();
        assert!(matches!(error, ApplyError::CutOff { offset } if offset == end as u64), "{end}: {error}");
        assert_eq!(error.class(), ErrorClass::CorruptInput);
        let offset = fixture.store.status().unwrap().staged.map_or(0, |staged| staged.resume_offset);
        assert!(offset >= last && offset <= end as u64);
        last = offset;
    }
    assert!(last > delta.len() as u64 * 3 / 4);
    let mut source = OnePassDelta::new(&delta[..]);
    let applied = fixture.store.apply(&mut source, Expectation::Release(new.id()), &rootless()).unwrap();
    assert!(matches!(applied.outcome, Outcome::Resumed { offset } if offset >= last));
    fixture.assert_current(&new);
}

#[test]
fn cancelled_or_late_it_goes_on() {
    let (old, new) = (old(), new());
    let delta = in_small_frames(&old, &new);
    let fixture = Fixture::quick(&old);
    let total = new.tree.totals().content_bytes * 2;
    let mut resumed = 0;
    for limit in (0..total).step_by(usize::try_from(total / 17).unwrap()) {
        let (cancel, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        let progress = |bytes| {
            if seen.fetch_add(bytes, Ordering::Relaxed) + bytes > limit {
                cancel.store(true, Ordering::Relaxed);
            }
        };
        let control = Control { cancel: Some(&cancel), progress: Some(&progress), deadline: None };
        let mut source = Watched::new(&delta);
        let result = fixture.store.apply(&mut source, Expectation::TrustDelta, &with_control(control));
        assert!(matches!(result, Err(ApplyError::Interrupted(_))), "{limit}: {result:?}");
        fixture.assert_current(&old);
        resumed += usize::from(source.opened.len() == 2);
    }
    assert!(resumed > 10, "{resumed}");
    let control = Control { deadline: Some(Instant::now()), ..Control::default() };
    let mut source = Watched::new(&delta);
    let error =
        fixture.store.apply(&mut source, Expectation::TrustDelta, &with_control(control)).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Interrupted);
    fixture.apply(&delta, &new).unwrap();
    fixture.assert_current(&new);
}

/// Leaves an update after half of its delta.
fn cut_in_half(fixture: &Fixture, delta: &[u8]) {
    let half = delta.len() as u64 / 2;
    apply_watched(fixture, &mut Watched::failing_at(delta, half)).unwrap_err();
    assert!(fixture.store.status().unwrap().staged.is_some());
}

fn staged(fixture: &Fixture, target: &Image) -> PathBuf {
    fixture.store.path().join("staging").join(target.id().to_string())
}

/// A file of which something is staged.
fn staged_content(fixture: &Fixture, target: &Image) -> &'static str {
    let rootfs = staged(fixture, target).join("release/rootfs");
    let candidates = ["bin/tool", "etc/motd", "new/first", "new/second", "new/third"];
    let has_bytes = |name: &&str| fs::metadata(rootfs.join(name)).is_ok_and(|file| file.len() > 0);
    candidates.into_iter().find(has_bytes).unwrap()
}

#[test]
fn what_is_staged_is_not_trusted() {
    let (old, new) = (old(), new());
    let delta = in_small_frames(&old, &new);
    let damages: [(&str, &[u8]); 5] = [
        ("checkpoint", b"skiff-checkpoint 1\n"),
        ("delta-header", b"\x89SKF"),
        ("tree-section", b""),
        ("release/config.json", b"{\"cmd\":3}"),
        ("release/rootfs/CONTENT", b"short"),
    ];
    for (name, bytes) in damages {
        let fixture = Fixture::quick(&old);
        cut_in_half(&fixture, &delta);
        let name = name.replace("CONTENT", staged_content(&fixture, &new));
        let damaged = staged(&fixture, &new).join(&name);
        assert!(damaged.exists(), "{name}");
        fs::write(damaged, bytes).unwrap();
        let mut source = Watched::new(&delta);
        apply_watched(&fixture, &mut source).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(source.opened, [0], "{name}: it began again");
        fixture.assert_current(&new);
    }
    // Of the right length, it is found out by what the checkpoint says of it, before the rest is read.
    let fixture = Fixture::quick(&old);
    cut_in_half(&fixture, &delta);
    let content = staged(&fixture, &new).join("release/rootfs").join(staged_content(&fixture, &new));
    let mut bytes = fs::read(&content).unwrap();
    bytes[0] ^= 1;
    fs::write(&content, bytes).unwrap();
    let mut source = Watched::new(&delta);
    apply_watched(&fixture, &mut source).unwrap();
    assert_eq!(source.opened, [0], "it began again");
    assert_eq!(fixture.names("staging"), [""; 0]);
    fixture.assert_current(&new);
}

#[test]
fn another_delta_takes_the_place_of_what_is_staged() {
    let (old, new) = (old(), new());
    let other = Builder::new().file("other", &noise(9, 5_000)).build(None);
    let to_new = in_small_frames(&old, &new);
    let fixture = Fixture::quick(&old);
    cut_in_half(&fixture, &to_new);
    // The same target by another delta.
    let mut source = Watched::failing_at(&to_new, 0);
    apply_watched(&fixture, &mut source).unwrap_err();
    assert!(fixture.store.status().unwrap().staged.is_some(), "nothing was read that could take its place");
    let coarse = delta(&old, &new);
    assert_eq!(fixture.apply(&coarse, &new).unwrap().outcome, Outcome::Applied);
    fixture.store.rollback(&rootless()).unwrap();
    fixture.store.collect(&Options { keep: KeepPolicy::CurrentOnly, ..rootless() }).unwrap();

    cut_in_half(&fixture, &to_new);
    fixture.apply(&delta(&old, &other), &other).unwrap();
    fixture.assert_current(&other);
    assert_eq!(fixture.names("staging"), [""; 0]);
}

#[test]
fn what_leads_nowhere_any_more_is_removed() {
    let (old, new) = (old(), new());
    let other = Builder::new().file("other", b"other").build(None);
    let fixture = Fixture::quick(&old);
    fixture.install(&other).unwrap();
    fixture.store.rollback(&rootless()).unwrap();
    cut_in_half(&fixture, &in_small_frames(&old, &new));
    assert!(fixture.store.recover(&rootless()).unwrap().found_nothing());
    // Somebody swaps by hand.
    let current = fixture.store.path().join("current");
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(format!("releases/{}", other.id()), &current).unwrap();
    let recovered = fixture.store.recover(&rootless()).unwrap();
    assert_eq!((recovered.staged, recovered.removed.len()), (None, 1));
    assert_eq!(fixture.names("staging"), [""; 0]);
}
