"""Coded streams: the arithmetic decoder and its models ("Coded streams")."""

from wire import must

MASK = (1 << 32) - 1


def squashed():
    e, out = 1 << 62, []
    for _ in range(2841):
        out.append(min(65535, (1 << 78) // ((1 << 62) + e)))
        e = e * 4593706758521714574 >> 62
    return out


RIGHT = squashed()
# `squash(x)` is `SQUASH[x + 2840]`.
SQUASH = [65536 - RIGHT[-x] if x < 0 else RIGHT[x] for x in range(-2840, 2841)]


def squash(x):
    return SQUASH[max(-2840, min(2840, x)) + 2840]


def stretched():
    upper, x = [], 0
    for i in range(2048, 4096):
        while x < 2840 and RIGHT[x + 1] <= 16 * i + 8:
            x += 1
        upper.append(x)
    return [-x for x in reversed(upper)] + upper


# `stretch(p)` is `STRETCH[p >> 4]`.
STRETCH = stretched()
RATES = [32768, 22000, 16384, 13000, 10500, 9500, 8500, 8000]
BIT_RATES = [131072 // (2 * n + 3) for n in range(256)]


class Stream:
    """A coded stream, decoded bit by bit."""

    def __init__(self, data):
        self.data, self.at = data, 8
        self.low, self.high = 0, (1 << 64) - 1
        self.number = int.from_bytes(data[:8].ljust(8, b"\0"), "big")

    def bit(self, p):
        middle = self.low + (self.high - self.low >> 16) * p
        bit = self.number <= middle
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while not (self.low ^ self.high) >> 56:
            self.low = self.low << 8 & 0xFFFFFFFFFFFFFFFF
            self.high = self.high << 8 & 0xFFFFFFFFFFFFFFFF | 255
            following = self.data[self.at] if self.at < len(self.data) else 0
            self.number = self.number << 8 & 0xFFFFFFFFFFFFFFFF | following
            self.at += 1
        return int(bit)

    def end(self):
        last = next(v for v in (self.high >> 8 * k << 8 * k for k in range(7, -1, -1)) if v >= self.low)
        length = self.at - 8 + len(last.to_bytes(8, "big").rstrip(b"\0"))
        must(self.number == last and len(self.data) == length, "a coded stream does not end where it should")


def turn(value, bits):
    return (value << bits | value >> 32 - bits) & MASK


def hashed(seed, *parts):
    h = seed * 0x9E3779B1 & MASK
    for part in parts:
        h = turn((h ^ part) * 0x85EBCA6B & MASK, 13) + seed & MASK
    return h


class Bit:
    """A bit model."""

    __slots__ = ("q", "n")

    def __init__(self):
        self.q, self.n = 1 << 21, 0

    def says(self):
        return self.q >> 6 or 1

    def learn(self, bit):
        r = BIT_RATES[self.n]
        if bit:
            self.q += ((1 << 22) - 1 - self.q) * r >> 16
        else:
            self.q -= self.q * r >> 16
        if self.n < 255:
            self.n += 1

    def read(self, stream):
        bit = stream.bit(self.says())
        self.learn(bit)
        return bit


class Mixer:
    def __init__(self, sets, inputs):
        self.sets, self.inputs, self.weights = sets, inputs, {}

    def set(self, number):
        return self.weights.setdefault(min(number, self.sets - 1), [1365] * self.inputs)


def mix(opinions, weights):
    return sum(map(int.__mul__, opinions, weights)) >> 12


def learn_mix(opinions, weights, x, bit):
    error = (bit << 14) - (squash(x) >> 2)
    for i, opinion in enumerate(opinions):
        if opinion:
            weights[i] = max(-32768, min(32767, weights[i] + (opinion * error + 32768 >> 16)))


class Flags:
    def __init__(self, contexts, bits, sets):
        self.shift, self.mixer = 32 - bits, Mixer(sets, contexts)
        self.tables = [{} for _ in range(contexts)]

    def read(self, stream, contexts, number):
        models = []
        for table, context in zip(self.tables, contexts, strict=True):
            place = (context * 0x9E3779B1 & MASK) >> self.shift
            model = table.get(place)
            if model is None:
                model = table[place] = Bit()
            models.append(model)
        opinions = [STRETCH[model.says() >> 4] for model in models]
        weights = self.mixer.set(number)
        x = mix(opinions, weights)
        bit = stream.bit(squash(x))
        learn_mix(opinions, weights, x, bit)
        for model in models:
            model.learn(bit)
        return bit


# A line is a list: its check, and for each of 15 nodes a probability and a count, as q * 8 + count.
NEW_LINE = [4096 * 8] * 15


def learn_slot(line, node, bit):
    q, count = line[node] >> 3, line[node] & 7
    q += ((8191 if bit else 0) - q) * RATES[count] + 32768 >> 16
    line[node] = q << 3 | min(7, count + 1)


class Bytes:
    def __init__(self, contexts, bits, fine, coarse):
        self.mask, self.lines, self.inputs = (1 << bits) - 1, {}, contexts + 2
        self.fine = Mixer(fine * 32, self.inputs)
        self.coarse = Mixer(coarse, self.inputs)
        self.adjusted = {}
        self.expected = [[Bit() for _ in range(32)] for _ in range(2)]

    def line(self, number):
        line = self.lines.get(number)
        if line is None:
            line = self.lines[number] = [32768, *NEW_LINE]
        return line

    def find(self, contexts, seed):
        places = []
        for context in contexts:
            seed = seed + 0x632BE5AB & MASK
            h = (context ^ seed) * 0x9E3779B1 & MASK
            h = (h ^ h >> 15) * 0x2C1B3C6D & MASK
            number = (h ^ h >> 11) & self.mask
            first = self.line(number)
            places.append((first, number, h >> 16, first[0] == h >> 16))
        lines = []
        for first, number, check, is_first in places:
            if not is_first:
                second = self.line(number ^ 1)
                if second[0] == check:
                    first = second
                else:
                    if second[1] & 7 < first[1] & 7:
                        first = second
                    first[:] = [check, *NEW_LINE]
            lines.append(first)
        return lines

    def read(self, stream, contexts, sets, expected=()):
        """Sets are those of fine and coarse; expected are up to two pairs of a byte and its class, or None."""
        fine, coarse = sets
        coarse_weights = self.coarse.set(coarse)
        byte = 1
        for half in range(2):
            high = byte - 16
            lines = self.find(contexts, (high + 1) * 0x3D4D51CB & MASK if half else 0)
            start = 272 * coarse + (16 * (high + 1) if half else 0)
            node = 1
            for _ in range(4):
                opinions = [STRETCH[(line[node] >> 3) * 8 + 4 >> 4] for line in lines]
                guesses = []
                for which in range(2):
                    opinions.append(0)
                    told = expected[which] if which < len(expected) else None
                    if told is not None:
                        whole = told[0] | 256
                        size = byte.bit_length()
                        if whole >> 9 - size == byte:
                            wanted = whole >> 8 - size & 1
                            model = self.expected[which][told[1]]
                            says = STRETCH[model.says() >> 4]
                            opinions[-1] = says if wanted else -says
                            guesses.append((model, wanted))
                fine_weights = self.fine.set((2 * fine + half) * 16 + node)
                x1, x2 = mix(opinions, fine_weights), mix(opinions, coarse_weights)
                bit = self.adjust(stream, x1 + x2 >> 1, start + node)
                learn_mix(opinions, fine_weights, x1, bit)
                learn_mix(opinions, coarse_weights, x2, bit)
                for line in lines:
                    learn_slot(line, node, bit)
                for model, wanted in guesses:
                    model.learn(int(bit == wanted))
                node = 2 * node + bit
                byte = 2 * byte + bit
        return byte & 255

    def adjust(self, stream, x, context):
        numbers = self.adjusted.get(context)
        if numbers is None:
            numbers = self.adjusted[context] = [squash(256 * i - 2944) for i in range(24)]
        x = max(-2840, min(2840, x))
        i, f = divmod(x + 2944, 256)
        between = numbers[i] * (256 - f) + numbers[i + 1] * f >> 8
        bit = stream.bit(max(1, min(65535, SQUASH[x + 2840] + between >> 1)))
        i += f >= 128
        numbers[i] += (65535 - numbers[i] >> 6) if bit else -(numbers[i] >> 6)
        return bit


def contexts_of(contexts, node):
    node = node * 0x85EBCA6B & MASK
    return [turn((c ^ node) * 0xC2B2AE35 & MASK, 15) for c in (0x5BD1E995, *contexts)]


class Numbers:
    """Numbers in three contexts."""

    def __init__(self):
        self.flags = Flags(4, 12, 128)

    def flag(self, stream, node, contexts, number):
        return self.flags.read(stream, contexts_of([c & MASK for c in contexts], node), number)

    def read(self, stream, contexts):
        node = 1
        for _ in range(7):
            node = 2 * node + self.flag(stream, node, contexts, node)
        length = min(64, node - 128)
        if length == 0:
            return 0
        value, node = 1, 1
        for index in range(length - 1):
            if index < 3:
                bit = self.flag(stream, length * 256 + node + 0x8000, contexts, 0)
                node = 2 * node + bit
            else:
                bit = stream.bit(32768)
            value = 2 * value + bit
        return value


class SignedNumbers:
    def __init__(self):
        self.sign, self.magnitude = Numbers(), Numbers()

    def read(self, stream, contexts):
        sign = self.sign.flag(stream, 1, contexts, 0)
        magnitude = self.magnitude.read(stream, [2 * c + sign for c in contexts])
        return -magnitude if sign else magnitude
