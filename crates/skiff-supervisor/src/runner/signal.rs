//! Signals as images name them.

use std::str::FromStr;

use rustix::process::Signal;

/// The first and the last of the real-time signals, as C libraries number them: the kernel has two more, which are theirs.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// The signal that asks a program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopSignal(i32);

impl Default for StopSignal {
    fn default() -> Self {
        Self(Signal::TERM.as_raw())
    }
}

impl StopSignal {
    pub(crate) fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = ();

    /// As container engines read it: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(number) = text.parse() {
            let is_known = Signal::from_named_raw(number).is_some() || REAL_TIME.contains(&number);
            return is_known.then_some(Self(number)).ok_or(());
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, signal)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Self(signal.as_raw()));
        }
        let offset = |text: &str, sign: char| match text {
            "" => Some(0),
            _ => text.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
        };
        let from_start = |text: &str| offset(text, '+').map(|offset| REAL_TIME.start() + offset);
        let from_end = |text: &str| offset(text, '-').map(|offset| REAL_TIME.end() - offset);
        let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => from_start(rest),
            (_, Some(rest)) => from_end(rest),
            _ => None,
        };
        number.filter(|number| REAL_TIME.contains(number)).map(Self).ok_or(())
    }
}

const NAMES: [(&str, Signal); 30] = [
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("BUS", Signal::BUS),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("IO", Signal::IO),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("POLL", Signal::IO),
    ("PROF", Signal::PROF),
    ("PWR", Signal::POWER),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("STOP", Signal::STOP),
    ("SYS", Signal::SYS),
    ("TERM", Signal::TERM),
    ("TRAP", Signal::TRAP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("VTALRM", Signal::VTALARM),
    ("WINCH", Signal::WINCH),
    ("XCPU", Signal::XCPU),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_signals() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("sigint", 2),
            ("9", 9),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("SIGRTMAX-14", 50),
            ("37", 37),
        ] {
            assert_eq!(text.parse::<StopSignal>().map(StopSignal::number), Ok(number), "{text}");
        }
        for bad in
            ["", "SIG", "0", "-1", "65", "33", "99999999999", "SIGRTMIN+31", "SIGRTMIN3", "RTMAX+1", "SIGFOO"]
        {
            assert_eq!(bad.parse::<StopSignal>(), Err(()), "{bad}");
        }
    }
}
