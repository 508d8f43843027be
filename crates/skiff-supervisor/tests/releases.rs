//! Trials, roll-backs, restarts, and the lock that holds them.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Device, FakeRunner, Server, World, until};
use rustix::fs::FlockOperation;
use skiff_apply::{Expectation, SeekableDelta, Store, StoreOptions, Trial};
use skiff_fs::Control;
use skiff_supervisor::{Checked, Event, Failure, Health, SupervisorError};

fn start(device: &Device) {
    device.supervisor.start(&Control::default()).unwrap();
}

#[test]
fn a_release_that_does_not_get_healthy_is_rolled_back_and_not_tried_again() {
    for how in ["ends", "cannot start", "probe"] {
        let world = World::new(2000);
        let server = Server::new(&world);
        let mut options = world.options();
        if how == "probe" {
            options.health =
                options.health.with_command(vec!["/app/check".into()]).within(Duration::from_millis(50));
        }
        let device = Device::new(&world, &server.address(), options.clone());
        start(&device);
        match how {
            "ends" => device.runner.ran().ending.push(world.new),
            "probe" => device.runner.ran().is_well = false,
            _ => device.runner.ran().unstartable.push(world.new),
        }
        let checked = device.check();
        assert!(matches!(checked, Checked::RolledBack { .. }), "{how}: {checked:?}");
        assert_eq!((world.current(), device.runner.ran().running), (world.old, Some(world.old)), "{how}");
        let log = device.runner.ran().log.join(", ");
        assert!(log.starts_with("start 1, stop, start 2") && log.contains("start 1"), "{how}: {log}");
        let told = device.told();
        assert!(told.contains(&"alarm".into()) && told.contains(&"rolled-back".into()), "{how}: {told:?}");
        let outcome = device.supervisor.report().outcome.unwrap();
        assert!(!outcome.succeeded && outcome.by_delta && outcome.target.0 == world.new, "{how}");
        assert!(outcome.cause.unwrap().starts_with("unhealthy: "), "{how}");
        assert_eq!(device.supervisor.report().running.unwrap().0, world.old, "{how}");

        // Nor after a restart.
        let asked = server.deltas_asked();
        assert!(matches!(device.check(), Checked::Refused { .. }), "{how}");
        drop(device);
        let device = Device::new(&world, &server.address(), options);
        start(&device);
        assert!(matches!(device.check(), Checked::Refused { .. }), "{how}");
        assert_eq!(server.deltas_asked(), asked, "{how}");
        // Until the server names another one in between.
        server.state().release = world.old;
        assert_eq!(device.check(), Checked::UpToDate, "{how}");
        server.state().release = world.new;
        assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{how}");
    }
}

#[test]
fn a_release_is_healthy_once_its_command_ends_well() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let mut options = world.options();
    options.health = options.health.with_command(vec!["/app/check".into(), "now".into()]);
    let device = Device::new(&world, &server.address(), options);
    assert_eq!(device.check(), Checked::Updated { by_delta: true });
    assert!(device.runner.ran().log.contains(&"probe /app/check now".to_owned()));
    assert_eq!(world.store().current().unwrap().unwrap().trial, Trial::Confirmed);
}

/// Begins an update whose trial is cut off, as by a loss of power.
fn cut_in_trial(world: &World, server: &Server, trial_starts: u32) {
    let mut options = world.options();
    options.trial_starts = trial_starts;
    options.health = Health::settled_after(Duration::from_secs(600));
    let device = Device::new(world, &server.address(), options);
    cut(&device, |control| device.supervisor.check(control).map(drop));
}

/// Does something, and cuts it off once the new release runs.
fn cut(device: &Device, work: impl FnOnce(&Control<'_>) -> Result<(), SupervisorError>) {
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("the new release", || device.runner.ran().log.contains(&"start 2".to_owned()));
            cancel.store(true, Ordering::Relaxed);
        });
        let error = work(&control).unwrap_err();
        assert!(matches!(error, SupervisorError::Interrupted(_)), "{error}");
    });
}

#[test]
fn a_release_that_loses_power_on_trial_too_often_is_rolled_back() {
    for trial_starts in [0, 2] {
        let world = World::new(2000);
        let server = Server::new(&world);
        cut_in_trial(&world, &server, trial_starts);
        assert_eq!(world.current(), world.new);
        for _ in 0..trial_starts {
            let mut options = world.options();
            options.health = Health::settled_after(Duration::from_secs(600));
            let device = Device::new(&world, &server.address(), options);
            cut(&device, |control| device.supervisor.start(control));
            assert_eq!(world.current(), world.new);
        }
        let device = Device::new(&world, &server.address(), world.options());
        start(&device);
        assert_eq!((world.current(), device.runner.ran().running), (world.old, Some(world.old)));
        let told = device.told();
        assert!(told.contains(&"rolled-back".into()) && told.contains(&"alarm".into()), "{told:?}");
        let outcome = device.supervisor.report().outcome.unwrap();
        assert!(outcome.cause.unwrap().contains("power"));
        assert!(matches!(device.check(), Checked::Refused { .. }));
    }
}

#[test]
fn a_release_that_loses_power_once_is_tried_again() {
    let world = World::new(2000);
    let server = Server::new(&world);
    cut_in_trial(&world, &server, 1);
    let device = Device::new(&world, &server.address(), world.options());
    start(&device);
    assert_eq!(world.current(), world.new);
    assert_eq!(world.store().current().unwrap().unwrap().trial, Trial::Confirmed);
    let updated =
        |event: &Event| matches!(event, Event::Updated { by_delta: true, received, .. } if *received > 0);
    assert!(device.events().iter().any(updated), "{:#?}", device.events());
    assert!(device.supervisor.report().outcome.unwrap().succeeded);
    assert_eq!(device.check(), Checked::UpToDate);
}

#[test]
fn a_cut_between_the_swap_and_the_start_is_gone_on_after() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let mut options = skiff_apply::Options::rootless();
    options.trial_starts = Some(1);
    let mut delta = SeekableDelta::new(std::io::Cursor::new(&world.delta));
    world.store().apply(&mut delta, Expectation::Release(world.new), &options).unwrap();
    let device = Device::new(&world, &server.address(), world.options());
    start(&device);
    assert_eq!(device.runner.ran().log, ["start 2", "collect all but 2"]);
    assert_eq!(device.check(), Checked::UpToDate);
}

#[test]
fn the_update_lock_holds_the_restart_and_not_the_download() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let path = world.directory.path().join("update.lock");
    let mut options = world.options();
    options.update_lock = Some(path.clone());
    let device = Device::new(&world, &server.address(), options);
    start(&device);
    let lock = std::fs::File::create(&path).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockShared).unwrap();
    std::thread::scope(|scope| {
        let checking = scope.spawn(|| device.check());
        until("the restart is held", || device.told().contains(&"held".into()));
        // The release is there, and what ran runs.
        assert_eq!((world.current(), device.runner.ran().running), (world.new, Some(world.old)));
        assert!(!checking.is_finished());
        drop(lock);
        assert_eq!(checking.join().unwrap(), Checked::Updated { by_delta: true });
    });
    assert_eq!(device.runner.ran().running, Some(world.new));
}

#[test]
fn a_program_that_ends_is_started_again() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let device = Device::new(&world, &server.address(), world.options());
    start(&device);
    {
        let mut ran = device.runner.ran();
        (ran.running, ran.ended) = (None, Some(world.old));
    }
    until("the program runs again", || {
        device.supervisor.look();
        device.runner.ran().running == Some(world.old)
    });
    let ended = device.events().into_iter().find_map(|event| match event {
        Event::Ended { how, wait_ms, .. } => Some((how, wait_ms)),
        _ => None,
    });
    assert_eq!(ended, Some(("exit status 3".into(), 1000)));
}

#[test]
fn what_runs_already_goes_on_running() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let runner = FakeRunner::default();
    runner.ran().running = Some(world.old);
    let device = Device::with(world.store(), runner.clone(), &server.address(), world.options());
    start(&device);
    assert!(runner.ran().log.is_empty(), "{:?}", runner.ran().log);
}

#[test]
fn a_device_without_a_release_gets_its_first_by_a_pull() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let store = Store::create(world.directory.path().join("empty"), &StoreOptions::default()).unwrap();
    let runner = FakeRunner::default();
    // There is nothing to go back to: it runs all the same, and is told.
    runner.ran().ending.push(world.new);
    let device = Device::with(store, runner.clone(), &server.address(), world.options());
    start(&device);
    assert!(matches!(device.check(), Checked::RolledBack { .. }));
    assert!(device.told().contains(&"alarm".into()));
    assert!(matches!(device.check(), Checked::Refused { .. }));
    runner.ran().ending.clear();
    until("it runs", || {
        device.supervisor.look();
        device.runner.ran().running == Some(world.new)
    });
    assert_eq!(Failure::Unhealthy.rule().then, skiff_supervisor::Then::Alarm);
    assert_eq!(server.deltas_asked(), 0);
}

#[test]
fn a_base_that_the_server_does_not_know_is_signed() {
    let world = World::new(2000);
    let server = Server::new(&world);
    server.state().next.push_back(common::problem(404, "base-unknown"));
    let device = Device::new(&world, &server.address(), world.options());
    start(&device);
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
    assert_eq!(server.deltas_asked(), 2);
    assert_eq!(server.state().signatures, 1);
    // What it runs was told before, as only deltas from there are its.
    let running = server.state().reports[0].running.unwrap();
    assert_eq!(running.0, world.old);
}

#[test]
fn what_proved_itself_is_started_again_until_it_runs() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let device = Device::new(&world, &server.address(), world.options());
    device.runner.ran().failing = 4;
    start(&device);
    assert!(device.told().contains(&"ended".into()), "{:?}", device.told());
    until("it runs", || {
        device.supervisor.look();
        device.runner.ran().running == Some(world.old)
    });
}

#[test]
fn a_runner_that_fails_for_a_while_is_no_fault_of_the_release() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let device = Device::new(&world, &server.address(), world.options());
    start(&device);
    device.runner.ran().failing = 3;
    assert_eq!(device.check(), Checked::Updated { by_delta: true }, "{:#?}", device.events());
}

#[test]
fn a_release_whose_trial_was_ended_is_tried_when_the_server_names_it_again() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let path = world.directory.path().join("update.lock");
    let mut options = world.options();
    options.update_lock = Some(path.clone());
    let device = Device::new(&world, &server.address(), options);
    start(&device);
    let lock = std::fs::File::create(&path).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockShared).unwrap();
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: Some(&cancel), ..Control::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("the restart is held", || device.told().contains(&"held".into()));
            cancel.store(true, Ordering::Relaxed);
        });
        let error = device.supervisor.check(&control).unwrap_err();
        assert!(matches!(error, SupervisorError::Interrupted(_)), "{error}");
    });
    // What ran runs, and is started again when it ends.
    assert_eq!((world.current(), device.runner.ran().running), (world.new, Some(world.old)));
    {
        let mut ran = device.runner.ran();
        (ran.running, ran.ended) = (None, Some(world.old));
    }
    until("it runs again", || {
        device.supervisor.look();
        device.runner.ran().running == Some(world.old)
    });
    drop(lock);
    assert_eq!(device.check(), Checked::UpToDate);
    assert_eq!(device.runner.ran().running, Some(world.new));
    assert_eq!(world.store().current().unwrap().unwrap().trial, Trial::Confirmed);
    assert!(device.supervisor.report().outcome.unwrap().succeeded);
}

#[test]
fn where_there_is_nothing_sound_to_go_back_to_what_is_there_runs() {
    let world = World::new(2000);
    let server = Server::new(&world);
    let device = Device::new(&world, &server.address(), world.options());
    start(&device);
    device.runner.ran().ending.push(world.new);
    // The release before is damaged while the new one is on trial.
    let kept = world.store().rootfs(world.old).join("app/own");
    std::fs::write(kept, "damaged").unwrap();
    // Which a delta finds, and a pull does not need.
    server.set("", "0");
    assert!(matches!(device.check(), Checked::RolledBack { .. }), "{:#?}", device.events());
    assert_eq!(world.current(), world.new);
    drop(device);
    // And after a restart.
    let device = Device::new(&world, &server.address(), world.options());
    start(&device);
    assert_eq!(device.runner.ran().running, Some(world.new));
    assert!(matches!(device.check(), Checked::RolledBack { .. } | Checked::Refused { .. }));
    assert_eq!(device.runner.ran().running, Some(world.new));
}
