use std::io::{Cursor, Write};

use skiff_block::{BlockError, Command, Commands, DeltaWriter, Limits, Sink, patch};

use super::Reached;
use super::input::Input;

/// More than a delta may make here.
const OUTPUT: u64 = 100_000;

/// Block deltas: the first byte chooses between a delta as it is and one that lacks what deltas begin with; a part is the old
/// file, and the rest is the delta.
///
/// Whatever a delta holds: no more is written than allowed. What is accepted is, written anew command by command, no longer, and
/// makes the same file.
///
/// # Panics
/// Where one of these does not hold.
pub fn block_patch(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let is_whole = input.byte().is_multiple_of(2);
    let old = input.part();
    let start: &[u8] = if is_whole { &[] } else { b"rs\x02\x36" };
    let delta = [start, input.rest()].concat();
    let limits = Limits::default().with_output_bytes(OUTPUT);
    let mut made = Vec::new();
    let result = patch(Cursor::new(old), &delta[..], &mut made, &limits);
    assert!(made.len() as u64 <= OUTPUT, "more was written than allowed");
    let report = match result {
        Ok(report) => report,
        Err(BlockError::Io { stream, source }) => {
            panic!("nothing fails here, and {stream} did: {source}");
        }
        Err(_) => return Reached::Refused,
    };
    assert_eq!(report.new_bytes, made.len() as u64);
    assert!(report.delta_bytes <= delta.len() as u64);

    let again = rewritten(&delta).expect("because it was accepted");
    assert!(again.len() as u64 <= report.delta_bytes, "the shortest form of commands is longer");
    let mut remade = Vec::new();
    patch(Cursor::new(old), &again[..], &mut remade, &limits).expect("because it has the same commands");
    assert!(remade == made, "the same commands make another file");
    Reached::Accepted
}

/// The same commands, each in its shortest form.
fn rewritten(delta: &[u8]) -> Result<Vec<u8>, BlockError> {
    let mut commands = Commands::new(delta)?;
    let mut writer = DeltaWriter::new(Vec::new())?;
    while let Some(command) = commands.next_command()? {
        match command {
            Command::Copy { offset, length } => writer.copy(offset, length)?,
            Command::Literal { .. } => {
                let (mut literal, mut piece) = (Vec::new(), [0; 100]);
                loop {
                    let count = commands.read_literal(&mut piece)?;
                    if count == 0 {
                        break;
                    }
                    literal.write_all(&piece[..count]).expect("because a vector takes everything");
                }
                writer.literal(&literal)?;
            }
        }
    }
    Ok(writer.finish()?.0)
}
