"""References in code for AArch64."""

from elf import ALL
from references import Reference
from words import read, target_of

ROWS = (
    (0xFC000000, 0x14000000, "jump", ("branch", 26, 0)),
    (0xFC000000, 0x94000000, "call", ("branch", 26, 0)),
    (0xFF000000, 0x54000000, "branch", ("branch", 19, 5)),
    (0x7E000000, 0x34000000, "branch", ("branch", 19, 5)),
    (0x7E000000, 0x36000000, "short", ("branch", 14, 5)),
    (0x3B000000, 0x18000000, "memory", ("branch", 19, 5)),
    (0x9F000000, 0x10000000, "memory", ("near",)),
    (0x9F000000, 0x90000000, "page", ("page",)),
    (0xFFC00000, 0x91000000, "low", ("low", 0)),
)


def row_of(i):
    for mask, bits, kind, word in ROWS:
        if i & mask == bits:
            return kind, word
    if i & 0x3B000000 == 0x39000000:
        return "low", ("low", 4 if i & 0x04800000 == 0x04800000 else i >> 30)
    return None, None


def written(i):
    """The register that an instruction writes, or None."""
    loads = i & 0x0A000000 == 0x08000000 and not i >> 26 & 1
    loads = loads and (i >> 22 & 1 or i & 0x3B000000 == 0x39000000 and i & 0x00C00000)
    return i & 31 if i & 0x1C000000 == 0x10000000 or i & 0x0E000000 == 0x0A000000 or loads else None


class Code:
    def __init__(self):
        self.ended, self.pages = None, {}

    def find(self, part):
        if self.ended != part.start:
            self.pages.clear()
        self.ended = part.end
        address = -(-part.address(part.start) // 4) * 4
        for at in range(part.position(address), part.end - 3, 4):
            i, place = part.value(at, 4), part.address(at)
            kind, word = row_of(i)
            if kind == "page":
                self.page(part, at, i)
                continue
            if kind == "low":
                self.low(part, at, (i, word))
            elif kind:
                part.add(Reference(kind, at, 4, ("word", *word)))
            self.pages.pop(written(i), None)

    def page(self, part, at, i):
        page = target_of(("page",), read(("page",), i), part.address(at), 0) & ALL
        self.pages[i & 31] = (page, at)
        for following in range(at + 4, min(at + 4 + 64, part.end - 3), 4):
            other = part.value(following, 4)
            kind, word = row_of(other)
            if kind == "low" and other >> 5 & 31 == i & 31:
                page = page + (((other >> 10 & 4095) << word[1]) % 4096) & ALL
                break
            if written(other) == i & 31:
                break
        part.add(Reference("page", at, 4, ("word", "page")), page)

    def low(self, part, at, told):
        i, word = told
        register = i >> 5 & 31
        if register in self.pages:
            page, position = self.pages[register]
            reference = Reference("low", at, 4, ("word", *word), ("page", register, position))
            part.add(reference, target_of(word, read(word, i), 0, page) & ALL)
