//! A delta taken apart into all that it is written from, to be changed and put together again with every digest right.

mod contents;
mod frame;
mod item;
mod mutate;
mod payload;

use skiff_replay::Limits;

pub(crate) use contents::{Origin, Part, Record};
pub(crate) use frame::{Frame, How, Payload};
pub(crate) use item::Item;
pub(crate) use mutate::mutate;

use super::naive::{self, Base, Digest};

const CONFIG: u64 = 1;
const MANIFEST: u64 = 2;
const TREE: u64 = 3;
const CONTENTS: u64 = 4;
/// The longest output that is made right: some bytes of a code that learns stand for whatever length is asked for, which takes as long.
const LONGEST: u64 = 1 << 20;
/// Columns of the tree section.
const SIZES: usize = 11;

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) version: u16,
    pub(crate) reserved: u16,
    pub(crate) codecs: Vec<(u64, u64)>,
    pub(crate) bases: Vec<(Digest, Digest)>,
    /// The target's tree, and its name where that is not the right one.
    pub(crate) tree: Digest,
    pub(crate) release: Option<Digest>,
    pub(crate) has_config: bool,
    pub(crate) has_manifest: bool,
    pub(crate) facts: [u64; 8],
    /// Number, whether it must not be passed, and what it says.
    pub(crate) extensions: Vec<(u64, u8, Vec<u8>)>,
    pub(crate) frames: Vec<Frame>,
    /// The number of frames, where it is a lie.
    pub(crate) count: Option<u64>,
    /// What follows the last frame, and how much is missing at the end.
    pub(crate) after: Vec<u8>,
    pub(crate) cut: usize,
}

impl Model {
    /// Takes a sound delta apart.
    pub(crate) fn read(delta: &[u8], base: &Base) -> Self {
        let mut reader = skiff_format::Reader::new(delta, skiff_format::Limits::default());
        let mut next = || reader.next_event().expect("because golden deltas are sound");
        let Some(skiff_format::Event::Header(header)) = next() else { panic!("a delta without a header") };
        let mut frames = Vec::new();
        let mut new = Vec::new();
        while let Some(event) = next() {
            let skiff_format::Event::Frame(frame) = event else { continue };
            let row = header.frames()[frame.index];
            let frame = Frame::read(&row, frame.payload, (base, &mut new));
            frames.push(frame);
        }
        let target = header.target();
        let facts = header.facts();
        Self {
            version: skiff_format::VERSION,
            reserved: 0,
            codecs: header.codecs().iter().map(|codec| (codec.id.into(), codec.version.into())).collect(),
            bases: header
                .bases()
                .iter()
                .map(|base| (*base.release.as_bytes(), *base.tree.as_bytes()))
                .collect(),
            tree: *target.tree.as_bytes(),
            release: None,
            has_config: target.config.is_some(),
            has_manifest: target.manifest.is_some(),
            facts: [
                facts.target_bytes,
                facts.new_bytes,
                facts.unchanged_bytes,
                facts.entries,
                facts.inodes,
                facts.unchanged_inodes,
                facts.pull_bytes.map_or(0, |bytes| bytes + 1),
                facts.decoder_memory,
            ],
            extensions: Vec::new(),
            frames,
            count: None,
            after: Vec::new(),
            cut: 0,
        }
    }

    /// The payload of a section, all frames together.
    fn section(&self, number: u64, base: &Base) -> Vec<u8> {
        let new = if number == CONTENTS { self.new_contents(base) } else { Vec::new() };
        let frames = self.frames.iter().filter(|frame| frame.section == number);
        frames.flat_map(|frame| frame.payload.put(&new)).collect()
    }

    /// What the tree section tells of new contents.
    pub(crate) fn new_contents(&self, base: &Base) -> Vec<naive::NewContent> {
        naive::new_contents(&self.section(TREE, base), base, &skiff_tree::Limits::default())
    }

    /// Makes sizes and lengths right where they follow from what was changed.
    pub(crate) fn mend(&mut self, base: &Base) {
        let mut made = Vec::new();
        for record in self.frames.iter_mut().flat_map(|frame| frame.payload.records()) {
            if let Some(output) = payload::mend(record.codec, &mut record.payload) {
                record.output = output;
            }
            record.output = record.output.min(LONGEST);
            made.push((record.content, record.output));
        }
        let new = self.new_contents(base);
        let Some(sizes) = self.frames.iter_mut().find_map(|frame| frame.payload.column(SIZES)) else {
            return;
        };
        for (number, new) in new.iter().enumerate() {
            let outputs = made.iter().filter(|record| usize::try_from(record.0) == Ok(number));
            let sum = outputs.fold(0_u64, |sum, record| sum.wrapping_add(record.1));
            if let Some(Item::Integer(told)) = sizes.get_mut(number) {
                let change = sum.wrapping_sub(new.size).cast_signed();
                *told = skiff_wire::zigzag(skiff_wire::unzigzag(*told).wrapping_add(change));
            }
        }
    }

    /// Has the header promise what comes out.
    pub(crate) fn promise(&mut self, base: &Base, limits: &Limits) {
        if let Ok((target, new_bytes)) = naive::come_out(&self.put(base), base, limits) {
            (self.tree, self.facts[1]) = (target.tree_digest(), new_bytes);
        }
    }

    /// Puts it together, with all digests right.
    pub(crate) fn put(&self, base: &Base) -> Vec<u8> {
        let new = self.new_contents(base);
        let frames: Vec<(Vec<Item>, Vec<u8>)> = self.frames.iter().map(|frame| frame.put(&new)).collect();
        let mut body = self.head(base);
        skiff_wire::put_varint(&mut body, self.count.unwrap_or(frames.len() as u64));
        frames.iter().for_each(|(row, _)| body.extend(item::put_all(row)));
        let mut delta = b"\x89SKF\r\n\x1a\n".to_vec();
        delta.extend(self.version.to_le_bytes());
        delta.extend(self.reserved.to_le_bytes());
        delta.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        let digest = skiff_wire::digest::sha256(&[&delta[..], &body].concat());
        delta.extend(digest);
        delta.extend([0; 4]);
        delta.extend(body);
        frames.iter().for_each(|(_, bytes)| delta.extend(bytes));
        delta.extend(&self.after);
        delta.truncate(delta.len().saturating_sub(self.cut));
        delta
    }

    fn head(&self, base: &Base) -> Vec<u8> {
        let mut body = Vec::new();
        let put = skiff_wire::put_varint;
        put(&mut body, self.codecs.len() as u64);
        for &(number, version) in &self.codecs {
            put(&mut body, number);
            put(&mut body, version);
        }
        put(&mut body, self.bases.len() as u64);
        self.bases.iter().for_each(|(release, tree)| body.extend([&release[..], tree].concat()));
        let digest =
            |has: bool, section| has.then(|| skiff_wire::digest::sha256(&self.section(section, base)));
        let (config, manifest) = (digest(self.has_config, CONFIG), digest(self.has_manifest, MANIFEST));
        let named = config.map_or(vec![0], |digest| [&[1][..], &digest].concat());
        let name = [b"skiff-release 1\n", &self.tree[..], &named].concat();
        body.extend(self.release.unwrap_or_else(|| skiff_wire::digest::sha256(&name)));
        body.extend(self.tree);
        for digest in [config, manifest] {
            body.push(digest.is_some().into());
            body.extend(digest.into_iter().flatten());
        }
        self.facts.iter().for_each(|&fact| put(&mut body, fact));
        put(&mut body, self.extensions.len() as u64);
        for (number, needed, bytes) in &self.extensions {
            put(&mut body, *number);
            body.push(*needed);
            skiff_wire::put_bytes(&mut body, bytes);
        }
        body
    }
}
