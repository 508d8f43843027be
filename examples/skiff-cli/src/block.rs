//! Block deltas of single files, with rdiff's arguments.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use skiff::block::{
    BlockError, DeltaReport, Limits, PatchReport, SAFE_STRONG_LEN, Signature, SignatureKind, SignatureParams,
    SignatureReport, StrongHash, Table, WeakHash, delta, delta_with_old, patch, recommended_block_len,
    write_signature,
};

use crate::args::{self, BlockCommand, BlockOptions, HashName, RollsumName};
use crate::device::CancellableInput;
use crate::failure::Failure;
use crate::output::Destination;
use crate::print::{Lines, bytes, say, share};
use crate::progress::{Bar, Watched, cancel_on_signals};

/// The length of blocks where the size of the old file is not known: rdiff's too.
const UNKNOWN_SIZE_BLOCK: u32 = 2048;

/// `skiff block`
pub(crate) fn run(args: &args::Block) -> Result<(), Failure> {
    let job = Job {
        options: &args.options,
        cancel: cancel_on_signals()?,
        threads: args
            .options
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
        started: Instant::now(),
    };
    if !matches!(args.command, BlockCommand::Signature(_)) && args.options.has_signature_options() {
        eprintln!("skiff: note: -H, -R, -b and -S say how a signature is made, and change nothing here");
    }
    let result = match &args.command {
        BlockCommand::Signature(args) => job.signature(args),
        BlockCommand::Delta(args) => job.delta(args),
        BlockCommand::Patch(args) => job.patch(args),
    };
    // The reader that saw the signal could only say that reading failed.
    result.map_err(|failure| match job.cancel.load(Ordering::Relaxed) {
        true => Failure::new(Failure::CANCELLED, "cancelled"),
        false => failure,
    })
}

struct Job<'a> {
    options: &'a BlockOptions,
    cancel: Arc<AtomicBool>,
    threads: NonZeroUsize,
    started: Instant,
}

impl Job<'_> {
    fn signature(&self, args: &args::BlockSignature) -> Result<(), Failure> {
        let output = self.output(args.signature.as_ref())?;
        let (basis, size) = self.open(args.basis.as_deref())?;
        let params = self.params(size)?;
        self.describe(&params);
        if !self.options.quiet {
            warn_of(&params);
        }
        let bar = self.bar("signing", size);
        let report = output
            .write(|out| Ok(write_signature(self.watched(basis, Some(&bar)), &params, self.threads, out)?))?;
        bar.finish();
        self.tell(|lines| signature_lines(lines, &params, &report), || signature_json(&params, &report))
    }

    fn delta(&self, args: &args::BlockDelta) -> Result<(), Failure> {
        let output = self.output(args.delta.as_ref())?;
        if is_standard(Some(&args.signature)) && is_standard(args.newfile.as_deref()) {
            return Err(Failure::usage("the signature and the new file cannot both be standard input"));
        }
        let table = {
            let (signature, size) = self.open(Some(&args.signature))?;
            let bar = self.bar("indexing", size);
            Table::new(Signature::read(self.watched(signature, Some(&bar)), &Limits::default())?)?
        };
        let params = table.signature().params();
        self.describe(params);
        let old = args.old.as_deref().map(open_file).transpose()?;
        let (new, size) = self.open(args.newfile.as_deref())?;
        let bar = self.bar("searching", size);
        let new = self.watched(new, Some(&bar));
        let report = output.write(|out| {
            Ok(match old {
                Some(old) => delta_with_old(&table, self.watched(old, None), new, self.threads, out)?,
                None => delta(&table, new, self.threads, out)?,
            })
        })?;
        bar.finish();
        self.tell(|lines| delta_lines(lines, &report), || delta_json(&report))
    }

    fn patch(&self, args: &args::BlockPatch) -> Result<(), Failure> {
        let output = self.output(args.newfile.as_ref())?;
        let is_standard_basis = is_standard(Some(&args.basis));
        if is_standard_basis && is_standard(args.delta.as_deref()) {
            return Err(Failure::usage("the old file and the delta cannot both be standard input"));
        }
        let mut basis = if is_standard_basis { standard_input()? } else { open_file(&args.basis)? };
        if let Err(error) = basis.seek(SeekFrom::End(0)) {
            let what = "the old file must be one that can be read from any place on";
            return Err(Failure::usage(format!("{}: {what}: {error}", args.basis.display())));
        }
        let (delta, _) = self.open(args.delta.as_deref())?;
        let limits =
            args.max_output.map_or(Limits::default(), |most| Limits::default().with_output_bytes(most));
        if self.options.verbose {
            eprintln!("skiff: at most {}", bytes(limits.output_bytes));
        }
        let bar = self.bar("patching", None);
        let report = output.write(|out| {
            let (basis, delta) = (self.watched(basis, None), self.watched(delta, None));
            Ok(patch(basis, delta, self.watched(out, Some(&bar)), &limits)?)
        })?;
        bar.finish();
        self.tell(|lines| patch_lines(lines, &report), || patch_json(&report))
    }

    /// How a signature is to be made of an old file of this size, as far as that is known.
    fn params(&self, size: Option<u64>) -> Result<SignatureParams, BlockError> {
        let kind = SignatureKind {
            weak: match self.options.rollsum {
                Some(RollsumName::Rollsum) => WeakHash::Rollsum,
                Some(RollsumName::Rabinkarp) | None => WeakHash::RabinKarp,
            },
            strong: match self.options.hash {
                Some(HashName::Md4) => StrongHash::Md4,
                Some(HashName::Blake2) | None => StrongHash::Blake2,
            },
        };
        let block_len = match self.options.block_size {
            None | Some(0) => size.map_or(UNKNOWN_SIZE_BLOCK, recommended_block_len),
            Some(length) => length,
        };
        let strong_len = match self.options.sum_size {
            None | Some(0) => kind.strong.max_len(),
            Some(-1) => SAFE_STRONG_LEN,
            // Too large a number is refused as any other that is too large.
            Some(length) => u32::try_from(length).unwrap_or(u32::MAX),
        };
        SignatureParams::new(kind, block_len, strong_len)
    }

    fn describe(&self, params: &SignatureParams) {
        if self.options.verbose {
            eprintln!(
                "skiff: blocks of {}, {}, {} bytes of each strong hash, {} threads",
                bytes(u64::from(params.block_len())),
                params.kind(),
                params.strong_len(),
                self.threads
            );
        }
    }

    /// A bar that counts up to the size of what is read, where that is known.
    fn bar(&self, label: &'static str, size: Option<u64>) -> Bar {
        let bar = Bar::new(self.options.print(), label);
        if let Some(size) = size {
            bar.expect(size);
        }
        bar
    }

    /// Opens what is read from front to end, and says how long it is if it is a file.
    fn open(&self, path: Option<&Path>) -> Result<(Box<dyn Read + '_>, Option<u64>), Failure> {
        let size =
            |file: &File| file.metadata().ok().filter(|known| known.is_file()).map(|known| known.len());
        match path.filter(|path| !is_standard(Some(path))) {
            None => {
                let size = size(&standard_input()?);
                Ok((Box::new(CancellableInput { cancel: &self.cancel }), size))
            }
            Some(path) => {
                let file = open_file(path)?;
                let size = size(&file);
                Ok((Box::new(file), size))
            }
        }
    }

    /// Where the output goes: to a file, unless it is standard output.
    fn output<'p>(&self, path: Option<&'p PathBuf>) -> Result<Destination<'p>, Failure> {
        let output = Destination::new(path.map(PathBuf::as_path), self.options.print())?;
        match output {
            Destination::File(path)
                if !self.options.force && std::fs::metadata(path).is_ok_and(|known| known.is_file()) =>
            {
                Err(Failure::usage(format!("{} exists already; --force replaces it", path.display())))
            }
            output => Ok(output),
        }
    }

    fn watched<'a, T>(&'a self, inner: T, bar: Option<&'a Bar>) -> Watched<'a, T> {
        Watched { inner, cancel: &self.cancel, bar }
    }

    fn tell(&self, lines: impl FnOnce(&mut Lines), json: impl FnOnce() -> Value) -> Result<(), Failure> {
        let seconds = self.started.elapsed().as_secs_f64();
        if self.options.statistics {
            let mut all = Lines::default();
            lines(&mut all);
            all.add("took", format!("{seconds:.1} s"));
            all.print_aside();
        }
        if self.options.json {
            let mut json = json();
            json["seconds"] = seconds.into();
            say!("{json}");
        }
        Ok(())
    }
}

fn is_standard(path: Option<&Path>) -> bool {
    path.is_none_or(|path| path.as_os_str() == "-")
}

fn standard(name: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::io("using", Path::new(&format!("standard {name}")), error)
}

/// Standard input as the file it may be.
fn standard_input() -> Result<File, Failure> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned().map_err(standard("input"))?))
}

fn open_file(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::io("opening", path, error))
}

/// Says that different blocks may be taken for equal.
fn warn_of(params: &SignatureParams) {
    if params.strong_len() < SAFE_STRONG_LEN {
        eprintln!(
            "skiff: warning: {} bytes of a strong hash may take different blocks for equal; {SAFE_STRONG_LEN} are safe",
            params.strong_len()
        );
    } else if params.kind().strong == StrongHash::Md4 {
        eprintln!("skiff: warning: files can be made for which MD4 takes different blocks for equal");
    }
}

fn signature_lines(lines: &mut Lines, params: &SignatureParams, report: &SignatureReport) {
    lines.add("old file", bytes(report.old_bytes));
    lines.add("blocks", format!("{} of {}", report.blocks, bytes(u64::from(params.block_len()))));
    lines.add("hashes", format!("{}, {} bytes of it", params.kind(), params.strong_len()));
    lines.add("signature", bytes(report.signature_bytes));
}

fn signature_json(params: &SignatureParams, report: &SignatureReport) -> Value {
    json!({
        "old_bytes": report.old_bytes,
        "blocks": report.blocks,
        "signature_bytes": report.signature_bytes,
        "block_size": params.block_len(),
        "sum_size": params.strong_len(),
        "rollsum": params.kind().weak.to_string(),
        "hash": params.kind().strong.to_string(),
    })
}

fn delta_lines(lines: &mut Lines, report: &DeltaReport) {
    let of_new = |part| share(part, report.new_bytes).map_or(String::new(), |share| format!(", {share}"));
    lines.add("new file", bytes(report.new_bytes));
    lines.add("copied", format!("{}{}", bytes(report.copied_bytes), of_new(report.copied_bytes)));
    lines.add("beside blocks", bytes(report.extended_bytes));
    lines.add("new bytes", format!("{}{}", bytes(report.literal_bytes), of_new(report.literal_bytes)));
    lines.add("commands", report.commands);
    lines.add("delta", format!("{}{}", bytes(report.delta_bytes), of_new(report.delta_bytes)));
}

fn delta_json(report: &DeltaReport) -> Value {
    json!({
        "new_bytes": report.new_bytes,
        "copied_bytes": report.copied_bytes,
        "extended_bytes": report.extended_bytes,
        "literal_bytes": report.literal_bytes,
        "commands": report.commands,
        "delta_bytes": report.delta_bytes,
    })
}

fn patch_lines(lines: &mut Lines, report: &PatchReport) {
    lines.add("new file", bytes(report.new_bytes));
    lines.add("copied", bytes(report.copied_bytes));
    lines.add("new bytes", bytes(report.literal_bytes));
    lines.add("commands", report.commands);
    lines.add("delta", bytes(report.delta_bytes));
}

fn patch_json(report: &PatchReport) -> Value {
    json!({
        "new_bytes": report.new_bytes,
        "copied_bytes": report.copied_bytes,
        "literal_bytes": report.literal_bytes,
        "commands": report.commands,
        "delta_bytes": report.delta_bytes,
    })
}
