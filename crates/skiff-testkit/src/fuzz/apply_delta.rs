use std::io::Cursor;

use skiff_format::{
    BaseInfo, CodecInfo, Compression, Digest, Encoder, Facts, HeaderFields, Section, TargetInfo, compress,
};
use skiff_patch::Codec;
use skiff_replay::{Limits, ReplayError};
use skiff_tree::{ReleaseId, Skeleton, TreeDigest};

use super::Reached;
use super::input::Input;
use super::mend::mend;
use super::release::{self, Release};
use super::sink::{self, as_base};

/// A delta replayed onto a fixed base: the first byte chooses between a whole delta, whose digests are mended, and the
/// payloads of its sections, around which a sound container is put.
///
/// No content becomes longer than the tree section told; each is finished once, with its right digest; a replay ends well
/// only where all are there and the tree is the promised one; going on from a checkpoint ends as the whole did.
///
/// # Panics
/// Where one of these does not hold.
pub fn apply_delta(data: &[u8]) -> Reached {
    let base = release::base();
    let mut input = Input::new(data);
    let delta = if input.byte() % 2 == 1 {
        let tree_section = input.part();
        let contents = [input.part(), input.rest()];
        let Some(delta) = container(&base, tree_section, contents) else { return Reached::Refused };
        delta
    } else {
        let mut delta = input.rest().to_vec();
        mend(&mut delta);
        delta
    };
    match sink::replay(&delta, &base, &limits()).1 {
        // The container of sections does not know what comes out, so this is as far as they can come.
        Ok(_) | Err(ReplayError::WrongResult { .. }) => Reached::Accepted,
        Err(_) => Reached::Refused,
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.format.frame_bytes = 1 << 20;
    limits.format.dictionary_bytes = 1 << 20;
    // As much as a code that learns takes for small files.
    limits.patch.memory_bytes = 24 << 20;
    (limits.tree.entries, limits.tree.bytes) = (5_000, 1 << 20);
    limits.sections.0 = 1 << 20;
    limits
}

/// A delta of these sections; none where its header could not tell how much it makes.
fn container(base: &Release, tree_section: &[u8], contents: [&[u8]; 2]) -> Option<Vec<u8>> {
    let skeleton = Skeleton::decode(&base.tree, tree_section, &limits().tree).ok()?;
    let new_bytes = skeleton.new_contents().iter().try_fold(0_u64, |sum, new| sum.checked_add(new.size))?;
    let mut encoder = Encoder::new(Cursor::new(Vec::new()));
    let [first, second] = contents.map(|payload| (Section::Contents, payload));
    for (section, payload) in [(Section::Tree, tree_section), first, second] {
        if !payload.is_empty() {
            encoder.add(compress(section, payload, &Compression::Stored).ok()?).ok()?;
        }
    }
    let base = as_base(base);
    let digest = Digest::from_bytes;
    let promised = TreeDigest::of(b"a tree that does not come out");
    let fields = HeaderFields {
        codecs: Codec::ALL
            .iter()
            .map(|codec| CodecInfo { id: codec.id(), version: codec.version() })
            .collect(),
        bases: vec![BaseInfo {
            release: digest(*base.release.as_bytes()),
            tree: digest(*base.tree.digest().as_bytes()),
        }],
        target: TargetInfo {
            release: digest(*ReleaseId::new(promised, None).as_bytes()),
            tree: digest(*promised.as_bytes()),
            config: None,
            manifest: None,
        },
        facts: Facts { new_bytes, decoder_memory: 32 << 20, ..Facts::default() },
    };
    let mut delta = Vec::new();
    encoder.finish(&fields, &mut delta).ok()?;
    Some(delta)
}
