"""The codec `align`: copies, literals, corrections ("The codec align")."""

import predict
from coded import Bit, Bytes, Flags, Numbers, SignedNumbers, Stream, hashed
from wire import Input, must

WORD64 = (1 << 64) - 1
STRETCH_LENGTH = 32768


def last(known, count):
    return known & (1 << 8 * count) - 1


def g(index, value):
    return ((value ^ index << 56) * 0x9E3779B97F4A7C15 & WORD64) >> 32


class Literals:
    def __init__(self):
        self.bytes = Bytes(8, 18, 8, 64)
        self.known, self.word, self.history = 0, 0, bytearray()
        self.table, self.place, self.length, self.right = {}, None, 0, 0

    def know(self, byte):
        self.known = self.known << 8 & WORD64 | byte
        plain = byte < 128 and not chr(byte).isalnum()
        self.word = 0 if plain else ((self.word ^ byte) * 0x01000193 + 1) & 0xFFFFFFFF

    def behind(self, copied):
        """A stretch of literals begins behind a copy of these bytes of the source."""
        for byte in copied[-8:]:
            self.know(byte)
        self.place, self.length = None, 0

    def read(self, stream, beside, is_code):
        r = self.known
        contexts = [g(1, last(r, 1)), g(2, last(r, 2)), g(3, last(r, 3))]
        if is_code:
            contexts = [g(8, 256 * beside + last(r, 1)), *contexts, g(9, last(r, 2) >> 8), g(10, last(r, 3) >> 16)]
            contexts += [g(6, last(r, 3) >> 8), g(11, last(r, 4) & 0xFFE0E0F8)]
        else:
            contexts = [g(0, beside), *contexts, g(4, last(r, 5)), g(5, self.word)]
            contexts += [g(6, last(r, 3) >> 8), g(7, last(r, 4) & 0xF0F0F0FF)]
        length = self.length
        first = None
        if self.place is not None:
            first = (self.history[self.place], length if length < 16 else min(31, 16 + length // 8))
        second = None if beside == 256 else (beside, min(31, self.right))
        fine = (0 if length == 0 else 1 if length <= 4 else 2 if length <= 14 else 3) + 4 * is_code
        coarse = 8 * (r >> 5 & 7) + (r >> 13 & 7)
        byte = self.bytes.read(stream, contexts, (fine, coarse), (first, second))
        self.right = self.right + 1 if byte == beside else 0
        self.append(byte, first)
        return byte

    def append(self, byte, first):
        if len(self.history) == 1 << 21:
            self.history.clear()
            self.table.clear()
            self.place = None
        self.history.append(byte)
        self.know(byte)
        key = (last(self.known, 4) * 0x9E3779B97F4A7C15 & WORD64) >> 48
        if first and first[0] == byte and self.place is not None:
            self.place, self.length = self.place + 1, self.length + 1
        else:
            self.place, self.length = self.table.get(key), 0
        if self.place is not None and self.place >= len(self.history):
            self.place, self.length = None, 0
        self.table[key] = len(self.history)


class Learned:
    """The models of a frame."""

    def __init__(self):
        self.literals = Literals()
        self.before, self.shifts, self.lengths = Numbers(), SignedNumbers(), Numbers()
        self.recent = [[Bit() for _ in range(4)] for _ in range(3)]
        self.blocks = {}
        self.words, self.wrong = Flags(3, 16, 8), Flags(5, 16, 8)
        self.corrections = Bytes(7, 16, 8, 8)
        self.candidates, self.fields = Flags(3, 15, 26), Bytes(5, 14, 1, 8)

    def block(self, kind, words):
        return self.blocks.setdefault((kind, min(23, words.bit_length())), Bit())


def read_copies(stream, learned, count):
    """Copies as start, position and length."""
    copies, recent, end = [], [0] * 4, 0
    l = s = d = 0
    for _ in range(count):
        literals = learned.before.read(stream, (d, l + 256 * s, s + 256 * d))
        l = literals.bit_length()
        which = 0 if literals == 0 else 1 if literals <= 7 else 2
        before = recent[0]
        for place, shift in enumerate(recent):
            if learned.recent[which][place].read(stream):
                recent.pop(place)
                break
        else:
            contexts = (l, l + 256 * s, d + 256 * l + 65536 * s)
            shift = recent[0] + learned.shifts.read(stream, contexts)
            recent.pop()
        recent.insert(0, shift)
        s = abs(shift - before).bit_length()
        length = 1 + learned.lengths.read(stream, (s, l + 256 * s, d + 256 * s))
        d = length.bit_length()
        start = end + literals
        copies.append((start, start + shift, length))
        end = start + length
        must(end < 1 << 63, "copies without end")
    return copies


def decode(payload, source, length, learned):
    told = Input(payload)
    flags = told.byte()
    must(flags < 4, "flags of align")
    count, begin, prediction = told.integer(), 0, None
    must(count <= length, "more copies than bytes")
    if flags & 1:
        begin = told.integer()
        layout = predict.Layout(source, told)
    apart = told.integer() if flags & 2 else 0
    rest = told.rest()
    must(apart <= len(rest), "a stream of literals that is longer than the payload")
    stream = Stream(rest[: len(rest) - apart])
    literals = Stream(rest[len(rest) - apart :]) if flags & 2 else stream
    copies = read_copies(stream, learned, count)
    for start, position, size in copies:
        must(start + size <= length and 0 <= position and position + size <= len(source), "a copy outside")
    if flags & 1:
        prediction = predict.Prediction(layout, copies, begin)
    out, front = bytearray(), None
    corrections = Corrections(stream, learned, source, prediction)
    for copy in [*copies, (length, 0, 0)]:
        read_literals((literals, learned.literals), source, out, (copy[0], front, bool(flags & 1)))
        corrections.copy(copy, out)
        front = copy
    stream.end()
    if flags & 2:
        literals.end()
    return bytes(out)


def read_literals(streams, source, out, told):
    end, front, is_code = told
    stream, literals = streams
    if len(out) < end and front:
        literals.behind(source[front[1] : front[1] + front[2]])
    shift = front[1] - front[0] if front else 0
    while len(out) < end:
        position = len(out) + shift
        beside = source[position] if 0 <= position < len(source) else 256
        out.append(literals.read(stream, beside, is_code))


class Corrections:
    """How copies differ from the source."""

    def __init__(self, stream, learned, source, prediction):
        self.stream, self.learned, self.source, self.prediction = stream, learned, source, prediction
        self.words = self.bytes = self.gap = self.history = self.mask = self.last = self.before = 0
        self.wrong = 0

    def copy(self, copy, out):
        start, position, length = copy
        for at in range(0, length, STRETCH_LENGTH):
            size = min(STRETCH_LENGTH, length - at)
            self.stretch((start + at, position + at, size), out)

    def stretch(self, piece, out):
        self.out_start, self.position, self.size = piece
        self.old = self.source[self.position : self.position + self.size]
        self.new = bytearray(self.old)
        self.kind, self.references = 0, []
        if self.prediction:
            self.kind, self.references = self.prediction.find(self.position, self.size)
        self.covered = bytearray(self.size)
        for reference in self.references:
            at = reference.position - self.position
            self.covered[at : at + reference.length] = b"\1" * reference.length
        self.next = 0
        at = 0
        while at < self.size:
            phase = (self.position + at) % 8
            if self.words >= 16 and self.size - at >= 64:
                if phase == 0 and self.learned.block(self.kind, self.words).read(self.stream):
                    self.same(64, 8)
                    self.references_to(at + 64)
                    at += 64
                    continue
                for _ in range(8):
                    at = self.word(at)
            else:
                at = self.word(at)
        out += self.new

    def same(self, count, words):
        self.bytes += count
        self.words += words
        self.history <<= words

    def references_to(self, end):
        while self.next < len(self.references) and self.references[self.next].position - self.position < end:
            self.reference(self.references[self.next])
            self.next += 1

    def word(self, at):
        end = min(self.size, at + 8 - (self.position + at) % 8)
        self.references_to(end)
        free = self.covered[at:end].count(0)
        if free == 0:
            return end
        value = int.from_bytes(self.old[at:end], "big")
        contexts = (
            hashed(1, self.history & 63, self.kind),
            hashed(2, min(self.words, 40), self.gap.bit_length(), self.history & 1),
            hashed(3, value & 0xFFFFFFFF, value >> 32),
        )
        if self.learned.words.read(self.stream, contexts, self.kind):
            self.same(end - at, 1)
            return end
        self.correct(at, end)
        self.words = 0
        self.history = self.history << 1 | 1
        return end

    def correct(self, at, end):
        free = [i for i in range(at, end) if not self.covered[i]]
        m = 0
        for i in free:
            place, s0 = i - at, self.old[i]
            s1, s2 = self.s(i, 1), self.s(i, 2)
            phase = (self.position + i) % 8
            differs = 1
            if m or i != free[-1]:
                contexts = (
                    hashed(1, self.kind, min(self.bytes, 15), int(m != 0), place),
                    hashed(2, s0, s1),
                    hashed(3, phase, self.mask, m),
                    hashed(4, min(self.bytes, 255), min(self.gap, 255)),
                    hashed(5, s0, s1, s2, int(self.bytes == 0)),
                )
                differs = not self.learned.wrong.read(self.stream, contexts, self.kind)
            if not differs:
                self.bytes += 1
                continue
            m |= 1 << place
            self.correction(i, phase)
        self.mask = m

    def s(self, i, n):
        return self.old[i - n] if 0 <= i - n < self.size else 0

    def t(self, i, n):
        return self.new[i - n] if i >= n else 0

    def correction(self, i, phase):
        d = lambda n: self.t(i, n) - self.s(i, n) & 255
        s0, fresh = self.old[i], int(self.bytes == 0)
        contexts = (
            hashed(1, self.last, self.before, fresh),
            hashed(2, s0, self.last, fresh),
            hashed(3, phase, self.kind, min(self.bytes, 16)),
            hashed(4, s0, self.t(i, 1), self.t(i, 2)),
            hashed(5, d(4), d(8), d(12), d(24)),
            hashed(6, s0, self.s(i, 1), self.s(i, 2), self.s(i, -1)),
            hashed(7, s0, self.s(i, -1), self.s(i, -2)),
        )
        told = self.learned.corrections.read(self.stream, contexts, (self.kind, phase), ((self.last, fresh),))
        self.new[i] = self.old[i] + told & 255
        self.before, self.last = self.last, told
        self.gap, self.bytes = self.bytes, 0

    def reference(self, reference):
        at = reference.position - self.position
        field = int.from_bytes(self.old[at : at + reference.length], "little")
        offset = self.out_start + at
        guess = self.prediction.predict(reference, field, offset)
        value = self.choose(guess, reference.kind)
        if value is None:
            value = self.field(reference, guess.candidates[0], field)
        self.new[at : at + reference.length] = value.to_bytes(reference.length, "little")
        self.prediction.learn(reference, guess, value)

    def choose(self, guess, kind):
        near = min(self.bytes.bit_length(), 8)
        for rank, candidate in enumerate(guess.candidates):
            contexts = (
                hashed(1, guess.context, rank),
                hashed(2, kind, rank, self.wrong & 255),
                hashed(3, guess.context, rank, near, self.wrong & 1),
            )
            right = self.learned.candidates.read(self.stream, contexts, 23 + rank if rank else kind)
            self.wrong = self.wrong << 1 | (rank == 0 and not right)
            if right:
                return candidate
        return None

    def field(self, reference, expected, old):
        value = sofar = 0
        for place in range(reference.length - 1, -1, -1):
            e, s = expected >> 8 * place & 255, old >> 8 * place & 255
            k = reference.kind
            contexts = (
                hashed(1, k, place),
                hashed(2, k, place, sofar),
                hashed(3, k, place, e),
                hashed(4, place, sofar, s - e & 255),
                hashed(5, place, int(sofar == 0)),
            )
            told = self.learned.fields.read(self.stream, contexts, (0, place))
            sofar = (sofar << 8 | told) & 0xFFFFFFFF
            value = value << 8 | (e + told & 255)
        return value
