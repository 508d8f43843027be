//! The commands that make keys and sign deltas with them, and the keys that others are told to ask for.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use skiff::format::{DetachedSignature, Digest, Header, Limits, Signatures, replace_signatures};
use skiff::keys::{self, PrivateKey, PublicKey};

use crate::args;
use crate::device::CancellableInput;
use crate::failure::Failure;
use crate::output::Destination;
use crate::print::{Lines, bytes, say};
use crate::progress::{Bar, Watched, cancel_on_signals};

/// `skiff keygen`
pub(crate) fn generate(args: &args::Keygen) -> Result<(), Failure> {
    let key = PrivateKey::generate(&args.comment).map_err(Failure::usage)?;
    let pair = key.write_new(&args.file)?;
    if args.print.json {
        say!(
            "{}",
            json!({
                "key": key.public().id().to_string(),
                "public_key": key.public().to_string(),
                "private_file": pair.private,
                "public_file": pair.public,
            })
        );
        return Ok(());
    }
    let mut lines = Lines::default();
    lines.add("key", key.public().id());
    lines.add("private", pair.private.display());
    lines.add("public", pair.public.display());
    lines.print()
}

/// `skiff sign`
pub(crate) fn sign(args: &args::SignDelta) -> Result<(), Failure> {
    let keys = private(&args.key)?;
    let meant = Meant::of(args)?;
    let output = output(args)?;
    let cancel = cancel_on_signals()?;
    let bar = Bar::new(args.print, "signing");
    let input: Box<dyn Read + '_> = if args.is_piped() {
        Box::new(CancellableInput { cancel: &cancel })
    } else {
        let file = File::open(&args.delta).map_err(|error| Failure::io("opening", &args.delta, error))?;
        if let Ok(known) = file.metadata() {
            bar.expect(known.len());
        }
        Box::new(file)
    };
    let input = Watched { inner: input, cancel: &cancel, bar: Some(&bar) };
    let choose = |header: &Header| -> Result<Signatures, Failure> {
        meant.check(header)?;
        Ok(keys::signatures(header, &keys)?)
    };
    let destination = Destination::new(Some(output), args.print)?;
    let header = destination.write(|out| {
        replace_signatures(input, Limits::default(), out, choose).map_err(|failure| {
            match cancel.load(Ordering::Relaxed) {
                true => Failure::new(Failure::CANCELLED, "cancelled"),
                false => failure.of_file(&args.delta),
            }
        })
    })?;
    bar.finish();
    if destination.is_standard() {
        return Ok(());
    }
    report(&header, args.print)
}

/// Where the signed delta goes.
fn output(args: &args::SignDelta) -> Result<&Path, Failure> {
    match &args.output {
        None if args.is_piped() => {
            Err(Failure::usage("a delta on standard input takes --output: where does it go?"))
        }
        // What is no file would be read from while it is written to.
        None if !args.delta.is_file() && args.delta.exists() => Err(Failure::usage(format!(
            "{} is no file that can be replaced: say with --output where the signed delta goes",
            args.delta.display()
        ))),
        output => Ok(output.as_deref().unwrap_or(&args.delta)),
    }
}

/// What was signed.
fn report(header: &Header, print: args::Output) -> Result<(), Failure> {
    if print.json {
        say!(
            "{}",
            json!({
                "delta": header.digest().to_string(),
                "delta_bytes": header.delta_size(),
                "bases": bases(header),
                "target": header.target().release.to_string(),
                "signatures": as_json(header),
            })
        );
        return Ok(());
    }
    let mut lines = Lines::default();
    for base in bases(header) {
        lines.add("base", base);
    }
    lines.add("target", header.target().release);
    add_signatures(&mut lines, header);
    lines.add("delta", bytes(header.delta_size()));
    lines.print()
}

/// What whoever signs means to sign.
struct Meant {
    target: Option<Digest>,
    /// Any, where none is named.
    bases: Vec<Digest>,
}

impl Meant {
    fn of(args: &args::SignDelta) -> Result<Self, Failure> {
        let release = |id: &String| id.parse::<Digest>().map_err(Failure::usage);
        let target = args.target.as_ref().map(release).transpose()?;
        Ok(Self { target, bases: args.base.iter().map(release).collect::<Result<_, _>>()? })
    }

    /// Refuses another delta.
    fn check(&self, header: &Header) -> Result<(), Failure> {
        let refuse = |what: String| Err(Failure::new(Failure::WRONG_RELEASE, what));
        let found = header.target().release;
        if let Some(target) = self.target.filter(|target| *target != found) {
            return refuse(format!(
                "it leads to release {found}, and not to {target}, which you mean: it is not signed"
            ));
        }
        let other = header.bases().iter().find(|base| !self.bases.contains(&base.release));
        match other.filter(|_| !self.bases.is_empty()) {
            Some(other) => refuse(format!(
                "it applies to release {}, and that is no base that you mean: it is not signed",
                other.release
            )),
            None => Ok(()),
        }
    }
}

/// The private keys in these files.
pub(crate) fn private(files: &[PathBuf]) -> Result<Vec<PrivateKey>, Failure> {
    files.iter().map(|file| Ok(PrivateKey::read(file)?)).collect()
}

/// The public keys in these files.
pub(crate) fn public(files: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    files.iter().map(|file| Ok(PublicKey::read(file)?)).collect()
}

impl args::Signers {
    /// The keys that are asked for; none where none are.
    pub(crate) fn keys(&self) -> Result<Option<Vec<PublicKey>>, Failure> {
        let keys = public(&self.require_signature)?;
        Ok((!keys.is_empty()).then_some(keys))
    }
}

/// What a delta applies to.
pub(crate) fn bases(header: &Header) -> Vec<String> {
    header.bases().iter().map(|base| base.release.to_string()).collect()
}

/// Who a delta says that it is signed by.
pub(crate) fn add_signatures(lines: &mut Lines, header: &Header) {
    for signature in header.signatures().all() {
        lines.add("says it is signed by", format!("{} ({})", signature.key, algorithm(signature)));
    }
}

/// The same for programs.
pub(crate) fn as_json(header: &Header) -> Value {
    let signatures = header.signatures().all().iter();
    signatures
        .map(|signature| json!({ "key": signature.key.to_string(), "algorithm": algorithm(signature) }))
        .collect()
}

fn algorithm(signature: &DetachedSignature) -> String {
    match signature.algorithm {
        DetachedSignature::ED25519 => "ed25519".into(),
        other => format!("algorithm {other}, which is not known here"),
    }
}
