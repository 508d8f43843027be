use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{BlobDigest, ImageError};

/// Where an image is, spelled as skopeo spells it.
///
/// | spelled | is |
/// |---|---|
/// | `oci:DIRECTORY[:TAG]` | an OCI layout |
/// | `oci-archive:FILE[:TAG]` | an OCI layout in a tar archive |
/// | `docker-archive:FILE[:NAME[:TAG]]` | what `docker save` writes |
/// | `tar:FILE` | a root file system in a tar archive, as `docker export` writes it |
/// | `rootfs:DIRECTORY` | a root file system in a directory |
///
/// As in skopeo, the first `:` after a path of the first three ends it, so that those paths cannot hold one, and `@N` in
/// place of a tag or name takes the image at that position, from 0, and `@sha256:DIGEST` the one whose manifest has that digest. Those of the last two can. Archives may be compressed with
/// gzip, zstd or xz.
///
/// ```
/// use skiff_image::{ImageRef, Selection};
///
/// let reference: ImageRef = "docker-archive:saved.tar:alpine:3.22".parse()?;
/// let name = Selection::Name("alpine:3.22".into());
/// assert_eq!(reference, ImageRef::DockerArchive { file: "saved.tar".into(), image: Some(name) });
/// assert_eq!(reference.to_string(), "docker-archive:saved.tar:alpine:3.22");
/// # Ok::<(), skiff_image::ImageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageRef {
    /// An OCI layout.
    Oci {
        /// The directory that `index.json` is in.
        directory: PathBuf,
        /// Which image: by its tag (`org.opencontainers.image.ref.name`) or position; the only one, if not given.
        image: Option<Selection>,
    },
    /// An OCI layout in a tar archive.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// Which image: by its tag (`org.opencontainers.image.ref.name`) or position; the only one, if not given.
        image: Option<Selection>,
    },
    /// An archive as `docker save` writes it.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// Which image: by one of its names or position; the only one, if not given.
        image: Option<Selection>,
    },
    /// A root file system in a tar archive.
    Tar {
        /// The archive.
        file: PathBuf,
    },
    /// A root file system in a directory.
    Rootfs {
        /// The directory.
        directory: PathBuf,
    },
}

/// Which image of several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selection {
    /// The one with this tag or name.
    Name(String),
    /// The one at this position, counted from 0: spelled `@N`.
    Index(usize),
    /// The one whose manifest has this digest, whether the layout's index names it or not: spelled `@sha256:` and 64 hexadecimal
    /// digits. Of an OCI layout only.
    Digest(BlobDigest),
}

const FORMS: &str = "it is one of oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME[:TAG]], tar:FILE, rootfs:DIRECTORY";

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |what: String| ImageError::Reference { text: text.into(), what };
        let Some((transport, rest)) = text.split_once(':') else {
            return Err(refuse(FORMS.into()));
        };
        let (path, image) = match transport {
            "tar" | "rootfs" => (rest, None),
            "oci" | "oci-archive" | "docker-archive" => match rest.split_once(':') {
                Some((path, image)) => (path, Some(selection(image).map_err(refuse)?)),
                None => (rest, None),
            },
            _ => return Err(refuse(format!("{transport:?} is not a transport that is known here; {FORMS}"))),
        };
        if path.is_empty() {
            return Err(refuse(format!("the path is missing; {FORMS}")));
        }
        let path = PathBuf::from(path);
        Ok(match transport {
            "oci" => Self::Oci { directory: path, image },
            "oci-archive" => Self::OciArchive { file: path, image },
            "docker-archive" => Self::DockerArchive { file: path, image },
            "tar" => Self::Tar { file: path },
            _ => Self::Rootfs { directory: path },
        })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, image) = match self {
            Self::Oci { directory, image } => ("oci", directory, image.as_ref()),
            Self::OciArchive { file, image } => ("oci-archive", file, image.as_ref()),
            Self::DockerArchive { file, image } => ("docker-archive", file, image.as_ref()),
            Self::Tar { file } => ("tar", file, None),
            Self::Rootfs { directory } => ("rootfs", directory, None),
        };
        write!(f, "{transport}:{}", path.display())?;
        image.map_or(Ok(()), |image| write!(f, ":{image}"))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "@{index}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

fn selection(text: &str) -> Result<Selection, String> {
    let digits = match text.strip_prefix('@') {
        _ if text.is_empty() => {
            return Err("nothing follows the last \":\"; leave it out, or name an image".into());
        }
        None => return Ok(Selection::Name(text.into())),
        Some(digits) => digits,
    };
    if digits.starts_with("sha256:") {
        return digits
            .parse()
            .map(Selection::Digest)
            .map_err(|error: skiff_wire::DigestParseError| error.to_string());
    }
    // `parse` alone would take a sign too.
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    let index = digits.parse().ok().filter(|_| digits_only);
    index
        .map(Selection::Index)
        .ok_or_else(|| format!("{text:?} is not a position: it takes a number, as in @0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_is_shown_again() {
        for text in [
            "oci:dir",
            "oci:/a/dir:v1.2",
            "oci:dir:name/with:colon",
            "oci-archive:f.tar:@3",
            "oci:dir:@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "docker-archive:f.tar:registry:5000/a/b:tag",
            "tar:with:colon.tar",
            "rootfs:/a:b",
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
        let oci = ImageRef::Oci { directory: "a".into(), image: Some(Selection::Name("b:c".into())) };
        assert_eq!("oci:a:b:c".parse::<ImageRef>().unwrap(), oci);
    }

    #[test]
    fn what_is_refused_says_what_is_known() {
        for text in [
            "",
            "alpine",
            "docker://alpine",
            "oci:",
            "oci::tag",
            "oci:dir:",
            "oci:dir:@",
            "oci:dir:@x",
            "oci:dir:@sha256:ba78",
            "tar:",
        ] {
            let error = text.parse::<ImageRef>().unwrap_err();
            assert!(matches!(error, ImageError::Reference { .. }), "{text}: {error}");
        }
        let error = "docker://alpine".parse::<ImageRef>().unwrap_err().to_string();
        assert!(error.contains("oci-archive:FILE") && error.contains("\"docker\" is not"), "{error}");
    }
}
