//! What is kept from release to release, and what of the system is seen in the container.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use skiff_fs::{
    Control, DirectoryContents, EntryType, FsError, Ownership, ReadOptions, Rename, Root, WriteOptions,
    read_tree, write_tree,
};
use skiff_tree::{ContentDigest, EntryPath};

use super::super::image::ImageConfig;
use super::super::record::canonical;
use super::super::{RunnerError, lookup};
use super::{Access, Bind, Network, RuncOptions, layout};

/// What is mounted in a container, by where; a directory comes before what lies in it.
pub(crate) type Binds = BTreeMap<EntryPath, Bind>;

/// What a container gets to see: the files of the system that the network asks for, the image's volumes, and, in their place and
/// beside them, what the options name.
pub(crate) fn binds(
    options: &RuncOptions,
    image: &ImageConfig,
    (state, rootfs): (&Root, &Root),
) -> Result<Binds, RunnerError> {
    let mut binds = Binds::new();
    if options.network == Network::Host {
        for file in ["etc/resolv.conf", "etc/hosts"] {
            if let Ok(source) = fs::canonicalize(Path::new("/").join(file)) {
                binds.insert(layout::path(file), Bind::new(source, format!("/{file}"), Access::ReadOnly));
            }
        }
    }
    let mut given = Binds::new();
    if let Some(lock) = &options.update_lock {
        fs::create_dir_all(&lock.source).map_err(RunnerError::io("making directory", &lock.source))?;
    }
    for bind in options.binds.iter().chain(&options.update_lock) {
        let source = canonical(&bind.source)?;
        given.insert(inside(&bind.destination)?, Bind { source, ..bind.clone() });
    }
    for volume in image.volumes() {
        let at = inside(volume)?;
        if !given.contains_key(&at) {
            let source = volume_directory(state, rootfs, &at)?;
            binds.insert(at, Bind::new(source, volume, Access::ReadWrite));
        }
    }
    binds.extend(given);
    Ok(binds)
}

/// A path inside a container, which cannot be its root.
pub(crate) fn inside(path: &str) -> Result<EntryPath, RunnerError> {
    match clean(path)? {
        inside if path.starts_with('/') && !inside.is_root() => Ok(inside),
        _ => {
            let what =
                format!("nothing can be mounted at {path:?}; it takes an absolute path, and not the root");
            Err(RunnerError::Config { what })
        }
    }
}

/// A path by its components, `..` taken as what is written leads to.
pub(crate) fn clean(path: &str) -> Result<EntryPath, FsError> {
    let components = path.split('/').filter(|component| !matches!(*component, "" | "."));
    components.into_iter().try_fold(EntryPath::root(), |at, component| match component {
        ".." => Ok(at.parent().unwrap_or(at)),
        component => layout::join(&at, component.as_bytes()),
    })
}

/// Where a volume lies. On its first use it is filled with what the image has there.
fn volume_directory(state: &Root, rootfs: &Root, at: &EntryPath) -> Result<PathBuf, FsError> {
    let name = escape(at);
    let volumes = layout::path(layout::VOLUMES);
    let volume = volumes.join(name.as_bytes())?;
    state.ensure_directory(&volumes)?;
    if state.entry_type(&volume)?.is_some() {
        return Ok(state.display(&volume));
    }
    let filling = layout::path(layout::FILLING);
    let new = filling.join(name.as_bytes())?;
    state.ensure_directory(&filling)?;
    // What a cut left.
    state.remove(&new, &Control::default())?;
    state.make_directory(&new)?;
    let new_root = state.descend(&new)?;
    let image_has = lookup::resolve(rootfs, at.as_bytes())?;
    if rootfs.entry_type(&image_has)? == Some(EntryType::Directory) {
        let tree = read_tree(&rootfs.descend(&image_has)?, &ReadOptions::default())?;
        let contents = DirectoryContents::new(rootfs.descend(&image_has)?);
        let options = WriteOptions::default().with_ownership(Ownership::of_this_process());
        write_tree(&new_root, &tree, &contents, &options)?;
    } else {
        fs::set_permissions(new_root.path(), fs::Permissions::from_mode(0o755)).map_err(|source| {
            FsError::Io { op: "setting the mode of", path: new_root.path().into(), source }
        })?;
    }
    // A volume that is there is whole: it is never filled again.
    new_root.sync_file_system()?;
    state.rename(&new, &volume, Rename::Replace)?;
    state.sync_directory(&volumes)?;
    Ok(state.display(&volume))
}

/// A path as one name, which no other path has.
fn escape(path: &EntryPath) -> String {
    /// With room for a digest in the 255 bytes that a name may have.
    const MAX: usize = 180;
    let mut name = String::new();
    for &byte in path.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(byte.into()),
            _ => write!(name, "%{byte:02X}").expect("because a string takes whatever is written"),
        }
    }
    if name.len() > MAX {
        name.truncate(MAX);
        // No short name has two percent signs in a row.
        write!(name, "%%{}", ContentDigest::of(path.as_bytes()))
            .expect("because a string takes whatever is written");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_volumes_are_plain_and_their_own() {
        let name = |text: &str| escape(&EntryPath::new(text).unwrap());
        assert_eq!(name("var/lib/app-data_1.0"), "var%2Flib%2Fapp-data_1.0");
        assert_eq!(name("a%2Fb"), "a%252Fb");
        assert_eq!(name("ä"), "%C3%A4");
        let (long, other) = ("d/".repeat(300) + "a", "d/".repeat(300) + "b");
        assert!(name(&long).len() <= 255 && name(&long) != name(&other));
    }

    #[test]
    fn mount_points_are_absolute_and_not_the_root() {
        assert_eq!(inside("/srv//data/./").unwrap().as_bytes(), b"srv/data");
        assert_eq!(inside("/../srv/x/../data").unwrap().as_bytes(), b"srv/data");
        for bad in ["", "/", "srv", "/.", "/srv/..", "./srv"] {
            assert!(matches!(inside(bad), Err(RunnerError::Config { .. })), "{bad}");
        }
        assert!(inside(&format!("/{}", "a".repeat(256))).is_err());
    }

    #[test]
    fn a_volume_is_filled_once() {
        let (state, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (data, moved) = (image.path().join("srv/data"), image.path().join("data"));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("seed"), "of the image").unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink("/srv/data", moved).unwrap();
        let (state, rootfs) = (Root::open(state.path()).unwrap(), Root::open(image.path()).unwrap());
        // A cut left half of it.
        let filling = state.path().join("filling/data");
        fs::create_dir_all(&filling).unwrap();
        fs::write(filling.join("half"), "").unwrap();

        let at = EntryPath::new("data").unwrap();
        let volume = volume_directory(&state, &rootfs, &at).unwrap();
        assert_eq!(fs::read_to_string(volume.join("seed")).unwrap(), "of the image");
        assert!(!volume.join("half").exists() && !filling.exists());
        assert_eq!(fs::metadata(&volume).unwrap().permissions().mode() & 0o777, 0o750);
        fs::write(volume.join("seed"), "changed").unwrap();
        fs::write(data.join("more"), "").unwrap();
        assert_eq!(volume_directory(&state, &rootfs, &at).unwrap(), volume);
        assert!(
            fs::read_to_string(volume.join("seed")).unwrap() == "changed" && !volume.join("more").exists()
        );

        let empty = volume_directory(&state, &rootfs, &EntryPath::new("none").unwrap()).unwrap();
        assert_eq!(fs::metadata(&empty).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    }
}
