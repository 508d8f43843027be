"""The compressors of the codecs `gzip`, `zip` and `png`: what zlib and GNU gzip would make. Slow and simple."""

from wire import must

EFFORTS = [(4, 4, 8, 4), (4, 5, 16, 8), (4, 6, 32, 32), (4, 4, 16, 16), (8, 16, 32, 32), (8, 16, 128, 128),
           (8, 32, 128, 256), (32, 128, 258, 1024), (32, 258, 258, 4096)]
LENGTH_EXTRA = [0] * 8 + [n for n in range(1, 6) for _ in range(4)] + [0]
DISTANCE_EXTRA = [0] * 4 + [n for n in range(1, 14) for _ in range(2)]
ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]


def bases(extras, first):
    out = []
    for extra in extras:
        out.append(first)
        first += 1 << extra
    return out


LENGTH_BASE = bases(LENGTH_EXTRA, 3)
LENGTH_BASE[28] = 258
DISTANCE_BASE = bases(DISTANCE_EXTRA, 1)


def code_of(table, value):
    return max(code for code, base in enumerate(table) if base <= value)


LENGTH_CODE = [0] * 3 + [code_of(LENGTH_BASE, n) for n in range(3, 259)]


class Bits:
    def __init__(self):
        self.value, self.count, self.out = 0, 0, bytearray()

    def put(self, value, count):
        self.value |= value << self.count
        self.count += count
        while self.count >= 8:
            self.out.append(self.value & 255)
            self.value >>= 8
            self.count -= 8

    def align(self):
        self.put(0, -self.count % 8)


class Code:
    def __init__(self, lengths):
        self.lengths, self.bits, code = lengths, [0] * len(lengths), 0
        for length in range(1, 16):
            code <<= 1
            for symbol, other in enumerate(lengths):
                if other == length:
                    self.bits[symbol] = int(format(code, f"0{length}b")[::-1], 2)
                    code += 1

    def send(self, bits, symbol):
        bits.put(self.bits[symbol], self.lengths[symbol])


def lengths_for(counts, longest):
    nodes = [s for s, n in enumerate(counts) if n]
    count, depth, parent = dict((s, counts[s]) for s in nodes), {}, {}
    while len(nodes) < 2:
        symbol = 0 if nodes and max(nodes) > 1 else max(nodes, default=-1) + 1
        nodes.append(symbol)
        count[symbol] = 1
    symbols = set(nodes)
    depth = dict.fromkeys(nodes, 0)
    before = lambda a, b: (count[a], depth[a]) <= (count[b], depth[b]) if count[a] == count[b] else count[a] < count[b]

    def sink(i):
        while 2 * i + 1 < len(nodes):
            child = 2 * i + 1
            if child + 1 < len(nodes) and before(nodes[child + 1], nodes[child]):
                child += 1
            if before(nodes[i], nodes[child]):
                return
            nodes[i], nodes[child] = nodes[child], nodes[i]
            i = child

    for i in reversed(range(len(nodes) // 2)):
        sink(i)
    order, new = [], len(counts)
    while len(nodes) > 1:
        first, nodes[0] = nodes[0], nodes[-1]
        nodes.pop()
        sink(0)
        second = nodes[0]
        order += [first, second]
        parent[first] = parent[second] = new
        count[new], depth[new] = count[first] + count[second], max(depth[first], depth[second]) + 1
        nodes[0] = new
        new += 1
        sink(0)
    length, cut = {nodes[0]: 0}, 0
    for node in reversed(order):
        length[node] = length[parent[node]] + 1
        if length[node] > longest:
            length[node], cut = longest, cut + 1
    if cut:
        numbers = [0] * (longest + 1)
        for symbol in symbols:
            numbers[length[symbol]] += 1
        for _ in range((cut + 1) // 2):
            at = max(n for n in range(1, longest) if numbers[n])
            numbers[at] -= 1
            numbers[at + 1] += 2
            numbers[longest] -= 1
        todo = [node for node in order if node in symbols]
        for n in range(longest, 0, -1):
            for symbol in todo[:numbers[n]]:
                length[symbol] = n
            todo = todo[numbers[n]:]
    return [length[s] if s in symbols else 0 for s in range(max(symbols) + 1)]


def run_lengths(lengths):
    out, last, i = [], None, 0
    while i < len(lengths):
        value = lengths[i]
        most = 138 if value == 0 else 6 if value == last else 7
        n = 1
        while n < most and i + n < len(lengths) and lengths[i + n] == value:
            n += 1
        if n < (3 if value in (0, last) else 4):
            out += [(value, 0, 0)] * n
        elif value == 0:
            out.append((17, n - 3, 3) if n <= 10 else (18, n - 11, 7))
        elif value == last:
            out.append((16, n - 3, 2))
        else:
            out += [(value, 0, 0), (16, n - 4, 2)]
        last, i = value, i + n
    return out


class Compressor:
    def __init__(self, plain, number):
        self.plain, self.gzip, self.level = plain, number < 16, number & 15
        memory = 9 if number & 32 else 8
        self.shortest = 6 if number & 64 else 3
        self.window = 32768 >> (number >> 7)
        self.farthest = self.window - 262
        self.h, self.s = (16, 6) if not self.gzip and memory == 9 else (15, 5)
        self.most = 16383 if not self.gzip and memory == 8 else 32767
        self.good, self.lazy, self.nice, self.chain = EFFORTS[self.level - 1]
        self.base, self.read, self.ended = 0, min(len(plain), 2 * self.window), False
        self.data = bytearray(plain) + bytes(300)
        self.chains, self.bits = {}, Bits()
        self.tokens, self.start = [], 0

    def read_on(self, p):
        while self.read - p < 262 and not (self.gzip and self.ended):
            if p - self.base >= self.window + self.farthest:
                self.base += self.window
            before = self.read
            self.read = min(len(self.plain), self.base + 2 * self.window)
            if self.read == before:
                if self.gzip:
                    self.ended = True
                    for q in range(self.read + 2, self.read + 290):
                        self.data[q] = self.data[q - 32768] if self.base else 0
                return

    def chain_of(self, p):
        a, b, c = self.data[p:p + 3]
        return self.chains.setdefault(((a << 2 * self.s) ^ (b << self.s) ^ c) % (1 << self.h), [])

    def enter(self, p):
        self.chain_of(p).append(p)

    def search(self, p, better):
        chain = self.chain_of(p)
        if not chain or chain[-1] <= self.base or p - chain[-1] > self.farthest or (self.gzip and p - self.base > 65274):
            return None
        left = self.chain // 4 if better >= self.good else self.chain
        nice = self.nice if self.gzip else min(self.nice, self.read - p)
        limit = p - self.farthest if p - self.base > self.farthest else self.base
        found = None
        for index in range(len(chain) - 1, max(len(chain) - 1 - left, -1), -1):
            q = chain[index]
            if q <= limit and index < len(chain) - 1:
                break
            n = 0
            while n < 258 and self.data[q + n] == self.data[p + n]:
                n += 1
            if n > better:
                found, better = q, n
                if n >= nice:
                    break
        return found is not None and (found, min(better, self.read - p)) or None

    def token(self, token, p):
        self.tokens.append(token)
        n = len(self.tokens)
        if n == self.most:
            return True
        if not self.gzip or self.level < 3 or n % 4096:
            return False
        matches = [d for length, d in self.tokens if length]
        bits = 8 * n + sum(5 + DISTANCE_EXTRA[code_of(DISTANCE_BASE, d)] for d in matches)
        return len(matches) < n // 2 and bits // 8 < (p - self.start) // 2

    def close(self, p, last):
        literals, distances = [0] * 286, [0] * 30
        literals[256] = 1
        for length, value in self.tokens:
            literals[257 + LENGTH_CODE[length] if length else value] += 1
            if length:
                distances[code_of(DISTANCE_BASE, value)] += 1
        extra = sum(n * e for n, e in zip(literals[257:], LENGTH_EXTRA)) + sum(n * e for n, e in zip(distances, DISTANCE_EXTRA))
        fixed = Code([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8), Code([5] * 30)
        own = Code(lengths_for(literals, 15)), Code(lengths_for(distances, 15))
        runs = run_lengths(own[0].lengths) + run_lengths(own[1].lengths)
        counts = [0] * 19
        for symbol, _, _ in runs:
            counts[symbol] += 1
        lengths = lengths_for(counts, 7)
        code = Code(lengths + [0] * (19 - len(lengths)))
        sent = max(4, 1 + max(i for i, s in enumerate(ORDER) if code.lengths[s]))
        cost = lambda codes: extra + sum(n * l for t, c in zip((literals, distances), codes) for n, l in zip(t, c.lengths))
        head = 14 + 3 * sent + sum(code.lengths[s] + e for s, _, e in runs)
        fixed_bytes, own_bytes = (cost(fixed) + 10) // 8, (cost(own) + head + 10) // 8
        bits = self.bits
        if self.start >= self.base and p - self.start + 4 <= min(fixed_bytes, own_bytes):
            bits.put(last, 3)
            bits.align()
            bits.out += (p - self.start).to_bytes(2, "little") + (65535 - p + self.start).to_bytes(2, "little")
            bits.out += self.data[self.start:p]
        else:
            codes = fixed if fixed_bytes <= own_bytes else own
            bits.put(last | (2 if codes is fixed else 4), 3)
            if codes is own:
                for value, count in ((len(own[0].lengths) - 257, 5), (len(own[1].lengths) - 1, 5), (sent - 4, 4)):
                    bits.put(value, count)
                for symbol in ORDER[:sent]:
                    bits.put(code.lengths[symbol], 3)
                for symbol, value, count in runs:
                    code.send(bits, symbol)
                    bits.put(value, count)
            for length, value in self.tokens:
                if length:
                    c = LENGTH_CODE[length]
                    codes[0].send(bits, 257 + c)
                    bits.put(length - LENGTH_BASE[c], LENGTH_EXTRA[c])
                    c = code_of(DISTANCE_BASE, value)
                    codes[1].send(bits, c)
                    bits.put(value - DISTANCE_BASE[c], DISTANCE_EXTRA[c])
                else:
                    codes[0].send(bits, value)
            codes[0].send(bits, 256)
        self.tokens, self.start = [], p

    def run(self):
        p, match, waiting = 0, None, False
        self.read_on(p)
        while p < len(self.plain):
            here = p
            better = match[1] if match else 2
            found = None
            if self.gzip or p + 3 <= self.read:
                if self.level <= 3 or better < self.lazy:
                    found = self.search(p, better)
                self.enter(p)
            if self.level <= 3:
                if found and found[1] >= 3:
                    full = self.token((found[1], p - found[0]), p)
                    p += found[1]
                    if found[1] <= self.lazy and (self.gzip or p + 3 <= self.read):
                        for q in range(here + 1, p):
                            self.enter(q)
                else:
                    full = self.token((0, self.data[p]), p)
                    p += 1
            else:
                if found and (found[1] < self.shortest or found[1] == 3 and p - found[0] > 4096):
                    found = None
                full = False
                if match and not (found and found[1] > match[1]):
                    full = self.token((match[1], p - 1 - match[0]), p)
                    p += match[1] - 1
                    for q in range(here + 1, p):
                        if self.gzip or q + 3 <= self.read:
                            self.enter(q)
                    match, waiting = None, False
                else:
                    if waiting and self.token((0, self.data[p - 1]), p):
                        self.close(p, 0)
                    match, waiting = found, True
                    p += 1
            if full:
                self.close(p, 0)
            self.read_on(p)
        if waiting:
            self.tokens.append((0, self.data[p - 1]))
        self.close(p, 1)
        self.bits.align()
        return bytes(self.bits.out)


def check(number):
    """That there is such a compressor."""
    kind = number % 64
    is_gzip = 1 <= number <= 9
    must(is_gzip or (17 <= kind <= 25 or 33 <= kind <= 41) and number // 128 <= 6, "no such compressor")


def compress(plain, number):
    return Compressor(plain, number).run()
