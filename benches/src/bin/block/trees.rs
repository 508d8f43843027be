//! What lengths of blocks cost where whole images are signed: most files do not change, and are signed in vain.

use std::path::Path;

use serde_json::{Value, json};
use skiff_benches::{Context as _, Failure};
use skiff_diff::{Options, Release, diff_against};
use skiff_image::{FlatImage, FlattenOptions, Image, OpenOptions};
use skiff_signature::{Signed, TreeSignature, sign_tree};
use skiff_tree::ConfigDigest;

use crate::Trees;

/// The length of a file's blocks, from its size.
type Rule = fn(u64) -> u32;

/// The rules, by what the square root of a file's size is multiplied with, and the least length.
const RULES: [(u32, u32, Rule); 9] = [
    (1, 256, |size| block_len(size, 1, 256)),
    (1, 512, |size| block_len(size, 1, 512)),
    (1, 1024, |size| block_len(size, 1, 1024)),
    (1, 2048, |size| block_len(size, 1, 2048)),
    (1, 4096, |size| block_len(size, 1, 4096)),
    (2, 512, |size| block_len(size, 2, 512)),
    (2, 1024, |size| block_len(size, 2, 1024)),
    (2, 2048, |size| block_len(size, 2, 2048)),
    (2, 4096, |size| block_len(size, 2, 4096)),
];

fn block_len(size: u64, factor: u64, least: u64) -> u32 {
    let length = (size.isqrt() * factor / 64 * 64).max(least);
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(crate) fn run(arguments: &Trees) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    for pair in &arguments.pairs {
        let image = |which: &str| flatten(&arguments.directory, &format!("{pair}-{which}"));
        let (old, new) = (image("old")?, image("new")?);
        println!("{pair}: {} entries", old.tree.entries().len());
        println!("factor  least     signature         delta           sum");
        for (factor, least, rule) in RULES {
            let (signature, delta) = measure(&old, &new, rule)?;
            println!("{factor:>6}  {least:>5}  {signature:>12}  {delta:>12}  {:>12}", signature + delta);
            rows.push(json!({
                "pair": pair, "factor": factor, "least": least, "signature_bytes": signature, "delta_bytes": delta,
            }));
        }
    }
    Ok(rows)
}

fn flatten(directory: &Path, tag: &str) -> Result<FlatImage, Failure> {
    let failed = || format!("reading {tag}");
    let reference = format!("oci:{}:{tag}", directory.join("oci").display());
    let reference = reference.parse().context(failed)?;
    let image = Image::open(&reference, &OpenOptions::default()).context(failed)?;
    image.flatten(&FlattenOptions::default()).context(failed)
}

fn measure(old: &FlatImage, new: &FlatImage, rule: Rule) -> Result<(u64, u64), Failure> {
    let config = old.config.as_deref().map(ConfigDigest::of);
    let signed = Signed { tree: &old.tree, contents: &old.contents, config };
    let mut signature = Vec::new();
    let options = skiff_signature::Options::default().with_block_len(rule);
    sign_tree(&signed, &options, &mut signature).context(|| "signing".into())?;
    let read = TreeSignature::read(&signature[..], &Default::default()).context(|| "reading".into())?;
    let target = Release { config: new.config.as_deref(), ..Release::new(&new.tree, &new.contents) };
    let report = diff_against(&read, &target, &Options::default(), std::io::sink());
    Ok((signature.len() as u64, report.context(|| "making a delta".into())?.delta_bytes))
}
