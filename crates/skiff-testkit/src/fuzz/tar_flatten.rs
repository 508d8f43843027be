use std::fs::File;
use std::path::Path;

use skiff_fs::Control;
use skiff_image::{FlatImage, FlattenOptions, Image, ImageError, ImageRef, Limits, OpenOptions, write_tar};
use skiff_tree::{ContentDigest, ContentSource, read_all};

use super::Reached;
use super::input::Input;
use crate::{Encoding, write_docker_archive};

/// More bytes than layers may have here, uncompressed.
const LAYER_BYTES: u64 = 1 << 20;

/// Two layers of an image laid over each other: the first byte tells how they are compressed, and whether the checksums of
/// their headers are mended first.
///
/// What comes out is a sound tree within the limits; every content is as its tree says; and written as an archive it is read
/// back as the same tree.
///
/// # Panics
/// Where one of these does not hold, or no temporary file can be written.
pub fn tar_flatten(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let head = usize::from(input.byte());
    let mut layers = [input.part().to_vec(), input.rest().to_vec()];
    if head >= 128 {
        layers.iter_mut().for_each(|layer| mend(layer));
    }
    let encoding = Encoding::ALL[head % Encoding::ALL.len()];
    let image = layers.into_iter().fold(crate::Image::new(), |image, layer| image.raw_layer(layer, encoding));

    let directory = tempfile::tempdir().expect("because a directory can be made");
    let archive = directory.path().join("image.tar");
    write_docker_archive(&archive, &[(&["fuzz:latest"], &image)]);
    let Some(flat) = flatten("docker-archive", &archive) else { return Reached::Refused };
    check(&flat);

    let again = directory.path().join("again.tar");
    let out = File::create(&again).expect("because a file can be made");
    match write_tar(&flat.tree, &flat.contents, out, Control::default()) {
        // No archive holds the largest device numbers.
        Err(ImageError::Unsupported { .. }) => return Reached::Accepted,
        written => written.expect("because everything else can be written"),
    }
    let again = flatten("tar", &again).expect("because a tree's archive can be read");
    assert_eq!(again.tree, flat.tree, "a tree written as an archive reads as another");
    Reached::Accepted
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.entries, limits.names, limits.extension) = (2_000, 256 << 10, 64 << 10);
    (limits.sparse_pieces, limits.layer_bytes) = (100, LAYER_BYTES);
    limits
}

fn flatten(transport: &str, archive: &Path) -> Option<FlatImage> {
    let reference: ImageRef =
        format!("{transport}:{}", archive.display()).parse().expect("because the path is plain");
    // What was written as an archive takes more than the layers it came from: headers of its own.
    let limits = if transport == "tar" { Limits::default() } else { limits() };
    let image =
        Image::open(&reference, &OpenOptions::default()).expect("because all but the layers is sound");
    match image.flatten(&FlattenOptions::default().with_limits(limits)) {
        Ok(flat) => Some(flat),
        Err(
            error @ (ImageError::Io { .. } | ImageError::DigestMismatch { .. } | ImageError::Interrupted(_)),
        ) => {
            panic!("only layers can be at fault: {error}")
        }
        Err(_) => None,
    }
}

fn check(flat: &FlatImage) {
    assert!(flat.tree.entries().len() as u64 <= limits().entries, "more entries than the limit");
    assert!(flat.tree.distinct_content_bytes() <= 2 * LAYER_BYTES, "more content than the layers have");
    for (_, entry, told) in flat.tree.files() {
        let content = flat.contents.open(&entry.path).expect("because every file has a content");
        let content = read_all(&content).expect("because it was read before");
        assert_eq!((content.len() as u64, ContentDigest::of(&content)), (told.size, told.digest));
    }
}

/// Makes the checksums of an archive's headers right, as far as it can be followed.
fn mend(archive: &mut [u8]) {
    let mut rest = archive;
    while rest.len() >= 512 {
        let (header, after) = rest.split_at_mut(512);
        if header.iter().all(|&byte| byte == 0) {
            // The end of the archive.
            return;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = digits
            .fold(0_usize, |size, digit| size.saturating_mul(8).saturating_add(usize::from(digit - b'0')));
        let skipped = size.saturating_add(511) / 512 * 512;
        rest = if skipped <= after.len() { &mut after[skipped..] } else { &mut [] };
    }
}
