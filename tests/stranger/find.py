"""Finding references in tables and headers ("Finding references")."""

import aarch64
import arm
import x86
from elf import ALL, HALF
from references import Reference

CLASSES = {"code": 1, "pointers": 2, "read-only": 3, "symbols": 5, "dynamic": 5, "unwind": 6, "unwind index": 6, "functions": 6}
CLASSES |= {"relocations": 4, "relocations with addend": 4, "packed relocations": 4}
CODES = {"x86-64": x86.Code, "aarch64": aarch64.Code, "arm": arm.Code}
SIZES_OF_TAGS = (2, 8, 10, 18, 27, 28, 35)


class Part:
    """What of a chunk lies in one section, and the references found there."""

    def __init__(self, executable, start, end, number):
        self.executable, self.start, self.end = executable, start, end
        self.number, self.section = number, executable.sections[number]
        self.word = executable.word
        self.found = []

    def address(self, position):
        return self.section.address + position - self.section.offset

    def position(self, address):
        return self.section.offset + address - self.section.address

    def value(self, position, size):
        return self.executable.number(position, size)

    def holds(self, position, size):
        return self.start <= position and position + size <= self.end

    def add(self, reference, target=None):
        """The reference, if it is one: its field is in the part, and its target, unless it is told otherwise, known."""
        if not self.holds(reference.position, reference.length):
            return None
        reference.place = self.address(reference.position)
        if not reference.is_told():
            if target is None:
                field = self.value(reference.position, reference.length)
                target = reference.target_at(field, reference.place, reference.old_base)
            if not self.executable.knows(target):
                return None
            reference.target = target
        self.found.append(reference)
        return reference

    def absolute(self, kind, position, size=None):
        return self.add(Reference(kind, position, size or self.word, ("absolute",)))

    def relative(self, kind, position, counted=0, size=4):
        return self.add(Reference(kind, position, size, ("relative", counted)))

    def based(self, kind, position, size, base, step=1):
        """Based on a section, by number, or near an address."""
        reference = Reference(kind, position, size, ("based", step), base)
        reference.old_base = self.executable.sections[base[1]].address if base[0] == "section" else base[1]
        return self.add(reference)

    def told(self, position, size, value):
        return self.add(Reference("header", position, size, ("absolute",), ("told", value)))

    def extent(self, kind, position, size, begin):
        length = self.value(position, size)
        if not self.holds(position, size) or not 0 < length < HALF or not self.executable.knows(begin + length - 1 & ALL):
            return None
        reference = Reference(kind, position, size, ("based", 1), ("begin", begin))
        reference.old_base, reference.place = begin, self.address(position)
        reference.target = begin + length & ALL
        self.found.append(reference)
        return reference

    def entries(self, size):
        """Where the entries of a table begin that begin in the part."""
        first = self.start + (self.section.offset - self.start) % size
        return range(first, self.end, size)


class Finder:
    def __init__(self, executable, new):
        self.executable, self.new = executable, new
        self.code = CODES[executable.machine]()

    def find(self, position, size):
        """The class of what begins there, and the references of the chunk in their order."""
        kind, found = 7, []
        for start, end, number in self.executable.parts_of(position, position + size):
            part = Part(self.executable, start, end, number)
            if start == position:
                kind = CLASSES.get(part.section.contents, 7)
            finder = FINDERS.get(part.section.contents)
            if finder:
                finder(self, part)
            found += part.found
        return kind, sorted(found, key=lambda reference: reference.position)

    def pointers(self, part):
        address = -(-part.address(part.start) // part.word) * part.word
        for position in range(part.position(address), part.end, part.word):
            part.absolute("pointer", position)

    def relocations(self, part, words=2):
        wide, word = self.executable.is_wide, part.word
        linked = self.executable.linked(part.section)
        has_symbols = linked is not None and self.executable.sections[linked].contents == "symbols"
        for at in part.entries(words * word):
            part.absolute("relocation-place", at)
            field = (at + word + 4, 4) if wide else (at + word + 1, 3)
            if has_symbols and part.value(*field):
                part.based("relocation-symbol", *field, ("section", linked), 24 if wide else 16)
            if words == 3:
                part.absolute("addend", at + 2 * word)

    def relocations_with_addend(self, part):
        self.relocations(part, 3)

    def packed_relocations(self, part):
        for at in part.entries(part.word):
            if part.value(at, part.word) % 2 == 0:
                part.absolute("relocation-place", at)

    def symbols(self, part):
        wide, word = self.executable.is_wide, part.word
        linked = self.executable.linked(part.section)
        has_strings = linked is not None and self.executable.sections[linked].contents == "strings"
        value, size, kind = (8, 16, 4) if wide else (4, 8, 12)
        for at in part.entries(24 if wide else 16):
            if has_strings and part.value(at, 4):
                part.based("symbol-name", at, 4, ("section", linked))
            if not part.holds(at + kind, 1) or part.value(at + kind, 1) & 15 != 6:
                symbol = part.absolute("symbol-value", at + value)
                if symbol:
                    part.extent("symbol-size", at + size, word, symbol.target)

    def unwind(self, part):
        address = -(-part.address(part.start) // 4) * 4
        at = part.position(address)
        while at + 16 <= part.end:
            length = part.value(at, 4)
            is_entry = 12 <= length <= 65535 and length % 4 == 0
            if is_entry and part.value(at + 4, 4):
                is_entry = self.unwind_entry(part, at, length)
            at += 4 + length if is_entry else 4

    def unwind_entry(self, part, at, length):
        before = len(part.found)
        parent = part.add(Reference("unwind-parent", at + 4, 4, ("behind",)))
        begin = part.relative("unwind-begin", at + 8)
        size = begin and part.extent("unwind-size", at + 12, 4, begin.target)
        if parent and begin and size:
            own = self.executable.section_of(parent.target) == part.number
            if own and parent.target < part.address(at) and self.executable.is_code(begin.target):
                if part.value(at + 16, 1) == 4 and length >= 17:
                    part.relative("exceptions", at + 17)
                return True
        del part.found[before:]
        return False

    def unwind_index(self, part):
        start = part.section.offset
        part.relative("header", start + 4)
        for at in range(max(start + 12, part.start - (part.start - start) % 4), part.end, 4):
            kind = "index-entry" if (at - start - 12) // 4 % 2 else "index-begin"
            part.based(kind, at, 4, ("section", part.number))

    def functions(self, part):
        for at in part.entries(8):
            part.add(Reference("index-begin", at, 4, ("word", "prel31")))
            other = part.value(at + 4, 4)
            if other != 1 and not other >> 31:
                part.add(Reference("index-entry", at + 4, 4, ("word", "prel31")))

    def read_only(self, part):
        address = -(-part.address(part.start) // 4) * 4
        at = part.position(address)
        while at + 16 <= part.end:
            base, count = part.address(at), 0
            while at + 4 * count + 4 <= part.end and self.executable.is_code(base + self.signed(part, at + 4 * count) & ALL):
                count += 1
            if count < 4:
                at += 4
                continue
            for entry in range(count):
                part.based("table-entry", at + 4 * entry, 4, ("near", base))
            at += 4 * count

    def signed(self, part, position):
        return (part.value(position, 4) ^ HALF) - HALF

    def dynamic(self, part):
        for at in part.entries(2 * part.word):
            tag, value = part.value(at, part.word), part.value(at + part.word, part.word)
            if tag in SIZES_OF_TAGS:
                number = self.first(lambda section: section.size == value)
                if number is not None and self.new[number]:
                    part.told(at + part.word, part.word, self.new[number].size)
            else:
                part.absolute("pointer", at + part.word)

    def first(self, holds):
        """The first section that is not detached and has that."""
        sections = enumerate(self.executable.sections)
        return next((number for number, one in sections if not one.is_detached() and holds(one)), None)

    def headers(self, part):
        size = self.executable.entry_size
        address, offset, length = (16, 24, 32) if self.executable.is_wide else (12, 16, 20)
        for at in part.entries(size):
            number = (at - part.section.offset) // size + 1
            section, new = self.executable.sections[number], self.new[number]
            if section.size and new:
                if not section.is_detached():
                    part.told(at + address, part.word, new.address)
                part.told(at + offset, part.word, new.offset)
                part.told(at + length, part.word, new.size)

    def header(self, part):
        if part.start != 0:
            return
        wide, executable = self.executable.is_wide, self.executable
        part.absolute("pointer", 24)
        if executable.sections[-1].contents == "headers" and self.new[-1]:
            part.told(40 if wide else 32, part.word, self.new[-1].offset)
        for at in range(executable.header_size, part.end, executable.segment_size):
            self.segment(part, at)

    def segment(self, part, at):
        word = part.word
        places = (8, 16, 24, 32, 40) if self.executable.is_wide else (4, 8, 12, 16, 20)
        if not part.holds(at + places[0], places[4] + word - places[0]):
            return
        offset, address, _, in_file, in_memory = (part.value(at + place, word) for place in places)
        first = self.first(lambda one: one.size and (one.address, one.offset) == (address, offset))
        if first is None or not self.new[first]:
            return
        new = self.new[first]
        for place, value in zip(places, (new.offset, new.address, new.address)):
            part.told(at + place, word, value)
        ends = ((places[3], in_file, lambda one: one.contents != "unset"), (places[4], in_memory, lambda one: True))
        for place, size, holds in ends:
            last = self.first(lambda one: one.size and one.end() == address + size and holds(one))
            if last is not None and self.new[last]:
                part.told(at + place, word, self.new[last].end() - new.address & ALL)

    def find_code(self, part):
        self.code.find(part)


FINDERS = {
    "pointers": Finder.pointers,
    "table": Finder.pointers,
    "relocations": Finder.relocations,
    "relocations with addend": Finder.relocations_with_addend,
    "packed relocations": Finder.packed_relocations,
    "symbols": Finder.symbols,
    "unwind": Finder.unwind,
    "unwind index": Finder.unwind_index,
    "functions": Finder.functions,
    "read-only": Finder.read_only,
    "dynamic": Finder.dynamic,
    "headers": Finder.headers,
    "header": Finder.header,
    "code": Finder.find_code,
}
