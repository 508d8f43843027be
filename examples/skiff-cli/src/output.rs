//! Where results go: to files that are whole or not there, or to standard output.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::args::Output;
use crate::failure::Failure;

/// Where a result goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination<'p> {
    /// Standard output, which then has nothing else.
    Standard,
    /// A file.
    File(&'p Path),
}

impl<'p> Destination<'p> {
    /// Standard output where no path is given, or "-".
    ///
    /// # Errors
    /// Where the report is to go to standard output, too.
    pub(crate) fn new(path: Option<&'p Path>, print: Output) -> Result<Self, Failure> {
        match path.filter(|path| path.as_os_str() != "-") {
            Some(path) => Ok(Self::File(path)),
            None if print.json => Err(Failure::usage(
                "--json prints to standard output, where the result goes already: name a file for it",
            )),
            None => Ok(Self::Standard),
        }
    }

    pub(crate) fn is_standard(self) -> bool {
        matches!(self, Self::Standard)
    }

    /// Writes there. A file is written beside its place and renamed at the end.
    pub(crate) fn write<T>(
        self,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self {
            Self::File(path) => write_file(path, write),
            Self::Standard => {
                let failed = |error| Failure::io("writing to", Path::new("standard output"), error);
                // Past the buffer of `Stdout`, which looks for ends of lines.
                let output = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
                as_it_stands(File::from(output), write, failed)
            }
        }
    }
}

/// Writes beside the file and renames at the end, so that what stands under its name is whole. What is there and no file, such
/// as `/dev/null` or a pipe, is written to as it stands: renaming would replace it. A symbolic link is followed, and a file that
/// is replaced hands on its mode.
fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error| Failure::io("writing", path, error);
    let known = fs::metadata(path).ok();
    if known.as_ref().is_some_and(|known| !known.is_file()) {
        return as_it_stands(File::options().write(true).open(path).map_err(failed)?, write, failed);
    }
    let place = if known.is_some() { fs::canonicalize(path).map_err(failed)? } else { PathBuf::from(path) };
    let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside it under a name that nobody has; gone again if anything fails.
    let part = tempfile::Builder::new()
        .prefix(".skiff-")
        .suffix(".part")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(|error| Failure::io("writing", path, io::Error::from(error.kind())))?;
    let (file, part) = part.into_parts();
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let result = write(&mut out)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    if let Some(known) = known {
        file.set_permissions(known.permissions()).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    part.persist(&place).map_err(|error| failed(error.error))?;
    Ok(result)
}

fn as_it_stands<T>(
    file: File,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, Failure>,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<T, Failure> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let result = write(&mut out)?;
    out.flush().map_err(failed)?;
    Ok(result)
}
