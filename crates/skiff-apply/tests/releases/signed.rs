//! Deltas that have to be signed.

use std::sync::Mutex;

use crate::common::*;
use skiff_apply::*;
use skiff_format::{DetachedSignature, FormatError, Header, Limits, Signatures, replace_signatures};
use skiff_keys::PrivateKey;
use skiff_testkit::key;
use skiff_tree::ReleaseId;

fn signed(delta: &[u8], by: &[PrivateKey]) -> Vec<u8> {
    let mut signed = Vec::new();
    skiff_keys::sign(delta, &mut signed, by).unwrap();
    signed
}

/// The delta under a signature that was made for something else.
fn under(delta: &[u8], signature: DetachedSignature) -> Vec<u8> {
    let mut signatures = Signatures::default();
    signatures.add(signature).unwrap();
    let mut signed = Vec::new();
    let choose = |_: &Header| Ok::<_, FormatError>(signatures);
    replace_signatures(delta, Limits::default(), &mut signed, choose).unwrap();
    signed
}

/// Applies, where one of these keys has to have signed; and the releases that were told as signed.
fn apply_signed(
    fixture: &Fixture,
    delta: &[u8],
    (target, keys): (Expectation, &[PublicKey]),
) -> (Result<Applied, ApplyError>, Vec<ReleaseId>) {
    let told = Mutex::new(Vec::new());
    let on_signed = |release| told.lock().unwrap().push(release);
    let options = Options { signed_by: Some(keys), on_signed: Some(&on_signed), ..rootless() };
    let applied = fixture.store.apply(&mut Watched::new(delta), target, &options);
    (applied, told.into_inner().unwrap())
}

#[test]
fn what_is_not_signed_as_it_has_to_be_leaves_the_store_as_it_was() {
    let (old, new) = (old(), new());
    let other = Builder::new().file("other", b"other").build(None);
    let (wanted, elsewhere) = (in_small_frames(&old, &new), delta(&old, &other));
    let digest = *frames(&wanted).digest();
    let trusted = [key(1).public().clone(), key(2).public().clone()];
    let right = key(1).signature(&digest);
    let mut altered = right.clone();
    altered.bytes[40] ^= 4;
    let renamed = DetachedSignature { key: right.key, ..key(3).signature(&digest) };
    // Its header is not the one that was signed: it says that it takes less memory.
    let lying = lying(&wanted, |fields| fields.facts.decoder_memory -= 1);

    let unsigned: fn(&TrustError) -> bool = |error| matches!(error, TrustError::Unsigned { .. });
    let unknown: fn(&TrustError) -> bool = |error| matches!(error, TrustError::KeyUnknown { .. });
    let wrong: fn(&TrustError) -> bool = |error| matches!(error, TrustError::WrongSignature { .. });
    let cases = [
        ("unsigned", wanted.clone(), unsigned),
        ("by another key", signed(&wanted, &[key(3)]), unknown),
        ("an altered signature", under(&wanted, altered), wrong),
        ("by another key under the name of the right one", under(&wanted, renamed), wrong),
        ("another header", under(&lying, right.clone()), wrong),
        ("another delta's signature", under(&elsewhere, right), wrong),
    ];
    // Once with nothing staged, and once with an update that waits to go on.
    for is_staged in [false, true] {
        let fixture = Fixture::quick(&old);
        if is_staged {
            let mut cut = Watched::failing_at(&wanted, wanted.len() as u64 - 1);
            fixture.store.apply(&mut cut, Expectation::TrustDelta, &rootless()).unwrap_err();
            assert!(fixture.store.status().unwrap().staged.is_some());
        }
        let before = picture(fixture.store.path());
        for (name, delta, expected) in &cases {
            for target in [Expectation::TrustDelta, Expectation::Release(new.id())] {
                let (refused, told) = apply_signed(&fixture, delta, (target, &trusted));
                let error = refused.expect_err(name);
                assert!(matches!(&error, ApplyError::Untrusted(why) if expected(why)), "{name}: {error:?}");
                assert_eq!((error.class(), told), (ErrorClass::Untrusted, vec![]), "{name}");
                assert_eq!(picture(fixture.store.path()), before, "{name}");
            }
        }
        // Where no key is trusted, nothing is.
        let (refused, _) =
            apply_signed(&fixture, &signed(&wanted, &[key(1)]), (Expectation::TrustDelta, &[]));
        assert!(matches!(refused, Err(ApplyError::Untrusted(_))), "{refused:?}");
        // Signed well, and not what is wanted: replayed in the place of another one.
        let replayed = signed(&elsewhere, &[key(1)]);
        let (refused, told) = apply_signed(&fixture, &replayed, (new.id().into(), &trusted));
        assert!(matches!(refused, Err(ApplyError::WrongTarget { .. })), "{refused:?}");
        assert_eq!(told, []);
        // And signed for another release than the current one: that key does not stand for a step from here.
        let replayed = signed(&delta(&other, &new), &[key(1)]);
        let (refused, told) = apply_signed(&fixture, &replayed, (new.id().into(), &trusted));
        assert!(matches!(refused, Err(ApplyError::WrongBase { .. })), "{refused:?}");
        assert_eq!(told, []);
        assert_eq!(picture(fixture.store.path()), before);
        fixture.assert_current(&old);
    }
}

#[test]
fn a_signed_delta_says_itself_where_it_leads() {
    let (old, new) = (old(), new());
    let delta = delta(&old, &new);
    let fixture = Fixture::quick(&old);
    let trusted = [key(1).public().clone(), key(2).public().clone()];
    let delta = signed(&delta, &[key(2), key(3)]);
    let (applied, told) = apply_signed(&fixture, &delta, (Expectation::TrustDelta, &trusted));
    assert_eq!((applied.unwrap().release, told), (new.id(), vec![new.id()]));
    fixture.assert_current(&new);
    // What is there already is seen to as well.
    let (again, _) = apply_signed(&fixture, &delta, (Expectation::TrustDelta, &trusted));
    assert_eq!(again.unwrap().outcome, Outcome::AlreadyCurrent);
    let (refused, _) = apply_signed(&fixture, &delta, (Expectation::TrustDelta, &trusted[..1]));
    assert!(matches!(refused, Err(ApplyError::Untrusted(TrustError::KeyUnknown { .. }))), "{refused:?}");
    // Whoever asks for no signature gets what is signed, too.
    fixture.store.rollback(&rootless()).unwrap();
    fixture.apply(&delta, &new).unwrap();
}

/// A delta that was signed, or signed by more, is the same delta: what an attempt with the other one left is gone on with, at the byte
/// where its frames lie now.
#[test]
fn signing_a_delta_in_the_middle_of_an_update_costs_nothing() {
    let (old, new) = (old(), new());
    let plain = in_small_frames(&old, &new);
    let versions = [plain.clone(), signed(&plain, &[key(1)]), signed(&plain, &[key(1), key(2)])];
    for (first, second) in [(0, 1), (1, 2), (2, 0), (2, 1)] {
        let (first, second) = (&versions[first], &versions[second]);
        let fixture = Fixture::quick(&old);
        let cut = first.len() as u64 * 2 / 3;
        let mut source = Watched::failing_at(first, cut);
        fixture.store.apply(&mut source, Expectation::TrustDelta, &rootless()).unwrap_err();
        let staged = fixture.store.recover(&rootless()).unwrap().staged.unwrap();
        let next = |delta: &[u8], at: u64| frames(delta).frames().iter().position(|frame| frame.offset == at);
        let frame = next(first, staged.resume_offset).unwrap();
        assert!(frame > 5, "{frame}");
        let applied = fixture.store.apply(&mut Watched::new(second), new.id().into(), &rootless()).unwrap();
        let offset = frames(second).frames()[frame].offset;
        assert_eq!(applied.outcome, Outcome::Resumed { offset });
        fixture.assert_current(&new);
    }
}
