"""Instruction words that hold a number in fields of bits ("Instructions")."""

ADR = ((0, 2, 29), (2, 19, 5))
ARM_HALF = ((0, 12, 0), (12, 4, 16))
THUMB_HALF = ((0, 8, 16), (8, 3, 28), (11, 1, 10), (12, 4, 0))
THUMB_CALL = ((0, 11, 16), (11, 10, 0), (21, 1, 27), (22, 1, 29), (23, 1, 10))
FIELDS = {
    "near": ADR,
    "page": ADR,
    "low": ((0, 12, 10),),
    "ARM branch": ((0, 24, 0),),
    "ARM low": ARM_HALF,
    "ARM high": ARM_HALF,
    "thumb low": THUMB_HALF,
    "thumb high": THUMB_HALF,
    "thumb branch": ((0, 11, 16), (11, 6, 0), (17, 1, 29), (18, 1, 27), (19, 1, 10)),
    "thumb call": THUMB_CALL,
    "thumb call ARM": THUMB_CALL,
    "prel31": ((0, 31, 0),),
}
UNSIGNED = {"low", "ARM low", "ARM high", "thumb low", "thumb high"}


def fields_of(word):
    name, *rest = word
    if name == "branch":
        return ((0, *rest),)
    return ((0, rest[0], 0),) if name == "thumb short" else FIELDS[name]


def invert(word, n):
    is_call = word[0] in ("thumb call", "thumb call ARM")
    return n ^ 0x600000 if is_call and not n >> 23 & 1 else n


def read(word, instruction):
    n = bits = 0
    for low, count, place in fields_of(word):
        n |= (instruction >> place & (1 << count) - 1) << low
        bits += count
    n = invert(word, n)
    return n - (1 << bits) if word[0] not in UNSIGNED and n >> bits - 1 else n


def write(word, instruction, n):
    bits = sum(count for _, count, _ in fields_of(word))
    n = invert(word, n & (1 << bits) - 1)
    for low, count, place in fields_of(word):
        mask = (1 << count) - 1
        instruction = instruction & ~(mask << place) | (n >> low & mask) << place
    return instruction


def number_for(word, target, place):
    name = word[0]
    if name == "branch":
        return target - place >> 2
    if name in ("near", "prel31"):
        return target - place
    if name == "page":
        return (target >> 12) - (place >> 12)
    if name == "low":
        return target % 4096 >> word[1]
    if name == "ARM branch":
        return target - place - 8 >> 2
    if name in ("ARM low", "thumb low"):
        return target % 65536
    if name in ("ARM high", "thumb high"):
        return (target >> 16) % 65536
    if name == "thumb call ARM":
        return target - (place + 4 & ~3) >> 1
    return target - place - 4 >> 1


def target_of(word, n, place, kept):
    name = word[0]
    if name == "branch":
        return place + 4 * n
    if name in ("near", "prel31"):
        return place + n
    if name == "page":
        return (place & ~4095) + 4096 * n
    if name == "low":
        return kept + (n << word[1])
    if name == "ARM branch":
        return place + 8 + 4 * n
    if name in ("ARM low", "thumb low"):
        return n
    if name in ("ARM high", "thumb high"):
        return 65536 * n + kept % 65536
    if name == "thumb call ARM":
        return (place + 4 & ~3) + 2 * n
    return place + 4 + 2 * n
