//! Devices that ask for signatures.

use skiff_apply::{Store, StoreOptions};
use skiff_supervisor::{Checked, Event, Failure, Options, Signers};
use skiff_testkit::key;
use skiff_tree::ReleaseId;

use super::{always, delta_to_elsewhere, problem};
use crate::common::{Device, FakeRunner, Server, World};

fn signed(delta: &[u8], by: u8) -> Vec<u8> {
    let mut signed = Vec::new();
    skiff_keys::sign(delta, &mut signed, &[key(by)]).unwrap();
    signed
}

/// A device that believes the keys 1 and 2 alone, and a server whose delta the key 1 signed.
fn insisting() -> (World, Server, Options) {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.state().delta = signed(&world.delta, 1);
    let mut options = world.options();
    options.signers = Some(Signers::new(vec![key(1).public().clone(), key(2).public().clone()]));
    (world, server, options)
}

fn allowing(mut options: Options) -> Options {
    options.signers = options.signers.map(Signers::with_unsigned_pulls);
    options
}

/// That the update is given up because of this failure, and that no image was pulled on the way.
fn is_given_up((world, server, options): (World, Server, Options), because: Failure) -> String {
    let device = Device::new(&world, &server.address(), options);
    device.supervisor.start(&Default::default()).unwrap();
    let Checked::GivenUp { failure, cause } = device.check() else { panic!("{:#?}", device.events()) };
    assert_eq!(failure, because, "{cause}");
    assert_eq!((world.current(), device.runner.ran().log.clone()), (world.old, vec!["start 1".to_owned()]));
    assert!(!device.told().contains(&"fall-back".to_owned()), "{:#?}", device.events());
    assert!(!world.directory.path().join("state/images").exists());
    cause
}

#[test]
fn a_delta_that_is_signed_is_taken_and_no_other() {
    let (world, server, options) = insisting();
    let device = Device::new(&world, &server.address(), options);
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
    assert_eq!(world.current(), world.new);

    let falsify = |mut delta: Vec<u8>| {
        // The last byte of the signature.
        let length = |at: usize| u32::from_le_bytes(delta[at..at + 4].try_into().unwrap()) as usize;
        let end = 52 + length(12) + length(48);
        delta[end - 1] ^= 1;
        delta
    };
    for other in [world.delta.clone(), signed(&world.delta, 3), falsify(signed(&world.delta, 2))] {
        let case = insisting();
        case.1.state().delta = other.clone();
        is_given_up(case, Failure::Untrusted);
        // Nor where images may be pulled: what is not signed there is no reason to.
        let (world, server, options) = insisting();
        server.state().delta = other;
        is_given_up((world, server, allowing(options)), Failure::Untrusted);
    }
}

#[test]
fn a_server_talks_nobody_out_of_signatures() {
    // By what it configures.
    let (world, server, options) = insisting();
    server.set("", "0");
    let device = Device::new(&world, &server.address(), options);
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
    // By having no delta.
    let case = insisting();
    always(&case.1, || problem(409, "pull-cheaper"));
    let cause = is_given_up(case, Failure::Refused);
    assert!(cause.contains("no signed delta leads to it"), "{cause}");
    // By one that is signed, and leads elsewhere.
    let case = insisting();
    case.1.state().delta = signed(&delta_to_elsewhere(), 1);
    is_given_up(case, Failure::WrongBase);
    // By naming another release than the delta leads to.
    let case = insisting();
    case.1.state().release = ReleaseId::of(b"another");
    is_given_up(case, Failure::WrongBase);
    // On a device that has nothing yet.
    let (world, server, options) = insisting();
    let empty = world.directory.path().join("empty");
    let device = |options| {
        let store = Store::create(&empty, &StoreOptions::default()).unwrap();
        Device::with(store, FakeRunner::default(), &server.address(), options)
    };
    let refusing = device(options.clone());
    let checked = refusing.check();
    assert!(matches!(checked, Checked::GivenUp { failure: Failure::Untrusted, .. }), "{checked:?}");
    drop(refusing);
    assert_eq!(device(allowing(options)).check(), Checked::Updated { by_delta: false });
}

#[test]
fn images_are_pulled_where_that_is_allowed() {
    let (world, server, options) = insisting();
    always(&server, || problem(409, "pull-cheaper"));
    let device = Device::new(&world, &server.address(), allowing(options));
    assert_eq!(device.check(), Checked::Updated { by_delta: false }, "{:#?}", device.events());
    assert_eq!(world.current(), world.new);
}

/// A key that signed the step from what runs to the target stands for the target, however it is brought.
#[test]
fn a_signed_delta_that_fails_on_the_device_vouches_for_the_image() {
    let damage = |world: &World| {
        let kept = world.store().rootfs(world.old).join("app/kept");
        let mut bytes = std::fs::read(&kept).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&kept, bytes).unwrap();
    };
    let (world, server, options) = insisting();
    damage(&world);
    let device = Device::new(&world, &server.address(), options);
    assert_eq!(device.check(), Checked::Updated { by_delta: false }, "{:#?}", device.events());
    let fell_back =
        |event: &Event| matches!(event, Event::FallBack { failure: Failure::VerificationFailed, .. });
    assert!(device.events().iter().any(fell_back), "{:#?}", device.events());
    assert_eq!(world.current(), world.new);
    // One that is not signed does not.
    let (world, server, options) = insisting();
    damage(&world);
    server.state().delta = world.delta.clone();
    is_given_up((world, server, options), Failure::Untrusted);
}
