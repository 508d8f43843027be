//! skiff and rdiff, in turns.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skiff_benches::measure::{Cost, run as run_program};
use skiff_benches::{Context as _, Failure, program};

use crate::Speed;

const HEAD: &str = "\
hash    what                                   tool      wall      CPU       peak         bytes   faster
------  -------------------------------------  -----  ---------  -------  --------  -------------  ------";
/// Bytes of the file that has nothing of the old one.
const DIFFERENT: usize = 200_000_000;

/// What both programs do: the words after the options, and the file that comes out.
struct Task<'a> {
    hash: &'a str,
    what: String,
    words: Vec<OsString>,
}

/// The programs, and where they write.
struct Place {
    skiff: PathBuf,
    scratch: tempfile::TempDir,
    rounds: u32,
}

pub(crate) fn run(arguments: &Speed) -> Result<Vec<Value>, Failure> {
    let scratch = match &arguments.scratch {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    };
    let place = Place {
        skiff: program::skiff(arguments.skiff.as_deref())?,
        scratch: scratch.context(|| "making a directory".into())?,
        rounds: arguments.rounds,
    };
    let different = place.path("different");
    write_noise(&different)?;
    let mut rows = Vec::new();
    println!("{HEAD}");
    for pair in &arguments.pairs {
        let file = |which: &str| arguments.directory.join(format!("{pair}.{which}.tar"));
        let (old, new) = (file("old"), file("new"));
        for hash in ["blake2", "md4"] {
            let words = vec!["-H".into(), hash.into(), "signature".into(), old.clone().into()];
            rows.push(place.measure(&Task { hash, what: format!("{pair}: signature"), words })?);
            // The last run was rdiff's.
            let signature = place.path("signature");
            std::fs::rename(place.path("out"), &signature).context(|| "keeping a signature".into())?;
            for (what, new) in [("unchanged", &old), ("edited", &new), ("different", &different)] {
                let words = vec!["delta".into(), signature.clone().into(), new.into()];
                rows.push(place.measure(&Task { hash, what: format!("{pair}: {what}"), words })?);
                place.check(&old, new)?;
            }
        }
    }
    Ok(rows)
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs both in turns, and tells of the best run of each.
    fn measure(&self, task: &Task<'_>) -> Result<Value, Failure> {
        let tools: [(&str, &OsStr, &[&str]); 2] =
            [("skiff", self.skiff.as_os_str(), &["block", "-f"]), ("rdiff", OsStr::new("rdiff"), &["-f"])];
        let mut best: [Option<Cost>; 2] = [None, None];
        let mut sizes = [0, 0];
        for round in 0..self.rounds {
            for (index, (name, program, options)) in tools.iter().enumerate() {
                let out = self.path("out");
                let _ = std::fs::remove_file(&out);
                let words = options.iter().map(OsString::from).chain(task.words.iter().cloned());
                let words: Vec<OsString> = words.chain([out.clone().into()]).collect();
                let cost = run_program(program, &words)?;
                if best[index].is_none_or(|best| cost.wall_seconds < best.wall_seconds) {
                    best[index] = Some(cost);
                }
                sizes[index] =
                    std::fs::metadata(&out).context(|| format!("measuring {name}'s output"))?.len();
                if index == 0 && round + 1 == self.rounds {
                    std::fs::copy(&out, self.path("made")).context(|| "keeping skiff's output".into())?;
                }
            }
        }
        let [Some(skiff), Some(rdiff)] = best else { return Err(Failure::new("no rounds were asked for")) };
        let faster = rdiff.wall_seconds / skiff.wall_seconds;
        for (index, (cost, name)) in [(skiff, "skiff"), (rdiff, "rdiff")].into_iter().enumerate() {
            let ratio = if index == 0 { format!("{faster:5.2}x") } else { String::new() };
            println!(
                "{:<6}  {:<37}  {name}  {:>7.3} s  {:>7.3}  {:>4} MiB  {:>13}  {ratio}",
                task.hash,
                task.what,
                cost.wall_seconds,
                cost.cpu_seconds,
                cost.peak_bytes >> 20,
                sizes[index]
            );
        }
        Ok(json!({
            "hash": task.hash, "what": task.what, "faster": faster,
            "skiff": skiff.to_json(), "skiff_bytes": sizes[0],
            "rdiff": rdiff.to_json(), "rdiff_bytes": sizes[1],
        }))
    }

    /// Whether rdiff makes the new file of skiff's delta.
    fn check(&self, old: &Path, new: &Path) -> Result<(), Failure> {
        let (made, patched) = (self.path("made"), self.path("patched"));
        let words = [OsStr::new("-f"), OsStr::new("patch"), old.as_ref(), made.as_ref(), patched.as_ref()];
        run_program(OsStr::new("rdiff"), &words)?;
        run_program(OsStr::new("cmp"), &[patched.as_os_str(), new.as_os_str()]).map(drop)
    }
}

/// Writes bytes of which nothing stands anywhere else (Knuth's linear congruences, 6.4).
fn write_noise(path: &Path) -> Result<(), Failure> {
    let failed = || format!("writing {}", path.display());
    let mut out = BufWriter::new(File::create(path).context(failed)?);
    let mut state = 1_u64;
    for _ in 0..DIFFERENT / 8 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        out.write_all(&(state ^ (state >> 29)).to_le_bytes()).context(failed)?;
    }
    out.flush().context(failed)
}
