//! What is measured.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use skiff_benches::layout::Layout;
use skiff_benches::measure::{Cost, run_with_scratch};
use skiff_benches::{Context as _, Failure};

/// A program, and what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `skiff flatten --rootfs`
    SkiffDirectory,
    /// `umoci unpack`
    Umoci,
    /// `tar -x` of each layer
    Tar,
    /// `skiff flatten -o`
    SkiffArchive,
}

impl Tool {
    /// In the order they run.
    pub(crate) const ALL: [Self; 4] = [Self::SkiffDirectory, Self::Umoci, Self::Tar, Self::SkiffArchive];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SkiffDirectory => "skiff --rootfs",
            Self::Umoci => "umoci unpack",
            Self::Tar => "tar -x",
            Self::SkiffArchive => "skiff -o",
        }
    }
}

/// How much there is in an image.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// Runs of all tools on one image.
pub(crate) struct Runs<'a> {
    pub(crate) skiff: &'a Path,
    pub(crate) layout: &'a Layout,
    pub(crate) tag: &'a str,
    /// Everything is written beneath this directory.
    pub(crate) scratch: &'a Path,
}

impl Runs<'_> {
    /// The tools that read the image: umoci 0.4 knows no zstd.
    pub(crate) fn tools(&self) -> Result<Vec<Tool>, Failure> {
        let layers = self.layout.layers(self.tag)?;
        let has_zstd = layers.iter().any(|layer| layer.media_type.ends_with("+zstd"));
        Ok(Tool::ALL.into_iter().filter(|&tool| tool != Tool::Umoci || !has_zstd).collect())
    }

    /// Runs a tool to its end.
    pub(crate) fn run(&self, tool: Tool, round: u32) -> Result<Cost, Failure> {
        let output = self.output(tool, round);
        let word = |text: &str| OsString::from(text);
        match tool {
            Tool::SkiffDirectory => self.skiff([word("--rootfs"), output.into()]),
            Tool::SkiffArchive => self.skiff([word("--output"), output.into()]),
            Tool::Umoci => {
                let image = format!("{}:{}", self.layout.path().display(), self.tag);
                self.program("umoci", &[word("unpack"), word("--image"), word(&image), output.into()])
            }
            Tool::Tar => {
                std::fs::create_dir(&output).context(|| format!("making {}", output.display()))?;
                let mut sum: Option<Cost> = None;
                for layer in self.layout.layers(self.tag)? {
                    let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"];
                    let mut arguments: Vec<OsString> = options.map(OsString::from).to_vec();
                    arguments.extend([layer.path.into(), word("-C"), output.clone().into()]);
                    let cost = self.program("tar", &arguments)?;
                    sum = Some(sum.map_or(cost, |sum| sum.then(cost)));
                }
                sum.ok_or_else(|| Failure(format!("{} has no layers", self.tag)))
            }
        }
    }

    /// Lets GNU tar compare umoci's directory, or skiff's where umoci made none, with skiff's archive, and asks skiff how much
    /// there is.
    pub(crate) fn check(&self, round: u32) -> Result<Size, Failure> {
        let archive = self.output(Tool::SkiffArchive, round);
        let bundle = self.output(Tool::Umoci, round).join("rootfs");
        let directory = if bundle.exists() { bundle } else { self.output(Tool::SkiffDirectory, round) };
        let mut compare = Command::new("tar");
        compare.args(["--compare", "--numeric-owner", "--file"]).arg(&archive);
        compare.arg("--directory").arg(directory);
        let output = compare.stdin(Stdio::null()).output().context(|| "starting GNU tar".into())?;
        if !output.status.success() {
            let told = [output.stdout, output.stderr].concat();
            let told: Vec<String> = String::from_utf8_lossy(&told).lines().take(10).map(Into::into).collect();
            return Err(Failure(format!("what was made of {} differs:\n{}", self.tag, told.join("\n"))));
        }
        let archive = format!("tar:{}", archive.display());
        let mut flatten = Command::new(self.skiff);
        flatten.args(["flatten", &archive, "-o", "/dev/null", "--json"]).stdin(Stdio::null());
        let output = flatten.output().context(|| format!("starting {}", self.skiff.display()))?;
        let told: Value =
            serde_json::from_slice(&output.stdout).context(|| "reading skiff's answer".into())?;
        let number = |key: &str| told[key].as_u64().unwrap_or_default();
        Ok(Size { entries: number("entries"), bytes: number("content_bytes") })
    }

    fn output(&self, tool: Tool, round: u32) -> PathBuf {
        self.scratch.join(format!("{}-{round}", tool.name().replace(' ', "-")))
    }

    fn skiff(&self, output: [OsString; 2]) -> Result<Cost, Failure> {
        let image = format!("oci:{}:{}", self.layout.path().display(), self.tag);
        let [option, path] = output;
        let arguments = ["flatten".into(), image.into(), option, path, "--quiet".into()];
        self.program(self.skiff, &arguments)
    }

    fn program(&self, program: impl AsRef<OsStr>, arguments: &[OsString]) -> Result<Cost, Failure> {
        run_with_scratch(program.as_ref(), arguments, self.scratch)
    }
}
