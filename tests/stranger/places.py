"""Where a place of the old file went ("Where a place went")."""

import bisect
import heapq

from elf import HALF

FAR = (1 << 32) - 1
MOST_COPIES = 1 << 18


def paint(copies):
    """Stretches of the source, each with the shift of the copy that counts there: from, to, shift."""
    copies = sorted((position, position + length, shift, length) for position, length, shift in copies)
    borders = sorted({border for copy in copies for border in copy[:2]})
    active, place, out = [], 0, []
    for start, end in zip(borders, borders[1:]):
        while place < len(copies) and copies[place][0] <= start:
            position, stop, shift, length = copies[place]
            heapq.heappush(active, (-length, position + shift, stop, shift))
            place += 1
        while active and active[0][2] <= start:
            heapq.heappop(active)
        if active:
            out.append((start, end, active[0][3]))
    return out


class Places:
    def __init__(self, executable, new, copies):
        """Copies are those of the codec, in their offsets of the whole output."""
        self.executable, self.new = executable, new
        usable = [(p, n, s - p) for s, p, n in copies if p + n < HALF and s + n < HALF]
        digits = 0
        while sum(n.bit_length() > digits for _, _, n in copies) > MOST_COPIES:
            digits += 1
        self.painted = paint([copy for copy in usable if copy[1].bit_length() > digits])
        self.painted_starts = [start for start, _, _ in self.painted]
        there = [place for place in new if place and place.size]
        self.by_address = sorted((place.address, place.size, place.offset) for place in there)
        in_file = [p for p, s in zip(new, executable.sections) if p and p.size and s.contents != "unset"]
        self.by_offset = sorted((place.offset, place.size, place.address) for place in in_file)

    def exists(self, address):
        place = bisect.bisect_right(self.by_address, (address, 1 << 65, 0)) - 1
        if place < 0:
            return False
        start, size, _ = self.by_address[place]
        return address <= start + size

    def address_of(self, offset):
        place = bisect.bisect_right(self.by_offset, (offset, 1 << 65, 0)) - 1
        if place < 0:
            return offset
        start, _, address = self.by_offset[place]
        return address + offset - start

    def byte(self, offset):
        """Where a byte went: offset, distance, the other side; or None."""
        place = bisect.bisect_right(self.painted_starts, offset) - 1
        before = self.painted[place] if place >= 0 else None
        if before and offset < before[1]:
            return offset + before[2], 0, None
        after = self.painted[place + 1] if place + 1 < len(self.painted) else None
        sides = []
        if before and offset + before[2] >= 0:
            sides.append((offset - (before[1] - 1), 0, offset + before[2]))
        if after and offset + after[2] >= 0:
            sides.append((after[0] - offset, 1, offset + after[2]))
        if not sides:
            return None
        sides.sort()
        went, other = sides[0][2], sides[-1][2]
        return went, sides[0][0], other if other != went else None

    def address(self, address, is_end):
        """Where an address went: address, distance, the other side; or None."""
        number = self.executable.section_of(address - 1 if is_end else address)
        if number is None and not is_end:
            is_end = True
            number = self.executable.section_of(address - 1)
        if number is None or self.new[number] is None:
            return None
        section, new = self.executable.sections[number], self.new[number]
        if is_end and address == section.end():
            return new.end(), 0, None
        within = address - section.address
        if section.contents == "unset":
            return new.address + within, 0, None
        back = 1 if is_end else 0
        went = self.byte(section.offset + within - back)
        lies = lambda offset: offset is not None and new.offset <= offset < new.offset + new.size
        if went and lies(went[0]):
            here = lambda offset: new.address + offset - new.offset + back
            return here(went[0]), went[1], here(went[2]) if lies(went[2]) else None
        return new.address + within, FAR, None
