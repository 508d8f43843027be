//! Huffman codes of limited length, with the programs' way out of every tie.

/// Literals, the end of the block, lengths.
pub(super) const LITERAL_CODES: usize = 286;
pub(super) const DISTANCE_CODES: usize = 30;
const LENGTH_CODES: usize = 19;
pub(super) const END_OF_BLOCK: usize = 256;
/// Where the codes of lengths begin among the literals.
pub(super) const FIRST_LENGTH: usize = END_OF_BLOCK + 1;

/// RFC 1951, 3.2.5: the extra bits of length codes, and of distance codes.
pub(super) const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
pub(super) const DISTANCE_EXTRA: [u8; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

/// RFC 1951, 3.2.7: the order in which the lengths of the length codes' codes are sent.
const LENGTH_ORDER: [usize; LENGTH_CODES] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// How long a block would be, in bits.
#[derive(Default)]
pub(super) struct Cost {
    /// With codes of its own.
    pub(super) dynamic: i64,
    /// With the fixed codes.
    pub(super) fixed: i64,
}

/// What there is to be coded.
pub(super) struct Alphabet {
    extra: &'static [u8],
    /// The first symbol with extra bits.
    extra_base: usize,
    fixed_length: Option<fn(usize) -> u8>,
    /// No code may be longer.
    longest: usize,
}

pub(super) const LITERALS: Alphabet = Alphabet {
    extra: &LENGTH_EXTRA,
    extra_base: FIRST_LENGTH,
    fixed_length: Some(fixed_literal_length),
    longest: 15,
};
pub(super) const DISTANCES: Alphabet =
    Alphabet { extra: &DISTANCE_EXTRA, extra_base: 0, fixed_length: Some(|_| 5), longest: 15 };
const LENGTHS: Alphabet = Alphabet { extra: &[2, 3, 7], extra_base: 16, fixed_length: None, longest: 7 };

impl Alphabet {
    fn extra(&self, symbol: usize) -> u8 {
        symbol.checked_sub(self.extra_base).and_then(|index| self.extra.get(index)).copied().unwrap_or(0)
    }
}

const fn fixed_literal_length(symbol: usize) -> u8 {
    match symbol {
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}

/// A code: for each symbol its length in bits and its bits, the first one lowest.
pub(super) struct Code {
    pub(super) lengths: Vec<u8>,
    pub(super) bits: Vec<u16>,
}

impl Code {
    pub(super) fn fixed_literals() -> Self {
        // The two last symbols are never sent but take part.
        Self::from_lengths((0..LITERAL_CODES + 2).map(fixed_literal_length).collect())
    }

    pub(super) fn fixed_distances() -> Self {
        Self::from_lengths(vec![5; DISTANCE_CODES])
    }

    /// RFC 1951, 3.2.2.
    fn from_lengths(lengths: Vec<u8>) -> Self {
        let mut next = [0_u16; 16];
        let count =
            |length: usize| lengths.iter().filter(|&&found| usize::from(found) == length).count() as u16;
        for length in 2..16 {
            next[length] = (next[length - 1] + count(length - 1)) << 1;
        }
        let mut code = |&length: &u8| {
            let code = next[usize::from(length)];
            next[usize::from(length)] = code.wrapping_add(1);
            if length == 0 { 0 } else { code.reverse_bits() >> (16 - length) }
        };
        let bits = lengths.iter().map(&mut code).collect();
        Self { lengths, bits }
    }

    /// The best code for symbols of these frequencies, up to the last symbol that occurs. At least two symbols get one.
    pub(super) fn build(frequencies: &[u32], alphabet: &Alphabet, cost: &mut Cost) -> Self {
        let mut tree = Tree::new(frequencies);
        for symbol in tree.leaves() {
            let extra = i64::from(alphabet.extra(symbol));
            // A symbol that only makes up the number costs nothing, as it is never sent.
            let frequency = i64::from(frequencies[symbol]);
            cost.dynamic += frequency * extra;
            if let Some(length) = alphabet.fixed_length {
                cost.fixed += frequency * (i64::from(length(symbol)) + extra);
            }
        }
        let lengths = tree.lengths(alphabet.longest);
        let sent = lengths.iter().zip(frequencies);
        cost.dynamic +=
            sent.map(|(&length, &frequency)| i64::from(length) * i64::from(frequency)).sum::<i64>();
        Self::from_lengths(lengths)
    }
}

/// A Huffman tree under construction.
struct Tree {
    /// Of the symbols, then of the inner nodes.
    frequencies: Vec<u32>,
    depths: Vec<u8>,
    parents: Vec<usize>,
    /// Nodes without a parent, the rarest first: a binary heap, which decides between equals by where they are in it.
    heap: Vec<usize>,
    /// How many symbols there are, up to the last with a code.
    symbols: usize,
}

impl Tree {
    fn new(frequencies: &[u32]) -> Self {
        let mut frequencies = frequencies.to_vec();
        let mut heap: Vec<_> = (0..frequencies.len()).filter(|&symbol| frequencies[symbol] > 0).collect();
        let mut last = heap.last().copied();
        while heap.len() < 2 {
            // Symbols that do not occur make up the number: small ones, before the last.
            let symbol = match last {
                Some(last @ 0..2) => last + 1,
                _ => 0,
            };
            last = last.max(Some(symbol));
            frequencies[symbol] = 1;
            heap.push(symbol);
        }
        let symbols = last.map_or(0, |last| last + 1);
        let inner = frequencies.len();
        Self { depths: vec![0; inner], parents: vec![0; inner], frequencies, heap, symbols }
    }

    fn leaves(&self) -> Vec<usize> {
        self.heap.clone()
    }

    /// Joins the rarest nodes until one is left, and gives each symbol the length of its way to it, `longest` at most.
    fn lengths(&mut self, longest: usize) -> Vec<u8> {
        let leaves = self.frequencies.len();
        let order = self.join();
        let mut lengths = vec![0_usize; self.frequencies.len()];
        let mut counts = vec![0_usize; longest + 1];
        let mut overflow = 0_usize;
        for &node in order.iter().rev().skip(1) {
            let mut length = lengths[self.parents[node]] + 1;
            if length > longest {
                length = longest;
                overflow += 1;
            }
            lengths[node] = length;
            if node < leaves {
                counts[length] += 1;
            }
        }
        if overflow > 0 {
            shorten(&mut counts, overflow);
            let mut symbols = order.iter().filter(|&&node| node < leaves);
            for length in (1..=longest).rev() {
                for &symbol in symbols.by_ref().take(counts[length]) {
                    lengths[symbol] = length;
                }
            }
        }
        lengths[..self.symbols].iter().map(|&length| length as u8).collect()
    }

    /// The nodes in the order in which they got a parent, the root last.
    fn join(&mut self) -> Vec<usize> {
        let mut order = Vec::with_capacity(2 * self.heap.len());
        for index in (0..self.heap.len() / 2).rev() {
            self.sink(index);
        }
        while self.heap.len() > 1 {
            let rarest = self.heap.swap_remove(0);
            self.sink(0);
            let next = self.heap[0];
            order.extend([rarest, next]);
            let node = self.frequencies.len();
            self.frequencies.push(self.frequencies[rarest] + self.frequencies[next]);
            self.depths.push(self.depths[rarest].max(self.depths[next]) + 1);
            self.parents.push(0);
            self.parents[rarest] = node;
            self.parents[next] = node;
            self.heap[0] = node;
            self.sink(0);
        }
        order.extend(&self.heap);
        order
    }

    fn sink(&mut self, mut index: usize) {
        loop {
            let mut child = 2 * index + 1;
            if child + 1 < self.heap.len() && self.is_rarer(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if child >= self.heap.len() || self.is_rarer(self.heap[index], self.heap[child]) {
                return;
            }
            self.heap.swap(index, child);
            index = child;
        }
    }

    fn is_rarer(&self, left: usize, right: usize) -> bool {
        (self.frequencies[left], self.depths[left]) <= (self.frequencies[right], self.depths[right])
    }
}

/// Makes room for codes that were cut to the longest length: a shorter leaf becomes a parent, again and again.
fn shorten(counts: &mut [usize], overflow: usize) {
    let longest = counts.len() - 1;
    for _ in 0..overflow.div_ceil(2) {
        let Some(length) = (1..longest).rev().find(|&length| counts[length] > 0) else { return };
        counts[length] -= 1;
        counts[length + 1] += 2;
        counts[longest] -= 1;
    }
}

/// The two codes of a block, as they are sent before it.
pub(super) struct Description {
    /// Symbols of the length code, and their extra bits.
    runs: Vec<(u8, u8)>,
    code: Code,
    /// How many lengths of the length code are sent.
    sent: usize,
}

impl Description {
    pub(super) fn new(literals: &Code, distances: &Code, cost: &mut Cost) -> Self {
        let mut runs = runs(&literals.lengths);
        runs.extend(self::runs(&distances.lengths));
        let mut frequencies = [0; LENGTH_CODES];
        for &(symbol, _) in &runs {
            frequencies[usize::from(symbol)] += 1;
        }
        let code = Code::build(&frequencies, &LENGTHS, cost);
        let is_used = |&symbol: &usize| code.lengths.get(symbol).is_some_and(|&length| length > 0);
        let sent = LENGTH_ORDER.iter().rposition(is_used).map_or(4, |last| (last + 1).max(4));
        cost.dynamic += 3 * sent as i64 + 5 + 5 + 4;
        Self { runs, code, sent }
    }

    /// Sends everything as pairs of bits and their number.
    pub(super) fn send(&self, literals: &Code, distances: &Code, mut put: impl FnMut(u16, u8)) {
        put((literals.lengths.len() - FIRST_LENGTH) as u16, 5);
        put((distances.lengths.len() - 1) as u16, 5);
        put((self.sent - 4) as u16, 4);
        for &symbol in &LENGTH_ORDER[..self.sent] {
            put(self.code.lengths.get(symbol).copied().unwrap_or(0).into(), 3);
        }
        for &(symbol, extra) in &self.runs {
            put(self.code.bits[usize::from(symbol)], self.code.lengths[usize::from(symbol)]);
            put(extra.into(), LENGTHS.extra(symbol.into()));
        }
    }
}

/// Lengths as symbols of the length code: runs of the last length (16) and of zeros (17, 18), as long as they can be.
fn runs(lengths: &[u8]) -> Vec<(u8, u8)> {
    let mut runs = Vec::new();
    let mut last = None;
    let mut at = 0;
    while at < lengths.len() {
        let length = lengths[at];
        let repeats = last == Some(length);
        let (most, least) = if length == 0 {
            (138, 3)
        } else if repeats {
            (6, 3)
        } else {
            (7, 4)
        };
        let count = lengths[at..].iter().take(most).take_while(|&&next| next == length).count();
        match (count, length) {
            (few, _) if few < least => runs.extend(std::iter::repeat_n((length, 0), few)),
            (3..=10, 0) => runs.push((17, count as u8 - 3)),
            (_, 0) => runs.push((18, count as u8 - 11)),
            _ if repeats => runs.push((16, count as u8 - 3)),
            _ => runs.extend([(length, 0), (16, count as u8 - 4)]),
        }
        last = Some(length);
        at += count;
    }
    runs
}
