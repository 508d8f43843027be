//! Progress bars: on a terminal, and nowhere else.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
