//! Progress bars: on a terminal, and nowhere else.

use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Output;
use crate::failure::Failure;

/// A bar that counts bytes, or nothing at all.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar with this label, unless it was not wanted or standard error is no terminal.
    pub(crate) fn new(output: Output, label: &'static str) -> Self {
        if output.quiet || output.json || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message(label);
        bar.set_style(style("{spinner} {msg:12} {bytes} {elapsed}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Some(bar))
    }

    /// So many bytes more are done.
    pub(crate) fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// There are so many bytes in all from here on, and none of them is done.
    pub(crate) fn expect(&self, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(0);
            bar.set_style(style("{msg:12} [{bar:40}] {bytes}/{total_bytes} {eta}"));
        }
    }

    /// The bar is about something else now.
    pub(crate) fn rename(&self, label: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_message(label);
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A stream that fails once a signal has come, and tells a bar of what passes.
pub(crate) struct Watched<'a, T> {
    pub(crate) inner: T,
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) bar: Option<&'a Bar>,
}

impl<T> Watched<'_, T> {
    fn pass(&mut self, pass: impl FnOnce(&mut T) -> io::Result<usize>) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let count = pass(&mut self.inner)?;
        if let Some(bar) = self.bar {
            bar.advance(count as u64);
        }
        Ok(count)
    }
}

impl<T: Read> Read for Watched<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pass(|inner| inner.read(buffer))
    }
}

impl<T: Seek> Seek for Watched<'_, T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl<T: Write> Write for Watched<'_, T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.pass(|inner| inner.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// A flag that SIGINT and SIGTERM set. A second signal ends the process at once, as it would without the flag.
pub(crate) fn cancel_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;

    let cancel = Arc::new(AtomicBool::new(false));
    let watch = |signal| {
        flag::register_conditional_default(signal, Arc::clone(&cancel))?;
        flag::register(signal, Arc::clone(&cancel))
    };
    match watch(SIGINT).and_then(|_| watch(SIGTERM)) {
        Ok(_) => Ok(cancel),
        Err(error) => Err(Failure::new(Failure::DEFECT, format!("watching for signals: {error}"))),
    }
}
