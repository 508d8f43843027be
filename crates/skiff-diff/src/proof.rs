//! The encoder's proof: the real decoder over what was written, with the target at hand to compare with.

use std::fs::File;
use std::io::{self, Seek as _};

use skiff_format::FormatError;
use skiff_fs::Control;
use skiff_replay::{Base, Limits, Prelude, ReplayError, Sink, Trust};
use skiff_tree::{ContentDigest, ContentSource, EntryPath, ReadAt, TreeError};

use crate::assumed::Assumed;
use crate::release::{self, BaseContents};
use crate::{DiffError, Release};

/// Replays what was written, with the decoder that devices use, and leaves the file at its end.
pub(crate) fn prove(
    base: &release::Base<'_>,
    assumed: &Assumed<'_>,
    target: &Release<'_>,
    control: Control<'_>,
    delta: &mut File,
) -> Result<(), DiffError> {
    delta.rewind().map_err(reading_again)?;
    let mut proof = Proof { contents: target.contents, control, paths: Vec::new() };
    let (contents, trust): (&dyn ContentSource, _) = match base.contents {
        BaseContents::Known(contents) => (contents, Trust::Checked),
        BaseContents::Signed(_) => (assumed, Trust::Assumed),
    };
    let base = Base { release: base.release, tree: base.tree, contents, trust };
    let replayed = skiff_replay::replay(io::BufReader::new(delta), base, &mut proof, Limits::default())
        .map_err(|error| match (control.check(), unproven(error)) {
            (Err(interrupted), _) => interrupted.into(),
            (Ok(()), DiffError::Proof(error)) if trust == Trust::Assumed => DiffError::Signature(error),
            (Ok(()), error) => error,
        })?;
    debug_assert_eq!(
        replayed.release,
        target.id(),
        "because the header names the target and the replay proves it"
    );
    Ok(())
}

/// Tells what the images or the disk are to blame for from what this crate is.
fn unproven(error: ReplayError<io::Error>) -> DiffError {
    match error {
        ReplayError::Base { path, source } => DiffError::Read { side: "base", path, source },
        ReplayError::BaseDamaged { path, .. } => DiffError::Changed { side: "base", path },
        ReplayError::Format(FormatError::Io { source, .. }) => reading_again(source),
        ReplayError::LimitExceeded { .. }
        | ReplayError::Format(FormatError::LimitExceeded { .. })
        | ReplayError::Tree(TreeError::LimitExceeded { .. }) => DiffError::TooLarge(Box::new(error)),
        _ => DiffError::Proof(Box::new(error)),
    }
}

fn reading_again(source: io::Error) -> DiffError {
    DiffError::Io { op: "reading the delta again", source }
}

/// Keeps nothing: the replay hashes every content, and the target has them all.
struct Proof<'a> {
    contents: &'a dyn ContentSource,
    control: Control<'a>,
    paths: Vec<EntryPath>,
}

impl<'a> Sink for Proof<'a> {
    type Error = io::Error;
    type Content = Box<dyn ReadAt + 'a>;

    fn begin(&mut self, prelude: &Prelude) -> io::Result<()> {
        let entries = prelude.skeleton.entries();
        let path = |new: &skiff_tree::NewContent| entries[new.entry as usize].path.clone();
        self.paths = prelude.skeleton.new_contents().iter().map(path).collect();
        Ok(())
    }

    fn write(&mut self, _number: u32, _bytes: &[u8]) -> io::Result<()> {
        self.control.check().map_err(io::Error::other)
    }

    fn finish(&mut self, _number: u32, _digest: ContentDigest) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, number: u32) -> io::Result<Self::Content> {
        let path = self.paths.get(number as usize).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.contents.open(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_disks_are_no_defects() {
        let limit = |what| FormatError::LimitExceeded { what, wanted: 2, limit: 1 };
        let large = unproven(ReplayError::Format(limit("bytes of memory")));
        assert!(matches!(large, DiffError::TooLarge(_)), "{large:?}");
        let path = EntryPath::root();
        let failed = unproven(ReplayError::Base { path, source: io::ErrorKind::NotFound.into() });
        assert!(matches!(failed, DiffError::Read { side: "base", .. }), "{failed:?}");
        let defect = unproven(ReplayError::Corrupt { offset: 0, what: "records".into() });
        assert!(matches!(defect, DiffError::Proof(_)), "{defect:?}");
    }
}
