//! The container: preamble, header body, frames.

use skiff_replay::Limits;

use super::bytes::{Bytes, Digest, sha256};
use super::{Refusal, Result, compressors, must};

const MAGIC: &[u8] = b"\x89SKF\r\n\x1a\n";
const PREAMBLE: usize = 52;

pub(crate) struct Header {
    pub(crate) codecs: Vec<(u64, u64)>,
    pub(crate) bases: Vec<(Digest, Digest)>,
    pub(crate) tree: Digest,
    pub(crate) config: Option<Digest>,
    pub(crate) manifest: Option<Digest>,
    pub(crate) facts: [u64; 8],
}

struct Row {
    section: u64,
    skippable: bool,
    compressor: u64,
    parameter: u64,
    encoded: u64,
    decoded: u64,
    digest: Digest,
}

impl Row {
    /// Whether it is of a section that is not left out.
    fn is_known(&self) -> bool {
        (1..=4).contains(&self.section)
    }
}

/// A header, and the payloads of the frames with their sections' numbers.
pub(crate) struct Container {
    pub(crate) header: Header,
    frames: Vec<(u64, Vec<u8>)>,
}

impl Container {
    pub(crate) fn section(&self, number: u64) -> impl Iterator<Item = (u64, &[u8])> {
        self.frames
            .iter()
            .filter(move |frame| frame.0 == number)
            .map(|(number, payload)| (*number, &payload[..]))
    }
}

pub(crate) fn read(delta: &[u8], limits: &Limits) -> Result<Container> {
    let limits = &limits.format;
    let (preamble, rest) = delta.split_at_checked(PREAMBLE).ok_or(Refusal::Wrong("no preamble"))?;
    must(&preamble[..8] == MAGIC, "another magic")?;
    must(u16::from_le_bytes([preamble[8], preamble[9]]) == skiff_format::VERSION, "another version")?;
    must(preamble[10..12] == [0, 0], "reserved bytes")?;
    let word =
        |at: usize| u32::from_le_bytes([preamble[at], preamble[at + 1], preamble[at + 2], preamble[at + 3]]);
    must(word(48) == 0, "signatures")?;
    let length = u64::from(word(12));
    at_most(PREAMBLE as u64 + length, limits.header_bytes)?;
    let mut rest = Bytes(rest);
    let body = rest.take(length)?;
    must(
        sha256(&[&preamble[..16], body].concat()) == preamble[16..48],
        "the header does not have its digest",
    )?;
    let (header, rows) = read_body(&mut Bytes(body))?;

    at_most(header.facts[7], limits.decoder_memory)?;
    let (mut size, mut payload) = (PREAMBLE as u64 + length, 0_u64);
    for row in &rows {
        size = size.checked_add(row.encoded).ok_or(Refusal::Wrong("larger than any file"))?;
        if !row.is_known() {
            continue;
        }
        payload = payload.saturating_add(row.decoded);
        at_most(row.decoded, limits.frame_bytes)?;
        at_most(compressors::dictionary(row.compressor, row.parameter), limits.dictionary_bytes)?;
    }
    at_most(size, limits.delta_bytes)?;
    at_most(payload, limits.payload_bytes)?;

    let mut frames = Vec::new();
    for row in rows {
        let bytes = rest.take(row.encoded)?;
        must(sha256(bytes) == row.digest, "a frame does not have its digest")?;
        if row.is_known() {
            let payload = compressors::decompress((row.compressor, row.parameter), bytes, row.decoded)?;
            frames.push((row.section, payload));
        }
    }
    rest.at_end()?;
    Ok(Container { header, frames })
}

fn at_most(wanted: u64, limit: u64) -> Result<()> {
    if wanted > limit { Err(Refusal::TooMuch) } else { Ok(()) }
}

fn read_body(body: &mut Bytes<'_>) -> Result<(Header, Vec<Row>)> {
    let mut codecs: Vec<(u64, u64)> = Vec::new();
    for _ in 0..body.below(257, "more than 256 codecs")? {
        let codec = (body.below(1 << 16, "a codec's number")?, body.below(1 << 16, "a codec's version")?);
        must(codecs.last().is_none_or(|last| last.0 < codec.0), "codecs out of order")?;
        codecs.push(codec);
    }
    let mut bases: Vec<(Digest, Digest)> = Vec::new();
    for _ in 0..body.below(17, "more than 16 bases")? {
        let base = (body.digest()?, body.digest()?);
        must(bases.iter().all(|known| known.0 != base.0), "a base twice")?;
        must(bases.iter().all(|known| known.1 == base.1), "bases of different trees")?;
        bases.push(base);
    }
    must(!bases.is_empty(), "no base")?;
    let release = body.digest()?;
    let tree = body.digest()?;
    let config = if body.flag()? { Some(body.digest()?) } else { None };
    let manifest = if body.flag()? { Some(body.digest()?) } else { None };
    must(release == release_id(&tree, config.as_ref()), "the target has another name")?;
    let mut facts = [0; 8];
    for fact in &mut facts {
        *fact = body.integer()?;
    }
    let mut last = 0;
    for _ in 0..body.below(257, "more than 256 extensions")? {
        let number = body.integer()?;
        must(number > last, "extensions out of order")?;
        last = number;
        must(!body.flag()?, "an extension that must not be passed")?;
        let length = body.integer()?;
        body.take(length)?;
    }
    let mut rows = Vec::new();
    for _ in 0..body.integer()? {
        rows.push(read_row(body)?);
    }
    body.at_end()?;
    check_sections(&rows, config, manifest)?;
    Ok((Header { codecs, bases, tree, config, manifest, facts }, rows))
}

pub(crate) fn release_id(tree: &Digest, config: Option<&Digest>) -> Digest {
    let config = config.map_or(vec![0], |digest| [&[1][..], digest].concat());
    sha256(&[b"skiff-release 1\n", &tree[..], &config].concat())
}

fn read_row(body: &mut Bytes<'_>) -> Result<Row> {
    let section = body.integer()?;
    let skippable = body.below(2, "reserved flags")? == 1;
    let (compressor, parameter) = (body.integer()?, body.integer()?);
    let (encoded, decoded) = (body.integer()?, body.integer()?);
    must(encoded > 0, "an empty frame")?;
    let row = Row { section, skippable, compressor, parameter, encoded, decoded, digest: body.digest()? };
    if row.is_known() {
        compressors::check(compressor, parameter)?;
        must(if compressor == 0 { encoded == decoded } else { encoded < decoded }, "sizes that do not fit")?;
        must(compressor != 1 || decoded <= compressors::dictionary(1, parameter), "a small dictionary")?;
    }
    Ok(row)
}

fn check_sections(rows: &[Row], config: Option<Digest>, manifest: Option<Digest>) -> Result<()> {
    let is_known = |row: &&Row| row.is_known();
    must(rows.iter().filter(|row| !is_known(row)).all(|row| row.skippable), "an unknown section")?;
    must(rows.iter().filter(is_known).all(|row| !row.skippable), "a skippable section that is known")?;
    must(rows.iter().filter(is_known).is_sorted_by_key(|row| row.section), "sections out of order")?;
    let has = |number| rows.iter().any(|row| row.section == number);
    let wants = |digest: Option<Digest>| digest.is_some_and(|digest| digest != sha256(b""));
    must(has(1) == wants(config) && has(2) == wants(manifest), "config or manifest")?;
    must(has(3), "no tree")
}
