"""The codec `zip`."""

import zlib

import deflate
from plain import inflate, inner, within_reach
from wire import Input, must, unzigzag

GROUP, SAME, COMPRESSOR, BEGIN, RAW, KEPT, MADE, OPAQUE, DIRECTORY = range(9)
HAS_BASE, IN_HEADER, SIGNED, UNSIGNED = 0x80, 0x10, 0x20, 0x40
FLAGS = {KEPT: 0xF0, MADE: 0xF0, OPAQUE: 0x80, DIRECTORY: 0x80}
# How many integers belong to a piece, the base left aside.
NUMBERS = {GROUP: 3, SAME: 2, COMPRESSOR: 1, BEGIN: 1, RAW: 1, KEPT: 0, MADE: 1, OPAQUE: 1, DIRECTORY: 3}
TAKES_TEXT = {RAW, KEPT, MADE, OPAQUE, DIRECTORY}


def u16(data, at):
    return int.from_bytes(data[at : at + 2], "little")


def u32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def entries_of(directory, count):
    """Where the entries of a directory begin, and where the last ends."""
    at, starts = 0, []
    for _ in range(count):
        must(at + 46 <= len(directory) and directory[at : at + 4] == b"PK\1\2", "an entry of a directory")
        starts.append(at)
        at += 46 + sum(u16(directory, at + field) for field in (28, 30, 32))
    must(at <= len(directory), "a directory that ends early")
    return starts


def header_of(data, at):
    must(at + 30 <= len(data) and data[at : at + 4] == b"PK\3\4", "no local header")
    end = at + 30 + u16(data, at + 26) + u16(data, at + 28)
    must(end <= len(data), "a local header that ends early")
    return data[at : at + 14] + bytes(12) + data[at + 26 : end]


class Unit:
    def __init__(self, source, at, entry=None, directory=None):
        self.source, self.at, self.entry, self.directory = source, at, entry, directory

    def sums(self):
        return self.entry[16:28]

    def header(self):
        must(self.entry, "the header of a directory")
        return header_of(self.source, self.at)

    def content(self):
        start, length = self.at + len(self.header()), u32(self.entry, 20)
        must(start + length <= len(self.source), "a member that ends early")
        return self.source[start : start + length]

    def cost(self, only_header):
        if self.directory is not None:
            return len(self.directory)
        return len(self.header()) + (0 if only_header else max(u32(self.entry, 20), u32(self.entry, 24)))

    def text(self, most):
        if self.directory is not None:
            return self.directory
        method, length = u16(self.entry, 10), u32(self.entry, 24)
        must(method in (0, 8) and length <= most, "a member without a text")
        content = self.content()
        if method == 8:
            content, _ = inflate(content, -15, length)
        must(len(content) == length, "a member whose text is of another length")
        return self.header() + content


def units_of(source, told, output):
    units, end, read = [], 0, 0
    for _ in range(told.integer()):
        start, at, length, count = (told.integer() for _ in range(4))
        must(end <= at and at + length <= len(source), "directories out of order")
        end, read = at + length, read + length
        within_reach(output, read)
        directory = bytearray(source[at:end])
        members = []
        for entry in entries_of(directory, count):
            members.append(Unit(source, start + u32(directory, entry + 42), bytes(directory[entry : entry + 46])))
            directory[entry + 16 : entry + 28] = bytes(12)
            directory[entry + 42 : entry + 46] = bytes(4)
        members.sort(key=lambda unit: unit.at)
        places = [unit.at for unit in members]
        must(len(set(places)) == count and all(place < at for place in places), "members out of place")
        units += [*members, Unit(source, at, directory=bytes(directory))]
    return units


def pieces_of(kinds, numbers, units):
    expected = 0
    for kind in kinds:
        piece = {"kind": kind & 15, "form": kind & 0x70, "base": None}
        flags = kind & 0xF0
        must(piece["kind"] in NUMBERS and not flags & ~FLAGS.get(piece["kind"], 0), "a kind of piece")
        must(piece["form"] & (SIGNED | UNSIGNED) != SIGNED | UNSIGNED, "two descriptors")
        must(piece["kind"] != KEPT or flags & HAS_BASE, "kept without a base")
        if flags & HAS_BASE or piece["kind"] == SAME:
            expected += unzigzag(numbers.integer())
            must(0 <= expected < units, "no such unit")
            piece["base"] = expected
            expected += 1
        count = NUMBERS[piece["kind"]] - (piece["kind"] == SAME)
        piece["numbers"] = [numbers.integer() for _ in range(count)]
        if piece["kind"] == SAME:
            expected += piece["numbers"][0]
        yield piece
    must(numbers.ends(), "numbers are left")


class Archives:
    """The archive that is made, and those in it that have begun."""

    def __init__(self, told, source, learned, output):
        self.source, self.learned, self.output, self.read = source, learned, output, 0
        self.units = units_of(source, told, output)
        self.start = told.integer()
        self.most_text, self.most_old, self.most_plain, self.most_members = (told.integer() for _ in range(4))
        kinds, numbers = told.text(), Input(told.text())
        self.pieces = list(pieces_of(kinds, numbers, len(self.units)))
        self.payloads = told
        within_reach(output, sum(piece["numbers"][1] for piece in self.pieces if piece["kind"] == GROUP))
        self.out, self.text, self.compressor, self.begun = bytearray(), Input(b""), None, []

    def here(self):
        return self.start + len(self.out)

    def run(self):
        for index, piece in enumerate(self.pieces):
            self.one(piece, index)
        must(self.text.ends() and self.payloads.ends(), "a text or a payload is left")
        return bytes(self.out)

    def one(self, piece, index):
        kind, numbers = piece["kind"], piece["numbers"]
        if kind == GROUP:
            self.group(numbers, index)
        elif kind == SAME:
            self.same(piece["base"], numbers[0] + 1)
        elif kind == COMPRESSOR:
            deflate.check(numbers[0])
            self.compressor = numbers[0]
        elif kind == BEGIN:
            must(numbers[0] <= self.here() and len(self.begun) < 8, "archives that begin nowhere, or too many")
            self.begun.append((self.here() - numbers[0], []))
        elif kind == RAW:
            self.out += self.text.take(numbers[0])
        elif kind == OPAQUE:
            text = self.text.take(numbers[0])
            header_of(text, 0)
            self.member(None)
            self.out += text
        elif kind == DIRECTORY:
            self.directory(numbers)
        else:
            self.kept_or_made(piece)

    def group(self, numbers, index):
        must(self.text.ends(), "a text is left")
        codec, length, payload = numbers
        must(length <= self.most_text, "a text beyond its bound")
        old = b""
        for piece in self.pieces[index + 1 :]:
            if piece["kind"] == GROUP:
                break
            if piece["kind"] in TAKES_TEXT and piece["base"] is not None:
                unit = self.units[piece["base"]]
                self.read += unit.cost(piece["kind"] == KEPT)
                within_reach(self.output, self.read)
                old += unit.header() if piece["kind"] == KEPT else unit.text(self.most_old)
                must(len(old) <= self.most_old, "an old text beyond its bound")
        self.text = Input(inner(codec, (self.payloads.take(payload), old, length), self.learned))

    def member(self, sums, offset=None):
        if self.begun:
            self.begun[-1][1].append((self.here() if offset is None else offset, sums))
            must(sum(len(members) for _, members in self.begun) <= self.most_members, "members beyond their bound")

    def same(self, first, count):
        must(first + count < len(self.units), "units behind the last")
        units, start = self.units[first : first + count + 1], self.units[first].at
        for unit in units[:-1]:
            must(unit.entry, "a directory as it is")
            self.member(unit.sums(), self.here() + unit.at - start)
        must(start <= units[-1].at <= len(self.source), "units out of order")
        self.out += self.source[start : units[-1].at]

    def kept_or_made(self, piece):
        fixed = self.text.take(30)
        header = bytearray(fixed + self.text.take(u16(fixed, 26) + u16(fixed, 28)))
        must(header[:4] == b"PK\3\4", "no local header")
        if piece["kind"] == KEPT:
            unit = self.units[piece["base"]]
            content, sums = unit.content(), unit.sums()
        else:
            must(piece["numbers"][0] <= self.most_plain, "a plain text beyond its bound")
            content = plain = self.text.take(piece["numbers"][0])
            if u16(header, 8) != 0:
                must(self.compressor is not None, "no compressor yet")
                content = deflate.compress(plain, self.compressor)
            sums = b"".join(n.to_bytes(4, "little") for n in (zlib.crc32(plain), len(content), len(plain)))
        self.member(sums)
        if piece["form"] & IN_HEADER:
            header[14:26] = sums
        self.out += header + content
        if piece["form"] & (SIGNED | UNSIGNED):
            self.out += (b"PK\7\x08" if piece["form"] & SIGNED else b"") + sums

    def directory(self, numbers):
        length, count, skipped = numbers
        text = bytearray(self.text.take(length))
        must(self.begun, "a directory of nothing")
        start, members = self.begun.pop()
        entries = entries_of(text, count)[skipped:]
        must(len(members) >= len(entries), "a directory of other members")
        for entry, (offset, sums) in zip(entries, members):
            must(0 <= offset - start < 1 << 32, "a member too far away")
            text[entry + 42 : entry + 46] = (offset - start).to_bytes(4, "little")
            if sums is not None:
                text[entry + 16 : entry + 28] = sums
        self.out += text


def decode(payload, source, length, learned):
    out = Archives(Input(payload), source, learned, length).run()
    must(len(out) == length, "an archive of another length")
    return out
