//! Where what lies in a store.

use std::str::FromStr as _;

use skiff_tree::{EntryPath, ReleaseId};

pub(crate) const LOCK: &str = "lock";
pub(crate) const CURRENT: &str = "current";
pub(crate) const CURRENT_NEXT: &str = "current.tmp";
pub(crate) const RELEASES: &str = "releases";
pub(crate) const STAGING: &str = "staging";

/// In `releases/ID`.
pub(crate) const ROOTFS: &str = "rootfs";
pub(crate) const TREE: &str = "tree";
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const RECORD: &str = "release.json";
pub(crate) const ATTEMPTS: &str = "attempts";
pub(crate) const LEASE: &str = "lease";

/// In `staging/ID`: what becomes `releases/ID`, and what it takes to go on after a cut.
pub(crate) const RELEASE: &str = "release";
pub(crate) const DELTA_HEADER: &str = "delta-header";
pub(crate) const TREE_SECTION: &str = "tree-section";
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// A path of the store's own making.
pub(crate) fn path(text: &str) -> EntryPath {
    EntryPath::new(text).expect("because the store's own names are short and plain")
}

pub(crate) fn release(id: ReleaseId) -> EntryPath {
    path(&format!("{RELEASES}/{id}"))
}

pub(crate) fn staging(id: ReleaseId) -> EntryPath {
    path(&format!("{STAGING}/{id}"))
}

/// What a release is moved to before it is removed, so that no cut leaves half of one among the releases.
pub(crate) fn trash(id: ReleaseId) -> EntryPath {
    path(&format!("{STAGING}/{id}.removed"))
}

/// Where `current` points for a release.
pub(crate) fn link_target(id: ReleaseId) -> String {
    format!("{RELEASES}/{id}")
}

/// The release that a name in `releases` or `staging` stands for; none for a name that the store does not give.
pub(crate) fn parse_name(name: &[u8]) -> Option<ReleaseId> {
    let text = std::str::from_utf8(name).ok()?;
    let id = ReleaseId::from_str(text).ok()?;
    // Neither capitals nor a prefix, which parsing lets pass.
    (id.to_string() == text).then_some(id)
}

/// The release that `current` points to; none where it points to anything else.
pub(crate) fn parse_link(target: &[u8]) -> Option<ReleaseId> {
    parse_name(target.strip_prefix(RELEASES.as_bytes())?.strip_prefix(b"/")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_store_gives_are_releases() {
        let id = ReleaseId::of(b"x");
        assert_eq!(parse_link(link_target(id).as_bytes()), Some(id));
        assert_eq!(parse_name(id.to_string().as_bytes()), Some(id));
        for bad in [format!("sha256:{id}"), id.to_string().to_uppercase(), format!("{id}/.."), String::new()]
        {
            assert_eq!(parse_name(bad.as_bytes()), None, "{bad}");
            assert_eq!(parse_link(format!("releases/{bad}").as_bytes()), None, "{bad}");
        }
        for bad in ["../releases", "/releases", "release"] {
            assert_eq!(parse_link(format!("{bad}/{id}").as_bytes()), None, "{bad}");
        }
    }
}
