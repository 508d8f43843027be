use std::io::Cursor;
use std::num::NonZeroUsize;

use skiff_block::{
    Limits, Signature, SignatureKind, SignatureParams, Table, delta, delta_with_old, patch, write_signature,
};

use super::Reached;
use super::input::Input;

/// More than the new file grows to here, unless it is repeated.
const NEW: usize = 100_000;
/// What it is repeated to: several threads search only what is worth it.
const REPEATED: usize = 600_000;
/// Blocks that are shorter are not looked for in as much: each takes a hash of its own, and with them a single input takes minutes.
const LEAST_BLOCK: u32 = 64;

/// Block deltas there and back: the first byte chooses the kind of signature, how much of the strong hash is kept and whether the
/// new file is repeated; a short number is the length of blocks, a part the old file, and the rest makes the new one of
/// new bytes and pieces of the old.
///
/// What is made of a delta is the new file, on any number of threads the delta is the same, and with the old file at hand it
/// is no longer. A signature is the same whether it is written at once or read and written.
///
/// # Panics
/// Where one of these does not hold.
pub fn block_delta(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let flags = input.byte();
    let kind = SignatureKind::ALL[usize::from(flags & 3)];
    let strong_len = 8 + u32::from(flags >> 2 & 7);
    let block_len = u32::from(input.short()) + 1;
    let old = input.part();
    let mut new = new_file(old, input);
    if flags & 0x80 != 0 && block_len >= LEAST_BLOCK && !new.is_empty() {
        new = new.repeat(REPEATED.div_ceil(new.len()));
    }
    let params = SignatureParams::new(kind, block_len, strong_len).expect("because the lengths are in range");
    let [one, two] = [1, 2].map(|threads| NonZeroUsize::new(threads).expect("because it is not 0"));

    let signature = Signature::of(old, &params, one).expect("because memory is read");
    let (mut written, mut again) = (Vec::new(), Vec::new());
    write_signature(old, &params, two, &mut written).expect("because a vector takes everything");
    signature.write(&mut again).expect("because a vector takes everything");
    assert!(written == again, "two ways to write a signature");
    let read = Signature::read(&written[..], &Limits::default()).expect("because it was written just now");
    assert!(read == signature, "a signature is read as another one");

    let table = Table::new(signature).expect("because it has few blocks");
    let [first, second] = [one, two].map(|threads| {
        let mut bytes = Vec::new();
        delta(&table, &new[..], threads, &mut bytes).expect("because memory is read");
        bytes
    });
    assert!(first == second, "the number of threads makes a difference");
    let mut with_old = Vec::new();
    delta_with_old(&table, Cursor::new(old), &new[..], two, &mut with_old).expect("because memory is read");
    assert!(with_old.len() <= first.len(), "the old file made the delta longer");
    for bytes in [first, with_old] {
        let mut made = Vec::new();
        patch(Cursor::new(old), &bytes[..], &mut made, &Limits::default()).expect("because it was just made");
        assert!(made == new, "another file comes back");
    }
    Reached::Accepted
}

/// New bytes and pieces of the old file, in turns as the input says.
fn new_file(old: &[u8], mut input: Input<'_>) -> Vec<u8> {
    let mut new = Vec::new();
    while !input.is_empty() && new.len() < NEW {
        if input.byte().is_multiple_of(2) {
            new.extend_from_slice(input.few());
        } else {
            let from = usize::from(input.short()).min(old.len());
            let to = (from + usize::from(input.short())).min(old.len());
            new.extend_from_slice(&old[from..to]);
        }
    }
    new
}
