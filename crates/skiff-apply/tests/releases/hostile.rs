//! Deltas that are damaged, or lie.

use crate::common::*;
use skiff_apply::*;
use skiff_format::{Digest, HeaderFields, Section};

#[test]
fn a_flipped_bit_anywhere_is_refused_and_leaves_nothing() {
    let (old, new) = (old(), new());
    for delta in [delta(&old, &new), in_small_frames(&old, &new)] {
        let fixture = Fixture::quick(&old);
        let before = picture(fixture.store.path());
        let step = delta.len() / 150 + 1;
        for at in (0..delta.len()).step_by(step).chain([delta.len() - 1]) {
            let mut damaged = delta.clone();
            damaged[at] ^= 1 << (at % 8);
            let error = fixture.apply(&damaged, &new).unwrap_err();
            let class = error.class();
            // A flipped bit in the header's own length makes it cut off; in its version, unsupported.
            assert!(
                matches!(error, ApplyError::Corrupt { .. } | ApplyError::CutOff { .. })
                    || matches!(class, ErrorClass::Unsupported) && at < 64,
                "byte {at}: {error:?}"
            );
            fixture.store.recover(&rootless()).unwrap();
            let names = fixture.names("staging");
            assert!(names.is_empty() || matches!(error, ApplyError::CutOff { .. }), "byte {at}: {names:?}");
        }
        assert_eq!(picture(fixture.store.path()), before);
        fixture.assert_current(&old);
        fixture.apply(&delta, &new).unwrap();
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let (old, new) = (old(), new());
    let fixture = Fixture::quick(&old);
    let delta = [delta(&old, &new), b"x".to_vec()].concat();
    let error = fixture.apply(&delta, &new).unwrap_err();
    assert!(matches!(error, ApplyError::Corrupt { .. }), "{error}");
    assert_eq!(fixture.names("staging"), [""; 0]);
    fixture.assert_current(&old);
}

#[test]
fn a_delta_that_lies_about_its_result_is_found_out() {
    let (old, new) = (old(), new());
    let other = Builder::new().file("other", b"other").build(None);
    let honest = delta(&old, &new);
    let wanted = other.id();
    let lies: [&dyn Fn(&mut HeaderFields); 5] = [
        // It names what the caller wants, and makes something else.
        &|fields| fields.target.release = Digest::from_bytes(*wanted.as_bytes()),
        &|fields| {
            fields.target.release = Digest::from_bytes(*wanted.as_bytes());
            fields.target.tree = Digest::from_bytes(*other.tree.digest().as_bytes());
        },
        &|fields| fields.facts.new_bytes += 1,
        &|fields| fields.facts.new_bytes = u64::MAX,
        &|fields| fields.target.config = Some(Digest::of(b"another config")),
    ];
    let fixture = Fixture::quick(&old);
    for (number, lie) in lies.into_iter().enumerate() {
        let delta = lying(&honest, lie);
        let error = fixture
            .store
            .apply(&mut Watched::new(&delta), Expectation::TrustDelta, &rootless())
            .expect_err("because it lies");
        assert_eq!(error.class(), ErrorClass::CorruptInput, "{number}: {error}");
        fixture.assert_current(&old);
        assert_eq!(fixture.names("staging"), [""; 0], "{number}");
    }
    let delta = lying(&honest, |fields| fields.codecs[0].version = 999);
    let error = fixture.apply(&delta, &new).unwrap_err();
    assert!(matches!(error, ApplyError::Unsupported { .. }), "{error}");
    // Frames of contents are all that is missing: nothing is read of what is not there.
    assert!(frames(&honest).frames().iter().any(|frame| frame.section == Section::Contents));
}
