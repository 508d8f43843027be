use std::io;

use skiff_replay::{Prelude, Sink};
use skiff_tree::ContentDigest;

/// A sink that keeps nothing, and has nothing to be read again.
#[derive(Debug)]
pub struct Nowhere;

impl Sink for Nowhere {
    type Error = io::Error;
    type Content = Vec<u8>;

    fn begin(&mut self, _prelude: &Prelude) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, _number: u32, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _number: u32, _digest: ContentDigest) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, _number: u32) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}
