//! What the program prints of what goes on.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use skiff_supervisor::Event;

/// A function that prints events: as JSON, or in words, with a bar where there is a terminal.
pub(crate) fn observer(is_json: bool) -> Box<dyn Fn(&Event) + Send + Sync> {
    if is_json {
        return Box::new(|event| {
            if let Ok(line) = serde_json::to_string(event) {
                let mut out = std::io::stdout().lock();
                // Whoever read it is gone; the device works on.
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        });
    }
    let bar = std::io::stderr().is_terminal().then(ProgressBar::no_length);
    if let Some(bar) = &bar {
        bar.set_style(style());
    }
    let bar = Mutex::new(bar);
    Box::new(move |event| {
        let bar = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (event, &*bar) {
            (Event::Phase { phase, total }, Some(bar)) => {
                bar.set_message(format!("{phase:?}").to_lowercase());
                bar.set_length(*total);
                bar.set_position(0);
            }
            (Event::Progress { done, total, .. }, Some(bar)) => {
                bar.set_length(*total);
                bar.set_position(*done);
            }
            (Event::Progress { .. }, None) => {}
            (event, Some(bar)) => bar.suspend(|| eprintln!("{}", words(event))),
            (event, None) => eprintln!("{}", words(event)),
        }
        let is_over = matches!(event, Event::Updated { .. } | Event::Alarm { .. } | Event::RolledBack { .. });
        if let Some(bar) = bar.as_ref().filter(|_| is_over) {
            bar.finish_and_clear();
            bar.reset();
        }
    })
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:12} [{bar:40}] {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn words(event: &Event) -> String {
    match event {
        Event::Online => "the server can be asked".into(),
        Event::Offline { cause } => format!("the server cannot be asked: {cause}"),
        Event::WrongValue { name, value, takes } => {
            format!("{name} takes {takes}, not {value:?}: its default counts")
        }
        Event::Recovered { what } => what.clone(),
        Event::Target { release } => format!("the server names release {release}"),
        Event::Phase { phase, total: 0 } => format!("{phase:?}").to_lowercase(),
        Event::Phase { phase, total } => format!("{}: {total} bytes", format!("{phase:?}").to_lowercase()),
        Event::Resumed { offset } => format!("the download goes on from byte {offset}"),
        Event::Retry { failure, cause, attempt, wait_ms } => {
            format!("{failure}: {cause}; try {attempt} again in {wait_ms} ms")
        }
        Event::FallBack { failure, cause } => format!("{failure}: {cause}; the whole image is pulled"),
        Event::Alarm { failure, cause, again_after_s: Some(seconds) } => {
            format!("ALARM: {failure}: {cause}; begun again in {seconds} s")
        }
        Event::Alarm { failure, cause, .. } => format!("ALARM: {failure}: {cause}"),
        Event::Held { release } => format!("{release} waits for the update lock"),
        Event::Started { release } => format!("{release} runs"),
        Event::Ended { release, how, wait_ms } => {
            format!("{release} ended: {how}; it is started again in {wait_ms} ms")
        }
        Event::Updated { release, by_delta, received } => {
            let by = if *by_delta { "a delta" } else { "a pull" };
            format!("updated to {release} by {by}: {received} bytes")
        }
        Event::RolledBack { from, to, cause } => format!("rolled back from {from} to {to}: {cause}"),
        other => format!("{other:?}"),
    }
}
