//! A delta whose lists are told as plain copies of renewed ones, which no encoder writes, for decoders without codecs that learn.

use skiff_diff::{Ideas, Options, diff};
use skiff_format::{CodecInfo, Section};
use skiff_patch::{Codec, bsdiff};
use skiff_replay::record::{self, Extent, Known, Origin, Part, Record};
use skiff_tree::section;

use crate::damage::{put_together, take_apart};
use crate::images::Image;

pub(crate) fn make(base: &Image, target: &Image) -> Vec<u8> {
    let options = Options { ideas: Ideas::NONE, pull_bytes: Some(4096), ..Options::default() };
    let mut delta = Vec::new();
    diff(&base.release(), &target.release(), &options, &mut delta).unwrap();
    let (mut fields, frames) = take_apart(&delta);
    fields.codecs = [Codec::Data, Codec::Bsdiff].map(|codec| CodecInfo { id: codec.id(), version: 0 }).into();
    let mut frames: Vec<_> =
        frames.into_iter().filter(|(section, _)| *section != Section::Contents).collect();

    let told = section::encode(&base.tree, &target.tree).new_contents;
    let path = |entry: u32| &target.tree.entries()[entry as usize].path;
    let known = Known::new(&base.tree, target.tree.entries(), &told);
    let (mut plain, mut lists) = (Vec::new(), Vec::new());
    for (content, new) in (0..).zip(&told) {
        let path = path(new.entry);
        let (bytes, output_len) = (target.content(path), new.size);
        if path.as_bytes().ends_with(b"sums")
            || path.as_bytes().ends_with(b"SUMS")
            || path.as_bytes().ends_with(b"RECORD")
        {
            let index = u32::try_from(base.tree.position(path).unwrap()).unwrap();
            let source = vec![Part { origin: Origin::Base(index), extent: Extent::Renewed }];
            // A renewed list is the new one, byte for byte.
            let payload = bsdiff::encode(&bytes, &bytes, &bsdiff::Options::default()).remove(0).payload;
            lists.push(Record { codec: Codec::Bsdiff.id(), content, output_len, source, payload });
        } else {
            plain.push(Record {
                codec: Codec::Data.id(),
                content,
                output_len,
                source: Vec::new(),
                payload: bytes,
            });
        }
    }
    for records in [plain, lists] {
        frames.push((Section::Contents, record::encode(&records, &known)));
    }
    put_together(&fields, &frames)
}
