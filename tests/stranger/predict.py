"""What references become, and what is learned of it ("Predicting", "Learning")."""

import elf
from elf import ALL, DETACHED
from find import Finder
from places import FAR, Places

NONE_LEARNED = [40000, 36000, 20000, 10000, 15000]
CHUNK = 32768


class Layout:
    def __init__(self, source, told):
        self.executable = elf.Executable(source)
        self.new = elf.read_layout(self.executable, told)


class Guess:
    """What the sources say of a reference."""

    def __init__(self, says, context, candidates):
        self.says, self.context, self.candidates = says, context, candidates
        self.place = self.base = self.key = 0


class Table:
    """What was learned: keys, values and how sure."""

    def __init__(self, copied):
        self.bits = max(8, min(19, (copied // 64).bit_length()))
        self.entries = [[0, 0, 0] for _ in range(1 << self.bits)]

    def around(self, key):
        place = (key * 0x9E3779B1 & 0xFFFFFFFF) >> 32 - self.bits & ~3
        return self.entries[place : place + 4]

    def find(self, key):
        return next((entry for entry in self.around(key) if entry[0] == key), None) if key else None

    def learn(self, key, value):
        entry = self.find(key)
        if entry is None:
            entry = min(self.around(key), key=lambda entry: entry[2])
            entry[:] = [key, value, 1]
        elif entry[1] == value:
            entry[2] = min(3, entry[2] + 1)
        elif entry[2] > 1:
            entry[2] -= 1
        else:
            entry[1] = value


class Prediction:
    def __init__(self, layout, copies, begin):
        self.executable, self.new = layout.executable, layout.new
        self.finder = Finder(layout.executable, layout.new)
        self.begin = begin
        self.places = Places(layout.executable, layout.new, [(s + begin, p, n) for s, p, n in copies])
        self.table = Table(sum(length for _, _, length in copies))
        self.scores, self.moves, self.kept = {}, {}, {}
        sections = layout.executable.sections
        self.lowest = min((s.address for s in sections if s.size), default=0)
        self.new_lowest = min((new.address for new in layout.new if new and new.size), default=0)
        attached = [s for s in sections if not s.is_detached()]
        self.first = min((s.address for s in attached), default=0)
        span = max((s.end() for s in attached), default=0) - self.first
        self.stretch = max(6, span.bit_length() - 16)

    def find(self, position, size):
        return self.finder.find(position, size)

    def key(self, address):
        if address >= DETACHED:
            return 1 << 31 | address & (1 << 31) - 1 if address - DETACHED < 1 << 31 else 0
        key = address - self.lowest + 1 & ALL
        return key if key < 1 << 30 else 0

    def key_of(self, reference):
        if not reference.is_extent():
            return self.key(reference.target)
        key = self.key(reference.old_base)
        return key + (1 << 30) if key else 0

    def counted_from(self, old):
        return DETACHED if old >= DETACHED else self.new_lowest

    def learned_address(self, old):
        entry = self.table.find(self.key(old))
        return None if entry is None else entry[1] + self.counted_from(old) & ALL

    def base(self, reference, place):
        if reference.base is None:
            return 0
        name, value = reference.base[:2]
        if name == "section":
            return self.new[value].address if self.new[value] else 0
        if name == "near":
            return value + place - reference.place & ALL
        if name == "begin":
            learned = self.learned_address(value)
            if learned is not None:
                return learned
            went = self.places.address(value, False)
            return went[0] if went else value
        if name == "page":
            kept = self.kept.get(value)
            return kept[0] if kept and kept[1] == reference.base[2] else 0
        return 0

    def neighbourhood(self, address):
        number = address - self.first >> self.stretch
        return number if 0 <= number < 1 << 16 else None

    def predict(self, reference, field, offset):
        place = self.places.address_of(self.begin + offset)
        base, entry, nearness = self.base(reference, place), None, 3
        says = [None, None, None, None, field]
        if reference.is_told():
            says[1], nearness, key = reference.base[1] & (1 << 8 * reference.length) - 1, 0, 0
            if self.moves.get(self.neighbourhood(0)) is not None:
                says[2] = says[1]
        else:
            key = self.key_of(reference)
            value = lambda target: reference.field_for(target & ALL, place, base, field)
            entry = self.table.find(key)
            if entry:
                start = base if reference.is_extent() else self.counted_from(reference.target)
                says[0] = value(start + entry[1])
            went = self.places.address(reference.target, reference.is_extent())
            if went:
                says[1] = value(went[0])
                says[3] = None if went[2] is None else value(went[2])
                nearness = 0 if went[1] == 0 else 1 if went[1] < 64 else 2
            move = self.moves.get(self.neighbourhood(reference.target))
            if move is not None:
                says[2] = value(reference.target + move)
        guess = self.guess(says, (reference.kind, entry[2] if entry else 0, nearness), field)
        guess.place, guess.base, guess.key = place, base, key
        return guess

    def guess(self, says, told, field):
        kind, sureness, nearness = told
        agreed = (says[2] if says[0] is None else says[0]) == says[1]
        same = (says[1] if says[0] is None else says[0]) == field
        context = ((kind * 4 + sureness) * 4 + nearness) * 4 + 2 * agreed + same
        scores = self.scores.setdefault(context, list(NONE_LEARNED))
        candidates = []
        for source in sorted(range(5), key=lambda source: -scores[source]):
            if says[source] is not None and says[source] not in candidates:
                candidates.append(says[source])
        return Guess(says, context, candidates[:3])

    def learn(self, reference, guess, value):
        scores = self.scores[guess.context]
        for source, said in enumerate(guess.says):
            if said is not None:
                scores[source] += 65535 - scores[source] >> 4 if said == value else -(scores[source] >> 4)
        if reference.is_told():
            return
        target = reference.target_at(value, guess.place, guess.base)
        is_page, is_half = reference.word()[0] == "page", reference.base is not None and reference.base[0] == "half"
        if is_page:
            self.kept[guess.says[4] & 31] = (target, reference.position)
        if is_half:
            self.kept[reference.base[1]] = (target, reference.position)
        if is_half or is_page and reference.target % 4096:
            return
        exists = self.places.exists(target)
        if reference.is_extent():
            learned = target - guess.base & ALL
        else:
            learned = target - self.counted_from(target) & ALL
        if guess.key and learned < 1 << 32 and (exists or reference.is_extent()):
            self.table.learn(guess.key, learned)
        if exists and not reference.is_extent():
            move = target - reference.target
            number = self.neighbourhood(reference.target)
            if number is not None and -(1 << 31) <= move < 1 << 31:
                self.moves[number] = None if move == -(1 << 31) else move
