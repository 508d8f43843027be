"""Sections of an executable without section headers ("Executables without section headers")."""

import elf
from wire import must

LOAD, DYNAMIC, FUNCTIONS, UNWIND_INDEX = 1, 2, 0x70000001, 0x6474E550
# Of the dynamic section: the tag of where a table begins, that of its size, its contents and its alignment, 0 for a word.
TABLES = (
    (6, None, "symbols", 0),
    (5, 10, "strings", 1),
    (7, 8, "relocations with addend", 0),
    (17, 18, "relocations", 0),
    (23, 2, "late", 0),
    (36, 35, "packed relocations", 0),
    (4, None, "other", 0),
    (0x6FFFFEF5, None, "other", 0),
    (0x6FFFFFF0, None, "other", 2),
    (0x6FFFFFFE, None, "other", 0),
    (0x6FFFFFFC, None, "other", 0),
    (12, None, "code", 4),
    (13, 20, "code", 4),
    (25, 27, "pointers", 0),
    (26, 28, "pointers", 0),
    (3, None, "table", 0),
)
FINI = 13


class Segment:
    """What a program header tells."""

    def __init__(self, executable, at):
        wide = ((0, 4), (4, 4), (8, 8), (16, 8), (32, 8), (40, 8))
        narrow = ((0, 4), (24, 4), (4, 4), (8, 4), (16, 4), (20, 4))
        fields = executable.fields(at, wide, narrow)
        self.kind, self.flags, self.offset, self.address, self.size, self.in_memory = fields

    def is_loaded(self, length):
        odd = (elf.is_odd(self.offset, size, self.address, True) for size in (self.size, self.in_memory))
        return self.kind == LOAD and self.offset + self.size <= length and not any(odd)

    def end(self):
        return self.address + max(self.size, self.in_memory)


def sections_of(executable):
    size, count = executable.segment_size, executable.phnum
    within = executable.phoff + size * count <= len(executable.source)
    must(executable.phentsize == size and count <= 64 and within, "an executable without headers")
    headers = [Segment(executable, executable.phoff + size * number) for number in range(count)]
    segments, end = [], 0
    for one in headers:
        if one.is_loaded(len(executable.source)):
            if one.address >= end:
                segments.append(one)
            end = max(end, one.end())
    must(segments, "an executable without segments")
    marks = {}
    for mark in [*dynamic_marks(executable, headers), *unwind_marks(executable, headers, segments)]:
        marks.setdefault(mark[0], mark)
    header = executable.header((segments[0].address, segments[0].offset))
    sections = [header]
    for one in segments:
        sections += cut(one, header.size, sorted(marks.values(), key=lambda mark: mark[0]))
    link(sections)
    return sections


def dynamic_marks(executable, headers):
    """Marks are an address, a size or None, contents and an alignment."""
    header = next((one for one in headers if one.kind == DYNAMIC), None)
    if header is None:
        return
    word, size = executable.word, min(header.size, 8192)
    tags = {}
    if header.offset + size <= len(executable.source):
        for at in range(header.offset, header.offset + size - 2 * word + 1, 2 * word):
            tag, value = executable.number(at, word), executable.number(at + word, word)
            if tag == 0:
                break
            tags.setdefault(tag, value)
    yield header.address, header.size, "dynamic", word
    for tag, size_tag, contents, alignment in TABLES:
        if tag not in tags:
            continue
        if contents == "late":
            contents = "relocations with addend" if tags.get(20) == 7 else "relocations"
        size = size_tag if tag == FINI else tags.get(size_tag)
        yield tags[tag], size, contents, alignment or word


def unwind_marks(executable, headers, segments):
    find = lambda kind: next((one for one in headers if one.kind == kind), None)
    functions, index = find(FUNCTIONS), find(UNWIND_INDEX)
    if functions:
        yield functions.address, functions.size, "functions", 4
    if index is None:
        return
    yield index.address, index.size, "unwind index", 4
    around = (one for one in segments if one.address <= index.address and index.address + 8 <= one.address + one.size)
    segment = next(around, None)
    if segment:
        at = segment.offset + index.address - segment.address
        if executable.source[at : at + 2] == b"\x01\x1b":
            distance = (executable.number(at + 4, 4) ^ elf.HALF) - elf.HALF
            yield index.address + 4 + distance & elf.ALL, None, "unwind", 8


def cut(segment, header_end, marks):
    """The sections of a segment."""
    begin = segment.address + min(segment.size, max(0, header_end - segment.offset))
    end = segment.address + segment.size
    marks = [mark for mark in marks if begin <= mark[0] < end]
    between = "read-only"
    if segment.flags & 1:
        between = "read-only" if any(mark[2] == "strings" for mark in marks) else "code"
    elif segment.flags & 2:
        between = "pointers"
    offset = lambda address: segment.offset + address - segment.address
    gap = lambda at, to: elf.Section(between, at, offset(at), to - at, min(64, at & -at or 64))
    out, at = [], begin
    for number, (address, size, contents, alignment) in enumerate(marks):
        if address > at and (address - at >= 64 or at == begin):
            out.append(gap(at, address))
        following = marks[number + 1][0] if number + 1 < len(marks) else end
        at = following if size is None else min(following, address + size)
        out.append(elf.Section(contents, address, offset(address), at - address, alignment))
    if at < end:
        out.append(gap(at, end))
    if segment.in_memory > segment.size:
        out.append(elf.Section("unset", end, offset(end), segment.in_memory - segment.size))
    return out


def link(sections):
    find = lambda contents: next((number for number, one in enumerate(sections) if one.contents == contents), None)
    symbols, strings = find("symbols"), find("strings")
    for section in sections:
        if section.contents == "symbols":
            section.link = strings
        elif section.contents in ("relocations", "relocations with addend"):
            section.link = symbols
