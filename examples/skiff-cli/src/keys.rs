//! The commands that make keys and sign deltas with them, and the keys that others are told to ask for.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use skiff::format::{DetachedSignature, Header};
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
    let is_input = args.delta.as_os_str() == "-";
    let output = match &args.output {
        None if is_input => {
            return Err(Failure::usage("a delta on standard input takes --output: where does it go?"));
        }
        // What is no file would be read from while it is written to.
        None if !args.delta.is_file() && args.delta.exists() => {
            return Err(Failure::usage(format!(
                "{} is no file that can be replaced: say with --output where the signed delta goes",
                args.delta.display()
            )));
        }
        output => output.as_deref().unwrap_or(&args.delta),
    };
    let cancel = cancel_on_signals()?;
    let bar = Bar::new(args.print, "signing");
    let input: Box<dyn Read + '_> = if is_input {
        Box::new(CancellableInput { cancel: &cancel })
    } else {
        let file = File::open(&args.delta).map_err(|error| Failure::io("opening", &args.delta, error))?;
        if let Ok(known) = file.metadata() {
            bar.expect(known.len());
        }
        Box::new(file)
    };
    let input = Watched { inner: input, cancel: &cancel, bar: Some(&bar) };
    let destination = Destination::new(Some(output), args.print)?;
    let header = destination.write(|out| {
        keys::sign(input, out, &keys).map_err(|error| match cancel.load(Ordering::Relaxed) {
            true => Failure::new(Failure::CANCELLED, "cancelled"),
            false => Failure::from(error).of_file(&args.delta),
        })
    })?;
    bar.finish();
    if destination.is_standard() {
        return Ok(());
    }
    if args.print.json {
        say!(
            "{}",
            json!({
                "delta": header.digest().to_string(),
                "delta_bytes": header.delta_size(),
                "target": header.target().release.to_string(),
                "signatures": as_json(&header),
            })
        );
        return Ok(());
    }
    let mut lines = Lines::default();
    lines.add("target", header.target().release);
    add_signatures(&mut lines, &header);
    lines.add("delta", bytes(header.delta_size()));
    lines.print()
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

/// Who a delta says that it is signed by.
pub(crate) fn add_signatures(lines: &mut Lines, header: &Header) {
    for signature in header.signatures().all() {
        lines.add("signed by", format!("{} ({})", signature.key, algorithm(signature)));
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
