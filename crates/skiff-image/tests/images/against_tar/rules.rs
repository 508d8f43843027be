//! The kinds of differences from GNU tar, and why each is as it is.
//!
//! GNU tar fails by its exit status, whatever else it has extracted by then.

use skiff_testkit::{Layer, SparseFormat};
use skiff_tree::{Inode, Kind};

use super::Differs;

/// A kind of difference.
pub(super) struct Rule {
    pub(super) kind: &'static str,
    /// Why we do what we do.
    pub(super) why: &'static str,
    /// Whether a difference in what is made of an archive is of this kind.
    pub(super) applies: fn(&[u8], &Differs) -> bool,
    /// An archive that shows it.
    pub(super) example: fn() -> Vec<u8>,
}

fn root() -> Layer {
    Layer::new().directory("./")
}

/// Whether we refuse it in these words.
fn refused(differs: &Differs, words: &str) -> bool {
    matches!(differs, Differs::WeRefuse(said) if said.contains(words))
}

/// Whether tar fails, and one of its lines is such a one.
fn tar_lines(differs: &Differs, is_it: impl Fn(&str) -> bool) -> bool {
    matches!(differs, Differs::TarRefuses(said) if said.lines().any(is_it))
}

/// Both sides of an entry that is on both.
fn both(differs: &Differs) -> Option<(&Inode, &Inode)> {
    match differs {
        Differs::Entry(Some(ours), Some(theirs)) => Some((ours.as_inode()?, theirs.as_inode()?)),
        _ => None,
    }
}

fn only_the_time_of_a_directory(differs: &Differs) -> bool {
    both(differs).is_some_and(|(ours, theirs)| {
        let mut as_theirs = ours.clone();
        as_theirs.metadata.mtime = theirs.metadata.mtime;
        matches!(ours.kind, Kind::Directory) && as_theirs == *theirs
    })
}

fn only_attributes_of_users(differs: &Differs) -> bool {
    both(differs).is_some_and(|(ours, theirs)| {
        let mut as_theirs = ours.clone();
        as_theirs.metadata.xattrs.retain(|name, _| !name.starts_with(b"user."));
        !matches!(ours.kind, Kind::File(_) | Kind::Directory) && as_theirs == *theirs
    })
}

fn only_the_target_of_a_link(differs: &Differs) -> bool {
    both(differs).is_some_and(|(ours, theirs)| {
        let are_links = matches!((&ours.kind, &theirs.kind), (Kind::Symlink(_), Kind::Symlink(_)));
        are_links && ours.metadata == theirs.metadata
    })
}

/// Whether tar's directory has attributes that ours has not, and is otherwise the same.
fn has_attributes_left(differs: &Differs) -> bool {
    both(differs).is_some_and(|(ours, theirs)| {
        let mut as_ours = theirs.clone();
        as_ours.metadata.xattrs.retain(|name, _| ours.metadata.xattrs.contains_key(name));
        matches!(ours.kind, Kind::Directory) && as_ours == *ours
    })
}

/// Whether a file is longer than tar's, and otherwise the same.
fn is_longer(differs: &Differs) -> bool {
    both(differs).is_some_and(|(ours, theirs)| match (&ours.kind, &theirs.kind) {
        (Kind::File(our_content), Kind::File(their_content)) => {
            ours.metadata == theirs.metadata && our_content.size > their_content.size
        }
        _ => false,
    })
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        kind: "we refuse a single block of zeros between members",
        why: "GNU tar warns and reads on, others end there: what comes after it would be hidden from the one or the other",
        applies: |_, differs| refused(differs, "a single block of zeros stands between members"),
        example: || root().file("a", b"").raw(vec![0; 512]).file("b", b"").to_tar(),
    },
    Rule {
        kind: "we refuse an archive without its end",
        why: "GNU tar takes it as it is; without the two blocks of zeros, and with no digest beside it, nothing tells a whole archive from one that was cut off between members",
        applies: |_, differs| refused(differs, "it ends without the two blocks of zeros"),
        example: || root().file("a", b"").to_cut_tar(),
    },
    Rule {
        kind: "we refuse an archive without members",
        why: "GNU tar extracts nothing; a file of zeros is no file system",
        applies: |_, differs| refused(differs, "it has no entries"),
        example: || Layer::new().to_tar(),
    },
    Rule {
        kind: "we refuse members of unknown types",
        why: "GNU tar extracts them as files with a warning, and skips its own volume labels; none has a meaning in an image",
        applies: |_, differs| refused(differs, "have no meaning in an image"),
        example: || root().typed("a", b'Z').to_tar(),
    },
    Rule {
        kind: "we refuse records for all members",
        why: "GNU tar applies them, Go ignores them: a layer would mean two things",
        applies: |_, differs| refused(differs, "is for all members, and readers differ"),
        example: || root().file("PaxHeader", b"10 path=d\n").entry_type(b'g').file("a", b"").to_tar(),
    },
    Rule {
        kind: "we refuse a size that contradicts its header",
        why: "GNU tar takes the record, others the header, and what the one takes for content are members for the other (CVE-2025-62518)",
        applies: |_, differs| refused(differs, "readers differ in which one counts"),
        example: || root().file("a", b"12345").declared_size(0).pax("size", "5").to_tar(),
    },
    Rule {
        kind: "we refuse content of what is no file",
        why: "GNU tar skips it, others take what follows for members",
        applies: |_, differs| refused(differs, "it is no file but declares content"),
        example: || root().directory("d").declared_size(512).file("b", b"").to_tar(),
    },
    Rule {
        kind: "we refuse a file whose name ends with a slash",
        why: "GNU tar makes a directory of it, others a file",
        applies: |_, differs| refused(differs, "a file whose name ends with a slash"),
        example: || root().file("a/", b"").to_tar(),
    },
    Rule {
        kind: "we refuse two PAX headers for one member",
        why: "GNU tar takes the last, others add them up",
        applies: |_, differs| refused(differs, "two PAX headers describe one member"),
        example: || root().typed("x", b'x').file("a", b"").pax("uid", "7").to_tar(),
    },
    Rule {
        kind: "we refuse two GNU headers for one name",
        why: "GNU tar takes the last; one of them is there to mislead",
        applies: |_, differs| refused(differs, "two GNU headers give"),
        example: || {
            root()
                .file("././@LongLink", b"x\0")
                .entry_type(b'L')
                .file("././@LongLink", b"y\0")
                .entry_type(b'L')
                .file("a", b"")
                .to_tar()
        },
    },
    Rule {
        kind: "we refuse a GNU header that says otherwise than a PAX header",
        why: "which one counts depends on the reader",
        applies: |_, differs| refused(differs, "is one thing in a GNU header and another in a PAX"),
        example: || {
            root().file("././@LongLink", b"x\0").entry_type(b'L').file("a", b"").pax("path", "y").to_tar()
        },
    },
    Rule {
        kind: "we refuse a part of a block at the end",
        why: "GNU tar leaves it aside; an archive consists of blocks, and so this one was cut off",
        applies: |archive, differs| (refused(differs, "it is cut off")) && archive.len() % 512 != 0,
        example: || {
            let mut tar = root().file("a", b"").to_cut_tar();
            tar.push(0);
            tar
        },
    },
    Rule {
        kind: "we refuse a header for a member that does not come",
        why: "GNU tar leaves it aside; an archive that ends so was cut off",
        applies: |_, differs| refused(differs, "it ends after a header that describes a further member"),
        example: || root().typed("x", b'x').to_tar(),
    },
    Rule {
        kind: "we refuse records that are no numbers",
        why: "GNU tar takes a number as far as it goes, others refuse it",
        applies: |_, differs| refused(differs, "cannot be \""),
        example: || root().file("a", b"").pax("mtime", "1e3").to_tar(),
    },
    Rule {
        kind: "we refuse the last user and group",
        why: "to Linux the number stands for no change, and GNU tar changes nothing then",
        applies: |_, differs| refused(differs, "is not a number below 4294967295"),
        example: || root().file("a", b"").pax("uid", "4294967295").to_tar(),
    },
    Rule {
        kind: "we refuse what is no record between records",
        why: "GNU tar leaves the rest of the header aside, others refuse it",
        applies: |_, differs| {
            refused(differs, "a PAX record is longer than")
                || refused(differs, "a PAX record has no length")
                || refused(differs, "a PAX record does not end where")
                || refused(differs, "a PAX record's length is not")
        },
        example: || root().file("PaxHeader", [0; 5]).entry_type(b'x').file("a", b"").to_tar(),
    },
    Rule {
        kind: "we refuse names with a NUL byte",
        why: "GNU tar cuts them off there, others refuse them",
        applies: |_, differs| refused(differs, "NUL byte"),
        example: || root().file("a", b"").pax("path", b"b\0c").to_tar(),
    },
    Rule {
        kind: "we refuse sparse files of which records are missing",
        why: "GNU tar takes them for files of what is stored, others for other files",
        applies: |_, differs| refused(differs, "in a format other than 0.0, 0.1 and 1.0"),
        example: || {
            root()
                .file("a", b"")
                .pax("GNU.sparse.minor", "0")
                .pax("GNU.sparse.name", "a")
                .pax("GNU.sparse.realsize", "0")
                .to_tar()
        },
    },
    Rule {
        kind: "we refuse a GNU sparse file in a header that is not GNU's",
        why: "GNU tar takes the map from it all the same, others refuse it",
        applies: |_, differs| refused(differs, "in a format that has none"),
        example: || root().file("a", b"").entry_type(b'S').to_tar(),
    },
    Rule {
        kind: "we refuse records of a sparse file in front of a header that is not PAX's",
        why: "GNU tar looks for the map where the header's own format has it, others in the records: the content is another",
        applies: |_, differs| refused(differs, "readers differ in whether that is a sparse file"),
        example: || {
            root()
                .sparse_file(
                    "a",
                    SparseFormat::Pax10,
                    &[(0, &[b's'; 512]), (1024, b"end"), (1027, b"")],
                    1027,
                )
                .binary_numbers()
                .to_tar()
        },
    },
    Rule {
        kind: "we refuse numbers of headers that are none",
        why: "GNU tar makes something of them, mostly nothing, others refuse them",
        applies: |_, differs| {
            refused(differs, "without sign")
                || refused(differs, "is not a number of 64 bits")
                || refused(differs, "does not have 32 bits")
        },
        example: || {
            root()
                .file("a", b"")
                .patch(|header| header[124..136].copy_from_slice(b"\0\0\0\0\x80\0\0\0\0\0\0\0"))
                .to_tar()
        },
    },
    Rule {
        kind: "GNU tar refuses records without a value",
        why: "POSIX, pax: \"If the <value> field is zero length, it shall delete any [...] previously entered extended header value\"",
        applies: |_, differs| {
            tar_lines(differs, |line| {
                line.contains("Malformed extended header: invalid ") && line.ends_with('=')
                    || line.contains("for empty hard link target")
                    || line.contains("symlink to ‘’")
            })
        },
        example: || root().file("a", b"").pax("mtime", "").to_tar(),
    },
    Rule {
        kind: "GNU tar takes the root where a record says that there is no name",
        why: "POSIX, pax, as above: the header's name counts; so it does for Go, and thus for container engines",
        applies: |archive, differs| {
            let is_there = archive.windows(8).any(|bytes| bytes == b"8 path=\n");
            is_there && matches!(differs, Differs::Entry(Some(_), None))
        },
        example: || root().directory("d").pax("path", "").to_tar(),
    },
    Rule {
        kind: "GNU tar refuses a header's time where a record has another",
        why: "the record counts, for GNU tar as well; what it replaces says nothing",
        applies: |_, differs| tar_lines(differs, |line| line.contains("value is out of time_t range")),
        example: || {
            root()
                .file("a", b"")
                .pax("mtime", "1")
                .patch(|header| {
                    header[136] = 0x80;
                    header[137..148].fill(0xff);
                })
                .to_tar()
        },
    },
    Rule {
        kind: "GNU tar refuses times of access and change that are none",
        why: "no image has those times, and nobody looks at them",
        applies: |_, differs| {
            tar_lines(differs, |line| line.contains("invalid atime=") || line.contains("invalid ctime="))
        },
        example: || root().file("a", b"").pax("atime", "x").to_tar(),
    },
    Rule {
        kind: "GNU tar does not replace a directory with something in it",
        why: "the image specification: an entry takes the place of what was at its path, whatever it was",
        applies: |_, differs| {
            tar_lines(differs, |line| line.ends_with(": File exists") || line.ends_with(": Cannot open"))
        },
        example: || root().directory("d").file("d/a", b"").file("d", b"").to_tar(),
    },
    Rule {
        kind: "GNU tar refuses blank numbers",
        why: "old archives have them, and for other readers they are zero",
        applies: |_, differs| tar_lines(differs, |line| line.contains("Blanks in header where numeric")),
        example: || root().file("a", b"").patch(|header| header[100..108].fill(b' ')).to_tar(),
    },
    Rule {
        kind: "GNU tar changes a directory after giving it its time",
        why: "it gives a directory its time as soon as a member comes whose name is not spelled as beneath it; files that follow change it again",
        applies: |_, differs| only_the_time_of_a_directory(differs),
        example: || root().directory("./a/").file("/a/b", b"1").file("a//./c", b"2").to_tar(),
    },
    Rule {
        kind: "GNU tar warns of attributes that the kernel does not take there",
        why: "Linux has attributes of users for files and directories alone; a tree has what the image says, and a store tells before it stages what it cannot hold",
        applies: |_, differs| only_attributes_of_users(differs),
        example: || root().symlink("l", "x").xattr("user.x", "1").to_tar(),
    },
    Rule {
        kind: "GNU tar knows no whiteouts",
        why: "a `tar:` is read as one layer, in which they hide; this is documented",
        applies: |archive, _| archive.windows(4).any(|bytes| bytes == b".wh."),
        example: || root().file(".wh.a", b"").to_tar(),
    },
    Rule {
        kind: "GNU tar ends a sparse file where its last piece ends",
        why: "it writes a last piece of no bytes for the hole at the end; where that is missing, Go and the engines built on it go by the size that is told, as we do",
        applies: |_, differs| is_longer(differs),
        example: || root().sparse_file("a", SparseFormat::Pax01, &[(4, b"x")], 9).to_tar(),
    },
    Rule {
        kind: "we refuse members without a name",
        why: "GNU tar takes the root for them, others refuse them",
        applies: |_, differs| refused(differs, "its name or link target is empty"),
        example: || root().file("././@LongLink", b"\0").entry_type(b'L').directory("a").to_tar(),
    },
    Rule {
        kind: "we refuse devices in headers that have no numbers for them",
        why: "GNU tar makes devices 0:0 of them, others take numbers from where others have other things",
        applies: |_, differs| refused(differs, "in a format that has no device numbers"),
        example: || root().character_device("a", 1, 3).patch(|header| header[257..265].fill(0)).to_tar(),
    },
    Rule {
        kind: "we refuse hard links to themselves",
        why: "GNU tar leaves what is there; others remove it first, and then it is gone",
        applies: |_, differs| refused(differs, "which it replaces"),
        example: || root().file("a", b"1").hard_link("a", "a").to_tar(),
    },
    Rule {
        kind: "we refuse maps of sparse files that do not fit what is stored",
        why: "GNU tar makes of them what it can, others refuse them",
        applies: |_, differs| {
            refused(differs, "and 0 are stored")
                || refused(differs, "bytes, and ")
                || refused(differs, "its map is ")
                || refused(differs, "its pieces overlap")
                || refused(differs, "it is a sparse file whose size is missing")
                || refused(differs, "of two kinds, and is said to be sparse")
                || refused(differs, "its map ends with")
        },
        example: || {
            let hole = root().sparse_file("a", SparseFormat::Gnu, &[(700, b"")], 700).declared_size(1024);
            hole.raw(vec![b'x'; 1024]).to_tar()
        },
    },
    Rule {
        kind: "GNU tar does not write through links that lead upwards, nowhere, in circles, or from the root",
        why: "it makes such links last, so that nothing is written through them; here they lead where they lead in the image, and never out of it",
        applies: |_, differs| {
            tar_lines(differs, |line| {
                line.ends_with(": Too many levels of symbolic links")
                    || line.ends_with(": No such file or directory")
                    || line.ends_with(": Not a directory")
            })
        },
        example: || root().symlink("l", "/d").file("l/a", b"").to_tar(),
    },
    Rule {
        kind: "GNU tar refuses modes of more than 32 bits",
        why: "only twelve bits of a mode are a mode; other readers leave the rest aside, too",
        applies: |_, differs| tar_lines(differs, |line| line.contains("where numeric mode_t value expected")),
        example: || root().file("a", b"").patch(|header| header[100] = 0x90).to_tar(),
    },
    Rule {
        kind: "GNU tar keeps the attributes of a directory that comes again",
        why: "the image specification: \"the existing path's attributes MUST be replaced by those of the entry in the changeset\"",
        applies: |_, differs| has_attributes_left(differs),
        example: || root().directory("d").xattr("trusted.x", "1").directory("d").to_tar(),
    },
    Rule {
        kind: "GNU tar takes the first of two links of one name that it makes last",
        why: "the image specification: of a path the last entry counts; tar knows the two by the file that it keeps in their place until then, which may be the same one",
        applies: |_, differs| only_the_target_of_a_link(differs),
        example: || root().symlink("l", "/a").symlink("l", "/b").to_tar(),
    },
];
