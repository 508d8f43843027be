//! Reading: the side that makes a delta.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use skiff_block::{BlockError, SAFE_STRONG_LEN, Signature, StrongHash};
use skiff_tree::{ConfigDigest, ContentDigest, ReleaseId, Tree};
use skiff_wire::{Fault, Input};

use crate::{MAGIC, SignatureError, VERSION};

/// What reading a tree signature may cost.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Of its tree: entries and bytes.
    pub tree: skiff_tree::Limits,
    /// Of the signatures of all files together: [`signature_bytes`](skiff_block::Limits::signature_bytes), 1 GiB unless set.
    pub block: skiff_block::Limits,
}

/// What a release is, for somebody who does not have it: its tree, and which blocks its files have.
#[derive(Debug)]
pub struct TreeSignature {
    tree: Tree,
    config: Option<ConfigDigest>,
    signatures: HashMap<ContentDigest, Arc<Signature>>,
}

impl TreeSignature {
    /// Reads a tree signature to its end.
    ///
    /// Who sent it may have lied: whatever is made from it is a delta for the release that it names, and useless for any other.
    ///
    /// # Errors
    /// [`SignatureError::Corrupt`] where it is none or damaged; [`SignatureError::Unsupported`]; [`SignatureError::LimitExceeded`];
    /// [`SignatureError::Io`]. Memory is taken as bytes arrive.
    pub fn read(input: impl Read, limits: &Limits) -> Result<Self, SignatureError> {
        let mut input =
            Watched { input: BufReader::with_capacity(1 << 16, input), hasher: Sha256::new(), offset: 0 };
        match input.array("what it begins with")? {
            MAGIC => {}
            start if start.starts_with(b"\x89SKF") => {
                return Err(SignatureError::corrupt(0, "it is a delta, and a tree signature is wanted"));
            }
            start if start.starts_with(b"rs\x01") => {
                return Err(SignatureError::corrupt(
                    0,
                    "it is the signature of a single file, and one of a tree is wanted",
                ));
            }
            _ => return Err(SignatureError::corrupt(0, "it does not begin as a tree signature does")),
        }
        let version = u16::from_le_bytes(input.array("its version")?);
        if version != VERSION {
            return Err(SignatureError::Unsupported { version });
        }
        if input.array("its version")? != [0; 2] {
            return Err(SignatureError::corrupt(10, "reserved bytes are not 0"));
        }
        let config = match input.array("a flag")? {
            [0] => None,
            [1] => Some(ConfigDigest::from_bytes(input.array("a digest")?)),
            _ => return Err(SignatureError::corrupt(12, "a flag other than 0 and 1")),
        };
        let tree = read_tree(&mut input, limits)?;
        let signatures = read_signatures(&tree, &mut input, limits)?;
        let (found, offset) = (input.hasher.clone().finalize(), input.offset);
        if input.array::<32>("its digest")?[..] != found[..] {
            return Err(SignatureError::corrupt(offset, "its digest does not fit: it was damaged"));
        }
        if !input.fill_buf().map_err(reading)?.is_empty() {
            return Err(SignatureError::corrupt(input.offset, "bytes follow its end"));
        }
        Ok(Self { tree, config, signatures })
    }

    /// The release's tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The digest of the release's config, where it has one.
    #[must_use]
    pub fn config(&self) -> Option<ConfigDigest> {
        self.config
    }

    /// The release that was signed.
    #[must_use]
    pub fn release_id(&self) -> ReleaseId {
        ReleaseId::new(self.tree.digest(), self.config)
    }

    /// The signature of the file that is the tree's entry `index`; none where it is none, or too short to be signed.
    #[must_use]
    pub fn of_file(&self, index: usize) -> Option<&Arc<Signature>> {
        self.signatures.get(&self.tree.entries().get(index)?.as_file()?.digest)
    }
}

fn read_tree<R: BufRead>(input: &mut Watched<R>, limits: &Limits) -> Result<Tree, SignatureError> {
    let length = input.varint()?;
    let start = input.offset;
    if length > limits.tree.bytes {
        let (what, limit) = ("bytes of a tree", limits.tree.bytes);
        return Err(SignatureError::LimitExceeded { what, wanted: length, limit });
    }
    let tree = Tree::decode(input.by_ref().take(length), &limits.tree);
    let tree = tree.map_err(|error| SignatureError::of_tree(error, start))?;
    if input.offset - start != length {
        return Err(SignatureError::corrupt(input.offset, "its tree is shorter than it was said to be"));
    }
    Ok(tree)
}

fn read_signatures<R: BufRead>(
    tree: &Tree,
    input: &mut Watched<R>,
    limits: &Limits,
) -> Result<HashMap<ContentDigest, Arc<Signature>>, SignatureError> {
    let mut signatures = HashMap::new();
    let mut first_paths = HashMap::new();
    for (index, _, content) in tree.files() {
        let &mut (_, size) = first_paths.entry(content.digest).or_insert((index, content.size));
        // Else the blocks of the one would pass for those of the other.
        if size != content.size {
            return Err(SignatureError::corrupt(input.offset, "its tree has one content in two sizes"));
        }
    }
    let (mut next, mut left) = (0_usize, limits.block);
    loop {
        let offset = input.offset;
        let Some(gap) = input.varint()?.checked_sub(1) else { return Ok(signatures) };
        let index = usize::try_from(gap).ok().and_then(|gap| next.checked_add(gap));
        let file = index.and_then(|index| Some((index, tree.entries().get(index)?.as_file()?)));
        let Some((index, content)) = file else {
            return Err(SignatureError::corrupt(offset, "it signs an entry that is no file"));
        };
        if content.size == 0 || first_paths.get(&content.digest) != Some(&(index, content.size)) {
            return Err(SignatureError::corrupt(
                offset,
                "it signs a file without content, or not at its first path",
            ));
        }
        next = index + 1;
        let start = input.offset;
        let signature = Signature::read_of(&mut *input, content.size, &left);
        let signature = signature.map_err(|error| match error {
            // Of all signatures together: what is left for this one is not what was allowed.
            BlockError::LimitExceeded { what, wanted, .. } => {
                let limit = limits.block.signature_bytes;
                let before = limit - left.signature_bytes;
                SignatureError::LimitExceeded { what, wanted: before.saturating_add(wanted), limit }
            }
            other => SignatureError::of_block(other, start),
        })?;
        let params = signature.params();
        if params.kind().strong != StrongHash::Blake2 || params.strong_len() < SAFE_STRONG_LEN {
            let what = format!(
                "its strong hashes are not BLAKE2 with {SAFE_STRONG_LEN} bytes or more: too weak to tell blocks apart"
            );
            return Err(SignatureError::corrupt(start, what));
        }
        left = left.with_signature_bytes(left.signature_bytes.saturating_sub(signature.bytes()));
        signatures.insert(content.digest, Arc::new(signature));
    }
}

fn reading(source: io::Error) -> SignatureError {
    SignatureError::Io { op: "reading", source }
}

/// Hashes and counts what is read, as it is consumed.
struct Watched<R> {
    input: R,
    hasher: Sha256,
    offset: u64,
}

impl<R: BufRead> Watched<R> {
    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], SignatureError> {
        let (mut bytes, offset) = ([0; N], self.offset);
        self.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                SignatureError::corrupt(offset, format!("it ends where {what} should stand"))
            }
            _ => reading(error),
        })?;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64, SignatureError> {
        let offset = self.offset;
        Input::new(self).varint().map_err(|error| match error.fault {
            Fault::Io(source) => reading(source),
            fault => SignatureError::corrupt(offset, fault.to_string()),
        })
    }
}

impl<R: BufRead> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.input.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Watched<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What `fill_buf` has returned stays buffered until it is consumed, so this reads nothing.
        if let Ok(buffered) = self.input.fill_buf() {
            let count = count.min(buffered.len());
            self.hasher.update(&buffered[..count]);
            self.offset += count as u64;
            self.input.consume(count);
        }
    }
}
