//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;
use std::time::Duration;

use skiff_registry::{Client, ClientOptions, Reference, Retries, Transport};
use skiff_testkit::TestRegistry;

/// A directory that goes when the test ends.
pub struct Work(tempfile::TempDir);

impl Work {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// For plain HTTP, and without patience.
pub fn options() -> ClientOptions {
    let mut retries = Retries::default();
    (retries.first_wait, retries.longest_wait) = (Duration::from_millis(1), Duration::from_millis(5));
    ClientOptions::default().with_transport(Transport::Plain).with_retries(retries)
}

pub fn client() -> Client<'static> {
    Client::new(options()).expect("a client")
}

pub fn reference(registry: &TestRegistry, image: &str) -> Reference {
    at(&registry.address(), image)
}

pub fn at(address: &str, image: &str) -> Reference {
    format!("docker://{address}/{image}").parse().expect("a reference")
}

/// Bytes that do not compress, others for each name.
pub fn noise_bytes(name: &str, size: usize) -> Vec<u8> {
    let mut state =
        name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| state.rotate_left(9) ^ u64::from(byte));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}
