use std::io::Read;

use skiff_format::{Event, Header, Reader};
use skiff_fs::{Control, DirectoryContents, Reread};
use skiff_replay::{Base, Replay, Replayed, Trust};
use skiff_tree::ReleaseId;

use crate::complete::{Completed, Completion};
use crate::publish::Draft;
use crate::record::Record;
use crate::sink::{Site, StageSink};
use crate::source::DeltaEnd;
use crate::stage::Saved;
use crate::store::StoredRelease;
use crate::{
    ApplyError, Collected, DeltaSource, Expectation, Options, Origin, Sharing, Store, Trial, Verification,
    layout, stage,
};

/// What came of applying a delta.
#[derive(Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The release, which is the current one now.
    pub release: ReleaseId,
    /// The release that was current before.
    pub previous: Option<ReleaseId>,
    /// How it came about.
    pub outcome: Outcome,
    /// Bytes of contents that came out of the delta.
    pub written_bytes: u64,
    /// How the rest came from the release before.
    pub sharing: Sharing,
    /// What was removed afterwards.
    pub collected: Collected,
    /// Why garbage could not be collected. The release is applied all the same, and collecting can be done later.
    pub leftover: Option<ApplyError>,
}

/// How applying a delta went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The delta was applied from its start.
    Applied,
    /// The delta was applied from this offset on, in bytes: an earlier attempt had come so far.
    Resumed {
        /// Where its reading went on.
        offset: u64,
    },
    /// The store had the release, verified it, and made it the current one. Nothing but the delta's header was read.
    Reused,
    /// The release was current already. Nothing but the delta's header was read.
    AlreadyCurrent,
}

/// What was staged with the help of a delta.
struct Replaying<'a> {
    outcome: Outcome,
    replayed: Replayed,
    sink_stage: (stage::Stage, crate::plan::Plan, Completion<'a>),
}

impl Store {
    /// Applies a delta to the current release and makes the result the current release.
    ///
    /// The delta is not trusted: what comes out of it has to be the release that `target` names, every byte of it, read
    /// back from the disk; and who has to have [signed](Options::signed_by) it is seen to before anything is written. Where an earlier attempt with the same delta was cut off after a checkpoint, it goes on
    /// from there. Applying a delta again changes nothing.
    ///
    /// # Errors
    /// Any of [`ApplyError`] but those of rolling back. The current release stays what it was. What was staged is kept to
    /// go on with after [`ApplyError::Interrupted`], [`ApplyError::Delta`] and [`ApplyError::Io`], and removed after
    /// every other, so that a device whose disk is full gets the room back.
    pub fn apply(
        &self,
        delta: &mut dyn DeltaSource,
        target: Expectation,
        options: &Options<'_>,
    ) -> Result<Applied, ApplyError> {
        options.check_rights()?;
        let _lock = self.lock()?;
        let end = DeltaEnd::default();
        let mut reader = Reader::new(end.watch(delta, 0)?, options.limits.format);
        let header = read_header(&mut reader).map_err(|error| end.explain(error))?;
        let id = release_of(&header.target().release);
        options.check_signature(&header)?;
        if let Expectation::Release(expected) = target
            && expected != id
        {
            return Err(ApplyError::WrongTarget { expected, found: id });
        }
        let current = self.current_id()?;
        if current == Some(id) {
            return Ok(Applied::without_delta(id, self.record(id)?.previous, Outcome::AlreadyCurrent));
        }
        let base = self.base_of(&header, current, options)?;
        if self.reuse(id, &header, (&base, options))? {
            let applied = Applied::without_delta(id, Some(base.id), Outcome::Reused);
            return Ok(self.tidied(applied, options));
        }
        let site = Site { store: &self.root, id, base: &base, options };
        let contents = DirectoryContents::new(base.rootfs()?);
        let replay_base =
            Base { release: base.id, tree: &base.tree, contents: &contents, trust: Trust::Checked };

        let resumed =
            resume(&site, replay_base, &header).inspect_err(|error| self.drop_staging_after(error))?;
        let staged = match resumed {
            Some((offset, sink, replay)) => {
                drop(reader);
                let next = header.frames().partition_point(|frame| frame.offset < offset);
                let reader =
                    Reader::resume(end.watch(delta, offset)?, header.clone(), next, options.limits.format)?;
                run((&site, &end), (reader, replay, sink), Outcome::Resumed { offset })
            }
            None => {
                let mut replay = Replay::new(replay_base, options.limits.clone());
                let mut sink = StageSink::new(site)?;
                // Says no to codecs that are not known here before anything is written.
                replay.event(Event::Header(Box::new(header.clone())), &mut sink)?;
                run((&site, &end), (reader, replay, sink), Outcome::Applied)
            }
        };
        let applied = staged.and_then(|staged| self.finish(&site, &header, staged));
        match applied {
            Ok(applied) => Ok(self.tidied(applied, options)),
            Err(error) => {
                self.drop_staging_after(&error);
                Err(error)
            }
        }
    }

    /// Removes what was staged, unless it can be gone on with after this error.
    fn drop_staging_after(&self, error: &ApplyError) {
        if !error.keeps_staging() {
            // The first error is the one to tell. What stays behind is removed by `recover`.
            let _ = stage::clear(&self.root, None, &Control::default());
        }
    }

    /// The current release, where the delta applies to it.
    fn base_of(
        &self,
        header: &Header,
        current: Option<ReleaseId>,
        options: &Options<'_>,
    ) -> Result<StoredRelease, ApplyError> {
        let mut bases = header.bases().iter().map(|base| release_of(&base.release));
        match current {
            Some(current) if bases.clone().any(|base| base == current) => {
                // Before it is read, which may fail: a damaged release is left behind by the same step.
                options.tell_signed(release_of(&header.target().release));
                self.load(current)
            }
            found => {
                let expected = bases.next().expect("because a header lists at least one base");
                Err(ApplyError::WrongBase { expected, found })
            }
        }
    }

    /// Makes a release that the store has the current one, where it is just what the delta leads to and sound.
    fn reuse(
        &self,
        id: ReleaseId,
        header: &Header,
        (base, options): (&StoredRelease, &Options<'_>),
    ) -> Result<bool, ApplyError> {
        if !self.has(id)? {
            return Ok(false);
        }
        let reread = match options.verification {
            Verification::Everything => Reread::All,
            Verification::WrittenOnly => Reread::Only(&|_| false),
        };
        let release = match self.load(id) {
            Ok(release) => release,
            Err(ApplyError::StoreDamaged { .. }) => return Ok(false),
            Err(other) => return Err(other),
        };
        let same = release.record.ownership() == options.ownership
            && release.manifest().ok() == Some(header.target().manifest);
        if !same || !release.mismatches(reread, options)?.is_empty() {
            return Ok(false);
        }
        let mut record = Record::new(origin(base.id, header), options.ownership);
        record.previous = Some(base.id);
        // A release that proved itself stays proved: were power cut before the swap, it would else be found on trial as the
        // one that is rolled back to.
        record.trial = match release.record.trial {
            Trial::Confirmed => Trial::Confirmed,
            _ => Trial::OnTrial { starts: options.trial_starts },
        };
        (record.entries, record.content_bytes) = (release.record.entries, release.record.content_bytes);
        // In this order, because replacing the record brings the removal to the disk as well.
        release.directory.remove(&layout::path(layout::ATTEMPTS), &options.control)?;
        record.replace(&release.directory)?;
        self.swap(id)?;
        Ok(true)
    }

    fn finish(&self, site: &Site<'_>, header: &Header, staged: Replaying<'_>) -> Result<Applied, ApplyError> {
        let Replaying { outcome, replayed, sink_stage: (stage, plan, completion) } = staged;
        let Completed { sharing, unwritten } = completion.finish((&stage, &plan), &replayed.tree)?;
        let mut record = Record::new(origin(site.base.id, header), site.options.ownership);
        record.previous = Some(site.base.id);
        self.publish(Draft { stage, tree: &replayed.tree, record, unwritten }, site.options)?;
        let written_bytes = plan.new_bytes();
        let applied = Applied::without_delta(site.id, Some(site.base.id), outcome);
        Ok(Applied { written_bytes, sharing, ..applied })
    }

    fn tidied(&self, applied: Applied, options: &Options<'_>) -> Applied {
        match self.tidy(options) {
            Ok(collected) => Applied { collected, ..applied },
            Err(error) => Applied { leftover: Some(error), ..applied },
        }
    }
}

impl Applied {
    fn without_delta(release: ReleaseId, previous: Option<ReleaseId>, outcome: Outcome) -> Self {
        Self {
            release,
            previous,
            outcome,
            written_bytes: 0,
            sharing: Sharing::default(),
            collected: Collected::default(),
            leftover: None,
        }
    }
}

/// Goes on where an earlier attempt with the same delta was cut off; none where there was none, or not everything is there.
fn resume<'a>(
    site: &Site<'a>,
    base: Base<'a>,
    header: &Header,
) -> Result<Option<(u64, StageSink<'a>, Replay<'a>)>, ApplyError> {
    let saved = Saved::load(site.store, site.id);
    let Some(mut saved) = saved.filter(|saved| saved.prelude.header.digest() == header.digest()) else {
        return Ok(None);
    };
    // The same delta, but it may have been signed since: then its frames lie elsewhere.
    saved.prelude.header = header.clone();
    let offset = saved.offset();
    let limits = site.options.limits.clone();
    let resumed = StageSink::resume(*site, &saved).and_then(|sink| {
        let replay = Replay::resume(base, saved.prelude, &saved.checkpoint, &sink, limits)?;
        Ok((offset, sink, replay))
    });
    match resumed {
        Ok(resumed) => Ok(Some(resumed)),
        // These would come again, and what is staged is good.
        Err(error @ (ApplyError::Interrupted(_) | ApplyError::NoSpace { .. })) => Err(error),
        // What is staged is not what its checkpoint says.
        Err(_) => Ok(None),
    }
}

/// Follows the delta to its end, and proves that what came out is what it promised.
fn run<'a>(
    (site, end): (&Site<'_>, &DeltaEnd),
    (mut reader, mut replay, mut sink): (Reader<impl Read>, Replay<'_>, StageSink<'a>),
    outcome: Outcome,
) -> Result<Replaying<'a>, ApplyError> {
    let followed = loop {
        if let Err(interrupted) = site.options.control.check() {
            break Err(interrupted.into());
        }
        match reader.next_event() {
            Err(error) => break Err(end.explain(error.into())),
            Ok(None) => break Ok(()),
            Ok(Some(event)) => {
                if let Err(error) = replay.event(event, &mut sink) {
                    break Err(error.into());
                }
            }
        }
    };
    if let Err(error) = followed {
        if ApplyError::keeps_staging(&error) {
            // Only saves work: the checkpoint before this one serves as well.
            let _ = sink.record_newest();
        }
        return Err(error);
    }
    let replayed = replay.finish(&mut sink)?;
    Ok(Replaying { outcome, replayed, sink_stage: sink.into_stage()? })
}

fn read_header(reader: &mut Reader<impl Read>) -> Result<Header, ApplyError> {
    match reader.next_event()? {
        Some(Event::Header(header)) => Ok(*header),
        _ => Err(ApplyError::Corrupt { offset: 0, what: "it does not begin with a header".into() }),
    }
}

fn release_of(digest: &skiff_format::Digest) -> ReleaseId {
    ReleaseId::from_bytes(*digest.as_bytes())
}

fn origin(base: ReleaseId, header: &Header) -> Origin {
    Origin::Apply { base, delta: *header.digest(), delta_bytes: header.delta_size() }
}
