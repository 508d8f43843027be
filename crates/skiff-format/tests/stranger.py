"""Decodes the container of a delta as doc/format.md defines it, sharing no code with the crate.

Prints what the golden files' .txt say. Exits with 1, and says why, where the document wants the delta refused.
"""

import hashlib
import lzma
import subprocess
import sys

SECTIONS = {1: "config", 2: "manifest", 3: "tree", 4: "contents"}
LIMITS = {"header": 4 << 20, "signatures": 64 << 10, "frame": 8 << 20, "dictionary": 8 << 20, "memory": 256 << 20}
LIMITS |= {"delta": 64 << 30, "payload": 256 << 30}


class Refused(Exception):
    pass


def must(holds, why):
    if not holds:
        raise Refused(why)


class Body:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        must(self.at + count <= len(self.data), "the header body ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def digest(self):
        return self.take(32).hex()

    def flag(self):
        byte = self.take(1)[0]
        must(byte < 2, "a flag is 0 or 1")
        return byte == 1

    def integer(self, below=1 << 64):
        value = 0
        for index in range(10):
            byte = self.take(1)[0]
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                must(byte or not index, "an integer is not in its shortest form")
                must(value < below, "an integer is out of its range")
                return value
        raise Refused("an integer of more than ten bytes")


def header(delta):
    must(len(delta) >= 52, "cut off in the preamble")
    must(delta[:8] == bytes.fromhex("89534b460d0a1a0a"), "magic")
    must(delta[8:12] == bytes(4), "version or reserved bytes")
    length = int.from_bytes(delta[12:16], "little")
    signed = int.from_bytes(delta[48:52], "little")
    start = 52 + length + signed
    must(signed <= LIMITS["signatures"], "length of the signatures")
    must(start <= LIMITS["header"] and start <= len(delta), "length of the header")
    must(hashlib.sha256(delta[:16] + delta[52 : 52 + length]).digest() == delta[16:48], "header digest")
    body = Body(delta[52 : 52 + length])
    told = []
    last = -1
    for _ in range(body.integer(257)):
        number, version = body.integer(1 << 16), body.integer(1 << 16)
        must(number > last, "codecs out of order")
        last = number
        told.append(f"codec {number} version {version}")
    bases = []
    for _ in range(body.integer(17)):
        bases.append((body.digest(), body.digest()))
        told.append("base {} tree {}".format(*bases[-1]))
    must(bases and len({base[0] for base in bases}) == len(bases), "no base, or one twice")
    told.append(f"target {body.digest()} tree {body.digest()}")
    carried = {}
    for section in (1, 2):
        carried[section] = body.digest() if body.flag() else None
        told.append(f"{SECTIONS[section]} {carried[section] or 'none'}")
    facts = [body.integer() for _ in range(8)]
    must(facts[7] <= LIMITS["memory"], "memory")
    pull = facts[6] - 1 if facts[6] else "unknown"
    told.append("facts " + " ".join(str(fact) for fact in [*facts[:6], pull, facts[7]]))
    told += signatures(delta[52 + length : start])
    frames = table(body, start, carried)
    size = frames[-1]["offset"] + frames[-1]["encoded"]
    must(size <= LIMITS["delta"], "size of the delta")
    name = delta[16:48].hex()
    return frames, size, [f"delta of {size} bytes, header {name}", *told]


def signatures(block):
    body, told, last = Body(block), [], (0, "")
    count = body.integer(17) if block else 0
    must(bool(count) == bool(block), "a block without signatures")
    for _ in range(count):
        algorithm, key = body.integer(1 << 16), body.digest()
        signature = body.take(body.integer())
        must(algorithm and signature, "no algorithm, or an empty signature")
        must(algorithm != 1 or len(signature) == 64, "length of a signature of Ed25519")
        must((algorithm, key) > last, "signatures out of order")
        last = algorithm, key
        told.append(f"signature of algorithm {algorithm} by {key}: {len(signature)} bytes")
    must(body.at == len(block), "bytes after the signatures")
    return told


def table(body, offset, carried):
    frames = []
    for _ in range(body.integer()):
        kind, flags = body.integer(), body.integer(2)
        compressor, parameter = body.integer(3), body.integer()
        frame = {"kind": kind, "compressor": compressor, "parameter": parameter, "offset": offset}
        frame |= {"encoded": body.integer(), "decoded": body.integer(), "digest": body.digest()}
        stored = compressor == 0
        must(0 < frame["encoded"] <= frame["decoded"], "sizes of a frame")
        must(stored == (frame["encoded"] == frame["decoded"]), "stored, and only stored, keeps its size")
        must(frame["decoded"] <= LIMITS["frame"], "payload of a frame")
        must((kind in SECTIONS) != bool(flags), "skippable and unknown, or neither")
        must(dictionary(compressor, parameter) <= LIMITS["dictionary"], "dictionary")
        frames.append(frame)
        offset += frame["encoded"]
    must(body.at == len(body.data), "bytes after the table")
    known = [frame["kind"] for frame in frames if frame["kind"] in SECTIONS]
    must(known == sorted(known) and 3 in known, "order of sections, and a tree")
    empty = hashlib.sha256().hexdigest()
    for section, digest in carried.items():
        must((section in known) == (digest not in (None, empty)), "config or manifest")
    must(sum(frame["decoded"] for frame in frames) <= LIMITS["payload"], "payload of all frames")
    return frames


def dictionary(compressor, parameter):
    if compressor == 0:
        must(parameter == 0, "parameter of stored")
        return 0
    if compressor == 2:
        must(10 <= parameter <= 31, "parameter of Zstandard")
        return 1 << parameter
    number, properties = divmod(parameter, 256)
    lc, lp, pb = properties % 9, properties // 9 % 5, properties // 45
    must(number <= 39 and lc + lp <= 4 and pb <= 4, "parameter of LZMA")
    return (2 + number % 2) << (number // 2 + 11)


def unlzma(frame, data):
    size = dictionary(1, frame["parameter"])
    front = bytes([frame["parameter"] % 256]) + size.to_bytes(4, "little") + b"\xff" * 8
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    try:
        payload = decoder.decompress(front + data, frame["decoded"] + 1)
        if not decoder.eof and not decoder.needs_input:
            payload += decoder.decompress(b"", 1)
    except lzma.LZMAError as error:
        raise Refused(f"LZMA: {error}") from error
    must(decoder.eof and not decoder.unused_data, "the LZMA stream does not end with the frame")
    return payload


def unzstd(frame, data):
    must(data[:4] == bytes.fromhex("28b52ffd") and len(data) > 6, "not a Zstandard frame")
    must(data[4] & 3 == 0, "a dictionary")
    single, width = data[4] & 32, [0, 2, 4, 8][data[4] >> 6]
    if single:
        width = width or 1
        window = int.from_bytes(data[5 : 5 + width], "little") + (256 if width == 2 else 0)
    else:
        base = 1 << (10 + (data[5] >> 3))
        window = base + base // 8 * (data[5] & 7)
    must(frame["decoded"] <= window <= 1 << frame["parameter"], "window")
    at, last = 5 + (0 if single else 1) + width, False
    while not last:
        must(at + 3 <= len(data), "cut off in a block")
        block = int.from_bytes(data[at : at + 3], "little")
        last = block & 1
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
    must(at + (4 if data[4] & 4 else 0) == len(data), "the Zstandard frame does not end with the frame")
    done = subprocess.run(["zstd", "-dc", "--long=31"], input=data, capture_output=True)
    must(done.returncode == 0, f"Zstandard: {done.stderr}")
    return done.stdout


def main(path):
    with open(path, "rb") as file:
        delta = file.read()
    frames, size, lines = header(delta)
    for index, frame in enumerate(frames):
        data = delta[frame["offset"] : frame["offset"] + frame["encoded"]]
        must(hashlib.sha256(data).hexdigest() == frame["digest"], f"digest of frame {index}")
        if frame["kind"] not in SECTIONS:
            lines.append(f"frame {index} skipped")
            continue
        payload = [lambda _, data: data, unlzma, unzstd][frame["compressor"]](frame, data)
        must(len(payload) == frame["decoded"], f"payload of frame {index}")
        name, digest = SECTIONS[frame["kind"]], hashlib.sha256(payload).hexdigest()
        lines.append(f"frame {index} at {frame['offset']}: {name} of {len(payload)} bytes, sha256 {digest}")
    must(len(delta) == size, "bytes after the last frame")
    print("\n".join(lines))


try:
    main(sys.argv[1])
except Refused as refused:
    sys.exit(f"refused: {refused}")
