"""Executables and their sections ("Executables", "Executables without section headers")."""

import bisect

from wire import must

DETACHED = 1 << 62
HALF = 1 << 31
ALL = (1 << 64) - 1
MACHINES = {62: ("x86-64", 2), 183: ("aarch64", 2), 40: ("arm", 1)}
NAMES = {2: "symbols", 11: "symbols", 3: "strings", 4: "relocations with addend", 6: "dynamic", 8: "unset"}
NAMES |= {9: "relocations", 19: "packed relocations"}


def up(value, alignment):
    return -(-value // alignment) * alignment


def is_odd(offset, size, address, is_allocated):
    return offset >= HALF or size >= HALF or is_allocated and address + size >= DETACHED


class Section:
    def __init__(self, contents, address, offset, size, alignment=1, link=None):
        self.contents, self.address, self.offset, self.size = contents, address, offset, size
        self.alignment, self.link = alignment, link

    def is_detached(self):
        return self.address >= DETACHED

    def end(self):
        return self.address + self.size

    def file_size(self):
        return 0 if self.contents == "unset" else self.size


class Executable:
    def __init__(self, source):
        self.source = source
        must(64 <= len(source) < HALF and source[:4] == b"\x7fELF" and source[5] == 1, "no executable")
        must(self.number(18, 2) in MACHINES, "an executable for another machine")
        self.machine, kind = MACHINES[self.number(18, 2)]
        must(source[4] == kind and self.number(16, 2) in (2, 3), "an executable of another kind")
        self.is_fixed = self.number(16, 2) == 2
        self.is_wide = kind == 2
        self.word = 8 if self.is_wide else 4
        self.header_size, self.entry_size, self.segment_size = (64, 64, 56) if self.is_wide else (52, 40, 32)
        self.phoff, self.shoff = (self.number(*at) for at in (((32, 8), (40, 8)) if self.is_wide else ((28, 4), (32, 4))))
        at = 54 if self.is_wide else 42
        self.phentsize, self.phnum, self.shentsize, self.shnum, self.shstrndx = (self.number(at + 2 * i, 2) for i in range(5))
        has_headers = 1 <= self.shnum <= 512 and self.shentsize == self.entry_size
        self.has_headers = has_headers and self.shoff + self.shnum * self.shentsize <= len(source)
        if self.has_headers:
            self.sections = self.from_headers()
        else:
            import segments

            self.sections = segments.sections_of(self)
        self.index()

    def number(self, at, size):
        return int.from_bytes(self.source[at : at + size], "little")

    def fields(self, at, wide, narrow):
        return [self.number(at + place, size) for place, size in (wide if self.is_wide else narrow)]

    def header(self, first):
        """The section of the header; first are address and offset of what is first loaded."""
        size = min(len(self.source), self.header_size + self.phentsize * self.phnum)
        address = max(0, first[0] - first[1]) % DETACHED if first else 0
        return Section("header", address, 0, size)

    def from_headers(self):
        names = self.names()
        told, first = [], None
        for number in range(self.shnum):
            at = self.shoff + number * self.entry_size
            wide = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (48, 8))
            narrow = ((0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4), (32, 4))
            name, kind, flags, address, offset, size, link, alignment = self.fields(at, wide, narrow)
            is_allocated = flags & 2 != 0
            in_file = kind == 8 or offset + size <= len(self.source)
            if kind == 0 or kind == 8 and flags & 0x400 or not in_file or is_odd(offset, size, address, is_allocated):
                section = Section("other", DETACHED, 0, 0)
            else:
                contents = self.contents_of(names(name), kind, flags)
                section = Section(contents, address if is_allocated else DETACHED + offset, offset, size)
            if is_allocated and first is None:
                first = address, offset
            power = alignment and alignment & alignment - 1 == 0
            section.alignment, section.link = min(alignment, 1 << 21) if power else 1, link + 1
            told.append(section)
        headers = Section("headers", DETACHED + self.shoff, self.shoff, self.shnum * self.entry_size, 8)
        return [self.header(first), *told, headers]

    def names(self):
        table = b""
        if self.shstrndx < self.shnum:
            at = self.shoff + self.shstrndx * self.entry_size
            offset, size = self.fields(at, ((24, 8), (32, 8)), ((16, 4), (20, 4)))
            if size <= 64 << 10 and offset + size <= len(self.source):
                table = self.source[offset : offset + size]
        return lambda at: table[at : at + 32].split(b"\0")[0]

    def contents_of(self, name, kind, flags):
        if name == b".eh_frame":
            return "unwind"
        if name == b".eh_frame_hdr":
            return "unwind index"
        if kind == 1 and name == b".got":
            return "table"
        if kind == 1 and flags & 4:
            return "code"
        if kind in (1, 14, 15, 16) and flags & 1:
            return "pointers"
        if kind == 1:
            return "read-only"
        if kind == 0x70000001 and name == b".ARM.exidx":
            return "functions"
        return NAMES.get(kind, "other")

    def index(self):
        placed = sorted((section.address, number) for number, section in enumerate(self.sections) if section.size)
        self.starts, self.numbers = [start for start, _ in placed], [number for _, number in placed]
        self.parts, end = [], 0
        in_file = [(s.offset, s.offset + s.size, n) for n, s in enumerate(self.sections) if s.file_size()]
        for start, stop, number in sorted(in_file):
            if start >= end:
                self.parts.append((start, stop, number))
            end = max(end, stop)
        self.part_starts = [start for start, _, _ in self.parts]

    def linked(self, section):
        return section.link if section.link is not None and section.link < len(self.sections) else None

    def section_of(self, address):
        place = bisect.bisect_right(self.starts, address) - 1
        if place < 0:
            return None
        number = self.numbers[place]
        return number if address < self.sections[number].end() else None

    def knows(self, address):
        return self.section_of(address) is not None

    def is_code(self, address):
        number = self.section_of(address)
        return number is not None and self.sections[number].contents == "code"

    def parts_of(self, start, end):
        """The parts of a chunk that lie in one section: from, to, number of the section."""
        place = max(0, bisect.bisect_right(self.part_starts, start) - 1)
        for one, two, number in self.parts[place:]:
            if one >= end:
                break
            if two > start:
                yield max(one, start), min(two, end), number


class New:
    """Where a section is in the output."""

    def __init__(self, address, offset, size):
        self.address, self.offset, self.size = address, offset, size

    def end(self):
        return self.address + self.size


def read_layout(executable, told):
    """Where each section is in the output, None where it is not."""
    places, run = [], told.integer()
    sections = executable.sections
    while True:
        must(run <= len(sections) - len(places), "a run beyond the last section")
        for _ in range(run):
            section = sections[len(places)]
            places.append(expected(sections, places, section))
        if len(places) == len(sections):
            return places
        section = sections[len(places)]
        places.append(told_place(expected(sections, places, section), section, told))
        run = told.integer()


def told_place(place, section, told):
    bits = told.integer(8)
    if bits == 0:
        return None
    values = []
    for bit in range(3):
        values.append(told.signed() if bits >> bit & 1 else 0)
        must(values[-1] or not bits >> bit & 1, "a difference of nothing")
    must(not (section.is_detached() and values[0]), "the address of a detached section")
    offset, size = place.offset + values[1] & ALL, place.size + values[2] & ALL
    address = DETACHED + offset if section.is_detached() else place.address + values[0] & ALL
    must(not is_odd(offset, size, address, not section.is_detached()), "an odd section")
    return New(address, offset, size)


def expected(sections, places, section):
    if section.is_detached():
        end = new_end = 0
        for old, new in zip(sections, places):
            if new:
                has_bytes = old.contents != "unset"
                end, new_end = old.offset + has_bytes * old.size, new.offset + has_bytes * new.size
        offset = up(new_end + section.offset - end, section.alignment)
        offset = offset if 0 <= offset < HALF else 0
        return New(DETACHED + offset, offset, section.size)
    before = [(old, new) for old, new in zip(sections, places) if new and not old.is_detached()]
    same = New(section.address, section.offset, section.size)
    if not before:
        return same
    old, new = before[-1]
    gap = section.address - old.end() & ALL
    if gap < section.alignment:
        address = up(new.end(), section.alignment)
    elif section.address == up(old.end(), 4096):
        address = up(new.end(), 4096)
    else:
        address = up(new.end() + gap & ALL, section.alignment)
    if section.offset - section.address == old.offset - old.address:
        offset = address + new.offset - new.address & ALL
    else:
        offset = section.offset + address - section.address & ALL
    return same if is_odd(offset, section.size, address, True) else New(address, offset, section.size)
