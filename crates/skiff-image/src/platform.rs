//! Kinds of machines, and which images run on them.

use std::fmt;
use std::str::FromStr;

use crate::ImageError;

/// A kind of machine, in Go's words, as images have them.
///
/// Spelled `OS/ARCH[/VARIANT]`, as in `linux/arm/v7`. The names that other tools have for processors are taken too, and what is
/// shown is Go's name: `linux/aarch64` is `linux/arm64`.
///
/// ```
/// let platform: skiff_image::Platform = "linux/arm64/v8".parse()?;
/// assert_eq!((&platform.os[..], &platform.architecture[..]), ("linux", "arm64"));
/// // What every arm64 is need not be said.
/// assert_eq!(platform.to_string(), "linux/arm64");
/// # Ok::<(), skiff_image::ImageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// The operating system: `linux`.
    pub os: String,
    /// The processor: `amd64`, `arm64`, `arm`, ...
    pub architecture: String,
    /// The processor's variant, such as `v6`; none is `v8` of arm64, `v7` of arm, and `v1` of amd64.
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on this machine's processor.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "loongarch64" => "loong64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "mips" if cfg!(target_endian = "little") => "mipsle",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: None }.normalized()
    }

    /// The same platform, spelled as containerd's `platforms.Normalize` spells it, but that a variant that goes without saying
    /// is none.
    pub(crate) fn normalized(&self) -> Self {
        let os = match self.os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".into(),
            os => os,
        };
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.as_deref().unwrap_or_default().to_ascii_lowercase();
        let variant = match variant.as_bytes() {
            // ARM's versions with and without their letter.
            [b'5'..=b'9', ..] if matches!(&architecture[..], "arm" | "arm64" | "aarch64") => {
                format!("v{variant}")
            }
            _ => variant,
        };
        let (architecture, variant) = match (&architecture[..], &variant[..]) {
            ("i386" | "386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "v8" | "v8.0") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "v7") => ("arm", ""),
            ("armel", _) => ("arm", "v6"),
            other => other,
        };
        let variant = (!variant.is_empty()).then(|| variant.to_owned());
        Self { os, architecture: architecture.to_owned(), variant }
    }

    /// How well an image for `offered` suits a machine of this platform, 0 being best; none where it does not run on it.
    ///
    /// A processor runs what is for earlier versions of itself, and the latest of those suits it best. Images for other
    /// processors that some can run too (386 on amd64, arm on arm64) are for whoever names them.
    pub(crate) fn suits(&self, offered: &Self) -> Option<u32> {
        let (wanted, offered) = (self.normalized(), offered.normalized());
        if (&wanted.os, &wanted.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        if wanted.variant == offered.variant {
            return Some(0);
        }
        let version = |platform: &Self| version(&platform.architecture, platform.variant.as_deref());
        let (wanted, offered) = (version(&wanted)?, version(&offered)?);
        wanted.checked_sub(offered)
    }
}

/// The version of a processor: a number that is larger for one that runs all that those of smaller ones run.
fn version(architecture: &str, variant: Option<&str>) -> Option<u32> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number < 1000);
    let text = variant.map(|variant| variant.strip_prefix('v'));
    match (architecture, text) {
        ("amd64", None) => Some(1),
        ("arm", None) => Some(7),
        ("amd64" | "arm", Some(text)) => number(text?),
        ("arm64", None) => Some(0),
        ("arm64", Some(text)) => {
            let text = text?;
            let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
            // Version 9.0 has all that 8.5 has.
            match (number(major)?, number(minor)?) {
                (8, minor) => Some(2 * minor),
                (9, minor) => Some(2 * (minor + 5) + 1),
                _ => None,
            }
        }
        _ => None,
    }
}

impl FromStr for Platform {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |what: &str| ImageError::Platform { text: text.into(), what: what.into() };
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        if !parts.iter().all(is_word) {
            return Err(refuse("each part has letters, digits, \"_\", \".\" and \"-\""));
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            [_] => return Err(refuse("it takes a system and a processor")),
            _ => return Err(refuse("it has more than three parts")),
        };
        Ok(Self { os: os.into(), architecture: architecture.into(), variant }.normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect("a platform")
    }

    #[test]
    fn spellings_of_one_platform() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/X86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/i386", "linux/386"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v8.2", "linux/arm64/v8.2"),
            ("linux/arm", "linux/arm"),
            ("linux/arm/v7", "linux/arm"),
            ("linux/arm/7", "linux/arm"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm"),
            ("linux/armel", "linux/arm/v6"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(text).to_string(), shown, "{text}");
            assert_eq!(platform(shown), platform(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for (text, what) in [
            ("", "each part"),
            ("amd64", "a system and a processor"),
            ("linux/", "each part"),
            ("/amd64", "each part"),
            ("linux//v8", "each part"),
            ("linux/arm/v7/x", "more than three"),
            ("linux/arm 64", "each part"),
            ("linux/ärm", "each part"),
        ] {
            let error = text.parse::<Platform>().unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("OS/ARCH[/VARIANT]"), "{error}");
        }
    }

    #[test]
    fn a_processor_runs_what_is_for_earlier_ones() {
        let best = |wanted: &str, offered: &[&'static str]| {
            let wanted = platform(wanted);
            let suits = offered.iter().filter_map(|text| Some((wanted.suits(&platform(text))?, *text)));
            suits.min_by_key(|(rank, _)| *rank).map(|(_, text)| text)
        };
        let arm = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8"];
        assert_eq!(best("linux/arm", &arm), Some("linux/arm/v7"));
        assert_eq!(best("linux/arm/v7", &arm), Some("linux/arm/v7"));
        assert_eq!(best("linux/arm/v8", &arm[..2]), Some("linux/arm/v6"));
        assert_eq!(best("linux/arm/v6", &arm[2..]), None);
        assert_eq!(best("linux/arm64", &["linux/arm/v8", "linux/arm64/v8"]), Some("linux/arm64/v8"));
        assert_eq!(best("linux/arm64/v9", &["linux/arm64", "linux/arm64/v8.5"]), Some("linux/arm64/v8.5"));
        assert_eq!(best("linux/arm64/v8.1", &["linux/arm64/v8.2"]), None);
        assert_eq!(best("linux/amd64", &["linux/amd64/v2", "linux/386"]), None);
        assert_eq!(best("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]), Some("linux/amd64/v2"));
        assert_eq!(best("linux/amd64", &["windows/amd64"]), None);
        assert_eq!(best("linux/mips64/n32", &["linux/mips64/n32", "linux/mips64"]), Some("linux/mips64/n32"));
    }
}
