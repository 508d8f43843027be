"""References in code for ARM."""

from references import Reference
from words import read

WORD = (1 << 32) - 1


class Code:
    def __init__(self):
        self.ended = None
        self.forget()

    def forget(self):
        none = {"address": 0, "register": 0, "anchor": None}
        self.literals, self.loads, self.halves = dict.fromkeys(range(256), none), [0] * 16, {}

    def find(self, part):
        if self.ended != part.start:
            self.forget()
        self.ended = part.end
        address = -(-part.address(part.start) // 4) * 4
        at, chosen, is_arm = part.position(address), None, False
        while part.end - at >= 4:
            if chosen is None or at - chosen >= 256:
                chosen, is_arm = at, looks_like_arm(part, at)
            place = part.address(at)
            if is_arm and place % 4:
                at += 2
                continue
            if place % 4 == 0 and self.literal(part, at, place):
                at += 4
            elif is_arm:
                self.arm(part, at)
                at += 4
            else:
                at += self.thumb(part, at)

    def literal(self, part, at, place):
        kept = self.literals[place // 4 % 256]
        if kept["address"] != place:
            return False
        value = part.value(at, 4)
        table = part.executable
        if kept["anchor"] is not None:
            reference = Reference("literal", at, 4, ("based", 1), ("near", kept["anchor"]))
            reference.old_base = kept["anchor"]
            part.add(reference, kept["anchor"] + value & WORD)
        elif table.knows(value):
            part.absolute("literal", at, 4)
        else:
            number = next((n for n, one in enumerate(table.sections) if one.contents == "table"), None)
            if number is not None and table.section_of(table.sections[number].address + signed(value)) == number:
                part.based("literal", at, 4, ("section", number))
        return True

    def load(self, address, register):
        place = address // 4 % 256
        self.literals[place] = {"address": address, "register": register, "anchor": None}
        self.loads = [place, *self.loads[:15]]

    def anchor(self, address, register):
        for place in self.loads:
            kept = self.literals[place]
            if kept["address"] and kept["register"] == register and kept["anchor"] is None:
                kept["anchor"] = address
                return

    def arm(self, part, at):
        i, place = part.value(at, 4), part.address(at)
        if i >> 28 == 15:
            return
        if i & 0x0E000000 == 0x0A000000:
            part.add(Reference("call" if i >> 24 & 1 else "jump", at, 4, ("word", "ARM branch")))
        elif i & 0x0F7F0000 == 0x051F0000:
            by = i & 4095
            self.load(place + 8 + (by if i >> 23 & 1 else -by), i >> 12 & 15)
        elif i & 0x0FFF0FF0 == 0x008F0000:
            self.anchor(place + 8, i & 15)
        elif i & 0x0FF00000 == 0x03000000:
            self.lower(part, (at, i, i >> 12 & 15), ("ARM low", "ARM high", 0x0FF0F000, 0x03400000 | i & 0xF000))
        elif i & 0x0FF00000 == 0x03400000:
            self.upper(part, (at, i, i >> 12 & 15), "ARM high")

    def thumb(self, part, at):
        h, place = part.value(at, 2), part.address(at)
        if h >> 11 < 29:
            top = h >> 8
            if 0xD0 <= top <= 0xDD:
                part.add(Reference("short", at, 2, ("word", "thumb short", 8)))
            elif 0xE0 <= top <= 0xE7:
                part.add(Reference("short", at, 2, ("word", "thumb short", 11)))
            elif 0x48 <= top <= 0x4F:
                self.load((place + 4 & ~3) + 4 * (h & 255), top & 7)
            elif top == 0x44 and h & 0x78 == 0x78:
                self.anchor(place + 4, h & 7 | h >> 4 & 8)
            return 2
        i = part.value(at, 4)
        add = lambda kind, word: part.add(Reference(kind, at, 4, ("word", word)))
        if i & 0xF800 == 0xF000 and i >> 30 == 3:
            add("call", "thumb call" if i >> 28 & 1 else "thumb call ARM")
        elif i & 0xF800 == 0xF000 and i >> 30 == 2 and i >> 28 & 1:
            add("jump", "thumb call")
        elif i & 0xF800 == 0xF000 and i >> 30 == 2 and i >> 7 & 7 != 7:
            add("branch", "thumb branch")
        elif i & 0xFBF0 == 0xF240 and not i >> 31:
            told = (at, i, i >> 24 & 15)
            self.lower(part, told, ("thumb low", "thumb high", 0x8F00FBF0, 0xF2C0 | i & 0x0F000000))
        elif i & 0xFBF0 == 0xF2C0 and not i >> 31:
            self.upper(part, (at, i, i >> 24 & 15), "thumb high")
        elif i & 0xFF7F == 0xF85F:
            by = i >> 16 & 4095
            self.load((place + 4 & ~3) + (by if i >> 7 & 1 else -by), i >> 28)
        return 4

    def lower(self, part, told, words):
        at, i, register = told
        low, high, mask, bits = words
        half = read((low,), i)
        self.halves[register] = (half, at)
        for following in range(at + 4, min(at + 32, part.end) - 3, 2):
            other = part.value(following, 4)
            if other & mask == bits:
                target = read((high,), other) << 16 | half
                part.add(Reference("page", at, 4, ("word", low), ("half", register)), target)
                return

    def upper(self, part, told, high):
        at, i, register = told
        kept = self.halves.pop(register, None)
        if kept:
            target = read((high,), i) << 16 | kept[0]
            part.add(Reference("low", at, 4, ("word", high), ("page", register, kept[1])), target)


def looks_like_arm(part, at):
    count = min(256, part.end - at) // 4
    return sum(part.value(at + 4 * n, 4) >> 28 == 14 for n in range(count)) > count // 2


def signed(value):
    return (value ^ 0x80000000) - 0x80000000
