//! What an image's config says of how it is run.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::RunnerError;
use super::signal::StopSignal;

/// Where programs are looked for in an image that does not say, as container engines have it.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables by their names.
pub(crate) type Environment = BTreeMap<String, String>;

/// The part of an image's config that is about running it. What is missing or null is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
    stop_signal: Option<String>,
}

impl ImageConfig {
    /// Reads the config of an image; of one that has none, everything is empty.
    pub(crate) fn parse(bytes: Option<&[u8]>) -> Result<Self, RunnerError> {
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        // Serde takes an array for a structure too, its items for the fields in order.
        let config = |bytes| -> serde_json::Result<Self> {
            let mut document: Map<String, Value> = serde_json::from_slice(bytes)?;
            let config: Option<Map<String, Value>> =
                serde_json::from_value(document.remove("config").unwrap_or_default())?;
            config.map_or_else(|| Ok(Self::default()), |config| serde_json::from_value(config.into()))
        };
        config(bytes).map_err(|error| wrong(error.to_string()))
    }

    /// The program and its arguments: the entry point and, after it, the command.
    pub(crate) fn command(&self) -> Result<Vec<String>, RunnerError> {
        let words = [&self.entrypoint, &self.cmd].into_iter().flatten().flatten();
        checked_command(words.cloned().collect())
    }

    /// The image's variables, and in their place and beside them those of `more`; `path` is `PATH` where neither has it.
    pub(crate) fn environment(&self, more: &Environment, path: &str) -> Result<Environment, RunnerError> {
        let mut variables = Environment::new();
        for variable in self.env.iter().flatten() {
            let (name, value) = variable
                .split_once('=')
                .ok_or_else(|| wrong(format!("its variable {variable:?} is not NAME=VALUE")))?;
            variables.insert(name.into(), value.into());
        }
        variables.extend(more.clone());
        variables.entry("PATH".into()).or_insert_with(|| path.into());
        for (name, value) in &variables {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(wrong(format!("no variable can be named {name:?} and be {value:?}")));
            }
        }
        Ok(variables)
    }

    /// The user, `user[:group]` in names or numbers; empty for root.
    pub(crate) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    /// Where the program starts: an absolute path inside the image.
    pub(crate) fn working_directory(&self) -> Result<&str, RunnerError> {
        match self.working_dir.as_deref() {
            None | Some("") => Ok("/"),
            Some(path) if is_path(path) => Ok(path),
            Some(path) => Err(wrong(format!("its working directory {path:?} is not an absolute path"))),
        }
    }

    /// The directories whose content outlives a release: paths inside the image.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// The signal that asks the program to end.
    pub(crate) fn stop_signal(&self) -> Result<StopSignal, RunnerError> {
        match self.stop_signal.as_deref() {
            None | Some("") => Ok(StopSignal::default()),
            Some(name) => {
                name.parse().map_err(|()| wrong(format!("its stop signal {name:?} is none that Linux has")))
            }
        }
    }
}

/// A command that can be handed to the system: there is a program, and no word holds a NUL byte.
pub(crate) fn checked_command(command: Vec<String>) -> Result<Vec<String>, RunnerError> {
    if command.first().is_none_or(String::is_empty) {
        return Err(wrong("it names no program: it has neither an entry point nor a command".into()));
    }
    match command.iter().find(|word| word.contains('\0')) {
        Some(word) => Err(wrong(format!("a word of its command holds a NUL byte: {word:?}"))),
        None => Ok(command),
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}

fn wrong(what: String) -> RunnerError {
    RunnerError::Config { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<ImageConfig, RunnerError> {
        ImageConfig::parse(Some(text.as_bytes()))
    }

    #[test]
    fn the_command_follows_the_entry_point() {
        let words = |text: &str| config(text).unwrap().command();
        let both = r#"{"config": {"Entrypoint": ["/app", "-v"], "Cmd": ["run"]}}"#;
        assert_eq!(words(both).unwrap(), ["/app", "-v", "run"]);
        assert_eq!(words(r#"{"config": {"Cmd": ["/app"], "Entrypoint": null}}"#).unwrap(), ["/app"]);
        assert_eq!(words(r#"{"config": {"Entrypoint": ["/app"]}}"#).unwrap(), ["/app"]);
        for nothing in [
            "{}",
            r#"{"config": null}"#,
            r#"{"config": {}}"#,
            r#"{"config": {"Entrypoint": [], "Cmd": []}}"#,
            r#"{"config": {"Entrypoint": [""], "Cmd": ["run"]}}"#,
            r#"{"config": {"Entrypoint": ["/app", "a\u0000b"]}}"#,
        ] {
            assert!(matches!(words(nothing), Err(RunnerError::Config { .. })), "{nothing}");
        }
        assert!(matches!(ImageConfig::parse(None).unwrap().command(), Err(RunnerError::Config { .. })));
    }

    #[test]
    fn what_is_of_another_type_is_refused() {
        for bad in [
            "",
            "[]",
            "null",
            r#"{"config": []}"#,
            r#"{"config": {"Cmd": "/app"}}"#,
            r#"{"config": {"Cmd": [1]}}"#,
            r#"{"config": {"Env": {"A": "b"}}}"#,
            r#"{"config": {"User": 0}}"#,
            r#"{"config": {"Volumes": ["/data"]}}"#,
            r#"{"config": {"StopSignal": 15}}"#,
        ] {
            assert!(matches!(config(bad), Err(RunnerError::Config { .. })), "{bad}");
        }
    }

    #[test]
    fn given_variables_come_before_the_images() {
        let image = config(r#"{"config": {"Env": ["A=1", "B=x=y", "A=2", "C="]}}"#).unwrap();
        let more = Environment::from([("C".into(), "3".into())]);
        let all = image.environment(&more, "/bin").unwrap();
        let expected = [("A", "2"), ("B", "x=y"), ("C", "3"), ("PATH", "/bin")];
        assert!(all.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));

        let image = config(r#"{"config": {"Env": ["PATH=/opt"]}}"#).unwrap();
        assert_eq!(image.environment(&Environment::new(), "/bin").unwrap()["PATH"], "/opt");
        for bad in ["A", "=1", "A=\\u0000"] {
            let image = config(&format!(r#"{{"config": {{"Env": ["{bad}"]}}}}"#)).unwrap();
            assert!(image.environment(&Environment::new(), "/bin").is_err(), "{bad}");
        }
        let bad = Environment::from([("A=B".into(), String::new())]);
        assert!(ImageConfig::default().environment(&bad, "/bin").is_err());
    }

    #[test]
    fn the_working_directory_is_absolute() {
        let image = config(r#"{"config": {"WorkingDir": "/srv/app"}}"#).unwrap();
        assert_eq!(image.working_directory().unwrap(), "/srv/app");
        for none in ["{}", r#"{"config": {"WorkingDir": ""}}"#] {
            assert_eq!(config(none).unwrap().working_directory().unwrap(), "/");
        }
        assert!(config(r#"{"config": {"WorkingDir": "srv"}}"#).unwrap().working_directory().is_err());
    }

    #[test]
    fn users_and_volumes_may_be_missing() {
        let image =
            config(r#"{"config": {"User": "app", "Volumes": {"/data": {}, "/log/": null}}}"#).unwrap();
        assert_eq!(image.user(), "app");
        assert!(image.volumes().eq(["/data", "/log/"]));
        for none in ["{}", r#"{"config": {"User": null, "Volumes": null}}"#] {
            let image = config(none).unwrap();
            assert!(image.user().is_empty() && image.volumes().next().is_none());
        }
    }

    #[test]
    fn the_stop_signal_is_the_images() {
        let signal =
            |text: &str| config(&format!(r#"{{"config": {{"StopSignal": {text}}}}}"#)).unwrap().stop_signal();
        for term in ["null", r#""""#, r#""SIGTERM""#, r#""15""#] {
            assert_eq!(signal(term).unwrap(), StopSignal::default(), "{term}");
        }
        assert_eq!(signal(r#""SIGRTMIN+3""#).unwrap().number(), 37);
        assert!(signal(r#""SIGHELLO""#).is_err());
    }
}
