//! Where the settings come from.

use std::fs;
use std::io;
use std::path::Path;

use skiff_protocol::{Settings, VariableName, Variables, WrongValue, effective};

/// A file of variables is not longer than this, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// What is set on the device itself. What the server sends counts more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalVariables(Variables);

impl LocalVariables {
    /// Those of these pairs that are names of variables a supervisor goes by: the environment, for example.
    ///
    /// ```
    /// use skiff_supervisor::LocalVariables;
    ///
    /// let local = LocalVariables::new(std::env::vars());
    /// ```
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut variables = Variables::new();
        for (name, value) in pairs {
            match name.parse::<VariableName>() {
                Ok(name) if name.setting().is_some() => variables.take(name, value),
                _ => {}
            }
        }
        Self(variables)
    }

    /// Those of a file with a line `NAME=VALUE` for each; empty lines and such that begin with `#` do not count. What the file says
    /// counts more than what is here already.
    ///
    /// # Errors
    /// That the file cannot be read, or that a line is none: which, and what it takes.
    pub fn with_file(mut self, path: &Path) -> io::Result<Self> {
        let length = fs::metadata(path)?.len();
        let refuse = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if length > FILE_MAX {
            return Err(refuse(format!("{length} bytes are more than a file of variables has")));
        }
        let mut variables = Variables::new();
        for (number, line) in fs::read_to_string(path)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| refuse(format!("line {}: {what}", number + 1));
            let (name, value) = line.split_once('=').ok_or_else(|| wrong("it takes NAME=VALUE"))?;
            let name: VariableName = name.trim().parse().map_err(|error| wrong(&format!("{error}")))?;
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            variables.take(name, bare.unwrap_or(value));
        }
        self.0 = effective(&[&variables, &self.0]);
        Ok(self)
    }

    /// What a variable that is no setting is set to on the device itself: here nothing that the server sends counts.
    ///
    /// Of the environment, which has variables of everybody, only settings were taken.
    #[must_use]
    pub fn own(&self, name: &VariableName) -> Option<&str> {
        self.0.value(name)
    }

    /// The settings that count, with what the server sent, and what is wrong among them.
    pub(crate) fn settings(&self, sent: Option<&Variables>) -> (Settings, Vec<WrongValue>) {
        let none = Variables::new();
        Settings::read(&effective(&[sent.unwrap_or(&none), &self.0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> LocalVariables {
        LocalVariables::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_the_server_sends_counts_more_than_a_file_and_that_more_than_the_environment() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "# set by hand\n\nRESIN_SUPERVISOR_DELTA_RETRY_COUNT = \"5\"\n")
            .expect("written");
        let local = pairs(&[
            ("SKIFF_SUPERVISOR_DELTA_RETRY_COUNT", "3"),
            ("SKIFF_SUPERVISOR_DELTA", "1"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(local.settings(None).0.retry_count, 3);
        let local = local.with_file(file.path()).expect("right lines");
        assert_eq!(local.settings(None).0.retry_count, 5);
        let mut sent = Variables::new();
        sent.take("BALENA_SUPERVISOR_DELTA_RETRY_COUNT".parse().expect("a name"), "9");
        let (settings, wrong) = local.settings(Some(&sent));
        assert_eq!((settings.retry_count, settings.is_delta_enabled, wrong), (9, true, vec![]));
    }

    #[test]
    fn what_is_the_devices_own_is_in_its_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "SKIFF_REQUIRE_SIGNATURE=/etc/skiff/release.key.pub\n").expect("written");
        let name: VariableName = "SKIFF_REQUIRE_SIGNATURE".parse().expect("a name");
        let local = pairs(&[("SKIFF_REQUIRE_SIGNATURE", "/tmp/other")]);
        assert_eq!(local.own(&name), None);
        let local = local.with_file(file.path()).expect("right lines");
        assert_eq!(local.own(&name), Some("/etc/skiff/release.key.pub"));
    }

    #[test]
    fn wrong_values_are_told_and_wrong_lines_refused() {
        let (settings, wrong) = pairs(&[("SKIFF_SUPERVISOR_DELTA", "yes")]).settings(None);
        assert!(!settings.is_delta_enabled);
        assert_eq!(wrong.len(), 1);
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (text, line) in [("A=1\nB", "line 2"), ("lower=1", "line 1")] {
            fs::write(file.path(), text).expect("written");
            let error = LocalVariables::default().with_file(file.path()).expect_err("a wrong line");
            assert!(error.to_string().contains(line), "{error}");
        }
    }
}
