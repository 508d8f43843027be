"""References in code for x86-64."""

PREFIXES = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3}


def span(text):
    out = set()
    for piece in text.split():
        first, _, last = piece.partition("-")
        out |= set(range(int(first, 16), int(last or first, 16) + 1))
    return out


# Of an opcode: whether it has ModRM, and its immediate: bytes, or z, or what is told in `immediate`.
ONE, TWO = {}, {}
for opcode in range(0x40):
    if opcode & 7 <= 5:
        ONE[opcode] = (opcode & 7 < 4, {4: 1, 5: "z"}.get(opcode & 7, 0))
for text, modrm, immediate in (
    ("63 84-8F D0-D3 D8-DF FE FF", True, 0),
    ("6A A8 B0-B7 CD E4-E7", False, 1),
    ("68 A9", False, "z"),
    ("50-5F 6C-6F 90-99 9B-9F A4-A7 AA-AF C3 C9 CB CC CF D7 EC-EF F1 F4 F5 F8-FD", False, 0),
    ("69 81 C7", True, "z"),
    ("6B 80 83 C0 C1 C6", True, 1),
    ("70-7F E0-E3 EB", False, "short"),
    ("A0-A3", False, "offset"),
    ("B8-BF", False, "wide"),
    ("C2 CA", False, 2),
    ("C8", False, 3),
    ("E8", False, "call"),
    ("E9", False, "jump"),
    ("F6 F7", True, "test"),
):
    ONE |= dict.fromkeys(span(text), (modrm, immediate))
TWO = dict.fromkeys(range(256), (True, 0))
TWO |= dict.fromkeys(span("05-09 0B 0E 30-35 37 77 A0-A2 A8-AA C8-CF"), (False, 0))
TWO |= dict.fromkeys(span("80-8F"), (False, "branch"))
TWO |= dict.fromkeys(span("0F 70-73 A4 AC BA C2 C4-C6"), (True, 1))
for opcode in span("04 0A 0C 24-27 36 39 3B-3F A6 A7"):
    del TWO[opcode]
NAMED = {"short": 1, "call": 4, "jump": 4, "branch": 4}


class Code:
    def __init__(self):
        self.ended, self.next = None, None

    def find(self, part):
        at = min(self.next, part.end) if self.ended == part.start else part.start
        source = part.executable.source
        while at < part.end:
            at = instruction(part, source, at)
        self.ended, self.next = part.end, at


def opcode_of(source, at, end):
    """Of the instruction there: its prefixes, REX, opcode, ModRM, immediate, and where its operands begin; or None."""
    prefixes, rex, start = set(), 0, at
    limit = min(end, start + 15)

    def byte():
        nonlocal at
        if at >= limit:
            raise IndexError
        at += 1
        return source[at - 1]

    opcode = byte()
    while opcode in PREFIXES:
        prefixes.add(opcode)
        opcode = byte()
    if opcode & 0xF0 == 0x40:
        rex, opcode = opcode, byte()
    if opcode == 0x0F:
        opcode = byte()
        if opcode in (0x38, 0x3A):
            byte()
            row = (True, int(opcode == 0x3A))
        else:
            row = TWO.get(opcode)
    elif opcode in (0xC4, 0xC5, 0x62):
        first = byte()
        kind = 1 if opcode == 0xC5 else first & (31 if opcode == 0xC4 else 7)
        for _ in range({0xC5: 0, 0xC4: 1, 0x62: 2}[opcode]):
            byte()
        opcode = byte()
        if kind == 1:
            row = TWO.get(opcode)
            row = row and (opcode != 0x77, 4 if row[1] == "branch" else row[1])
        else:
            row = (True, int(kind == 3)) if kind in (2, 3, 5, 6) else None
    else:
        row = ONE.get(opcode)
    return row and (prefixes, rex, opcode, row[0], row[1], at)


def instruction(part, source, start):
    try:
        told = opcode_of(source, start, part.end)
    except IndexError:
        told = None
    if not told:
        return start + 1
    prefixes, rex, opcode, has_modrm, immediate, at = told
    displacement, is_relative, field = 0, False, 0
    if has_modrm:
        if at >= part.end:
            return start + 1
        modrm = source[at]
        at += 1
        mod, field, rm = modrm >> 6, modrm >> 3 & 7, modrm & 7
        base = rm
        if mod != 3 and rm == 4:
            if at >= part.end:
                return start + 1
            base = source[at] & 7
            at += 1
        if mod == 2 or mod == 0 and base == 5:
            displacement = 4
        elif mod == 1:
            displacement = 1
        is_relative = mod == 0 and rm == 5
    size = size_of(immediate, (prefixes, rex, opcode, field))
    end = at + displacement + size
    if end - start > 15:
        return start + 1
    if end <= part.end:
        references(part, (at, displacement, is_relative), (immediate, size), end)
    return end


def size_of(immediate, told):
    prefixes, rex, opcode, field = told
    z = 2 if 0x66 in prefixes and not rex & 8 else 4
    if immediate == "test":
        return 0 if field > 1 else 1 if opcode == 0xF6 else z
    if immediate == "offset":
        return 4 if 0x67 in prefixes else 8
    if immediate == "wide":
        return 8 if rex & 8 else z
    return z if immediate == "z" else NAMED.get(immediate, immediate)


def references(part, told, immediate, end):
    at, displacement, is_relative = told
    name, size = immediate
    if displacement == 4:
        if is_relative:
            part.relative("memory", at, end - at)
        elif part.executable.is_fixed:
            part.absolute("immediate", at, 4)
    at += displacement
    if name in NAMED:
        part.relative(name, at, end - at, size)
    elif size in (4, 8) and part.executable.is_fixed:
        part.absolute("immediate", at, size)
