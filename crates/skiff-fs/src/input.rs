use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file that somebody named for reading, by whatever symbolic links; only a regular one. Nothing is waited for, whatever lies
/// there, and whatever is put there meanwhile.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_input(path: &Path) -> io::Result<File> {
    // Before it is opened: a device may do whatever devices do when they are.
    check(&std::fs::metadata(path)?)?;
    open(path)
}

/// Opens what lies there by now.
fn open(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, a named pipe would keep waiting for a writer.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).expect("because all flags of open are bits of an int");
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

fn check(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode};

    /// As if it had taken the place of a file that was looked at.
    #[test]
    fn a_named_pipe_keeps_nobody_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for open in [open, open_input] {
            let (told, opened) = mpsc::channel();
            let pipe = pipe.clone();
            std::thread::spawn(move || told.send(open(&pipe).map_err(|error| error.kind())));
            let opened = opened.recv_timeout(Duration::from_secs(60)).expect("it waits for a writer");
            assert_eq!(opened.unwrap_err(), io::ErrorKind::InvalidInput);
        }
        let error = open_input(directory.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }

    #[test]
    fn a_file_is_opened_by_a_link_too() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, none] = ["file", "link", "none"].map(|name| directory.path().join(name));
        std::fs::write(&file, b"ahoy").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let mut text = String::new();
        open_input(&link).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "ahoy");
        assert_eq!(open_input(&none).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
