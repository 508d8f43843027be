"""The container: header, table of frames, frames ("The container")."""

import hashlib
import lzma
import subprocess

from align import Learned
from coded import Stream
from wire import Input, Refused, must, sha256, within

SECTIONS = {1: "config", 2: "manifest", 3: "tree", 4: "contents"}
SECTION_LIMIT = 64 << 20
LIMITS = {"header": 4 << 20, "signatures": 64 << 10, "frame": 8 << 20, "dictionary": 8 << 20, "memory": 256 << 20}
LIMITS |= {"delta": 64 << 30, "payload": 256 << 30}
MAGIC = bytes.fromhex("89534b460d0a1a0a")


def read_header(delta):
    """The header, whose frames know where they are."""
    must(delta[:8] == MAGIC[: len(delta)], "magic", at=0)
    must(len(delta) >= 52, "it is cut off in the preamble", at=0)
    must(delta[8:10] == b"\1\0", "version", "unsupported")
    must(delta[10:12] == bytes(2), "reserved bytes", at=10)
    length, signed = (int.from_bytes(delta[at : at + 4], "little") for at in (12, 48))
    start = 52 + length + signed
    within(signed, LIMITS["signatures"], "signatures")
    within(start, LIMITS["header"], "header")
    must(start <= len(delta), "it is cut off in the header", at=0)
    body = delta[52 : 52 + length]
    try:
        must(sha256(delta[:16] + body) == delta[16:48], "header digest")
        header = read_body(Input(body), start)
    except Refused as refused:
        if refused.kind == "corrupt":
            refused.at = "in the header's body"
        raise
    header["signatures"] = read_signatures(Input(delta[:start], 52 + length))
    return header


def read_signatures(block):
    """Who signed, checked for its form alone: whom to believe is another script's."""
    found, last = [], (0, b"")
    if block.ends():
        return found
    start = block.at
    count = block.integer()
    must(1 <= count <= 16, "number of signatures", at=start)
    for _ in range(count):
        start = block.at
        try:
            algorithm, key, signature = block.integer(), block.take(32), block.text()
        except Refused as refused:
            refused.at = block.at
            raise
        must(0 < algorithm < 1 << 16 and signature, "no algorithm, or no bytes", at=start)
        must(algorithm != 1 or len(signature) == 64, "length of a signature of Ed25519", at=start)
        must((algorithm, key) > last, "signatures out of order", at=start)
        last = algorithm, key
        found.append((algorithm, key, len(signature)))
    must(block.ends(), "bytes after the signatures", at=block.at)
    return found


def read_body(body, offset):
    codecs, bases = [], []
    for _ in range(body.integer(257)):
        codecs.append((body.integer(1 << 16), body.integer(1 << 16)))
        must(len(codecs) < 2 or codecs[-2][0] < codecs[-1][0], "codecs out of order")
    for _ in range(body.integer(17)):
        bases.append((body.take(32), body.take(32)))
    must(bases and len({base[0] for base in bases}) == len(bases), "no base, or one twice")
    must(len({base[1] for base in bases}) == 1, "bases of different trees")
    header = {"codecs": codecs, "bases": bases, "release": body.take(32), "tree": body.take(32)}
    header["config"] = body.take(32) if body.flag() else None
    header["manifest"] = body.take(32) if body.flag() else None
    header["facts"] = [body.integer() for _ in range(8)]
    last = 0
    for _ in range(body.integer(257)):
        number, needed = body.integer(), body.flag()
        must(number > last, "extensions out of order")
        last = number
        body.text()
        must(not needed, f"extension {number}", "unsupported")
    header["frames"] = read_table(body, offset, header)
    within(header["facts"][7], LIMITS["memory"], "memory")
    last = header["frames"][-1]
    header["size"] = last["offset"] + last["encoded"]
    within(header["size"], LIMITS["delta"], "delta")
    return header


def read_table(body, offset, header):
    frames = []
    for _ in range(body.integer()):
        kind, flags = body.integer(), body.integer(2)
        compressor, parameter = body.integer(), body.integer()
        frame = {"kind": kind, "compressor": compressor, "parameter": parameter, "offset": offset}
        frame |= {"encoded": body.integer(), "decoded": body.integer(), "digest": body.take(32)}
        must(kind in SECTIONS or flags, f"section {kind}", "unsupported")
        must(0 < frame["encoded"], "an empty frame")
        if kind in SECTIONS:
            must(not flags, "a section that is skippable and known")
            must(compressor <= 3, "compressor", "unsupported")
            must(frame["encoded"] <= frame["decoded"], "sizes of a frame")
            must((compressor == 0) == (frame["encoded"] == frame["decoded"]), "stored, and only stored, keeps its size")
            frame["dictionary"] = dictionary(compressor, parameter)
            must(compressor != 1 or frame["decoded"] <= frame["dictionary"], "a dictionary below the payload")
        frames.append(frame)
        offset += frame["encoded"]
        must(offset < 1 << 64, "sums of sizes")
    must(body.ends(), "bytes after the table")
    known = [frame["kind"] for frame in frames if frame["kind"] in SECTIONS]
    must(known == sorted(known) and 3 in known, "order of sections, and a tree")
    for section in (1, 2):
        digest = header[SECTIONS[section]]
        must((section in known) == (digest not in (None, sha256(b""))), "config or manifest")
    wanted = [frame for frame in frames if frame["kind"] in SECTIONS]
    for frame in wanted:
        within(frame["decoded"], LIMITS["frame"], "payload of a frame")
        within(frame["dictionary"], LIMITS["dictionary"], "dictionary")
    for section in (1, 2, 3):
        within(sum(frame["decoded"] for frame in frames if frame["kind"] == section), SECTION_LIMIT, "a section")
    within(sum(frame["decoded"] for frame in wanted), LIMITS["payload"], "payload of all frames")
    return frames


def dictionary(compressor, parameter):
    if compressor in (0, 3):
        must(parameter == 0, "a parameter where there is none")
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


def unmix(frame, data):
    stream, literals = Stream(data), Learned().literals
    payload = bytes(literals.read(stream, 256, False) for _ in range(frame["decoded"]))
    stream.end()
    return payload


def read_frames(delta, header):
    """The payloads of all frames, None for those that are left out; each is checked before it is given."""
    for frame in header["frames"]:
        try:
            yield frame, read_frame(delta, frame)
        except Refused as refused:
            refused.at = frame["offset"] if refused.at is None else refused.at
            raise
    must(len(delta) == header["size"], "bytes after the last frame", at=header["size"])


def read_frame(delta, frame):
    data = delta[frame["offset"] : frame["offset"] + frame["encoded"]]
    must(len(data) == frame["encoded"], "it is cut off")
    must(sha256(data) == frame["digest"], "digest of a frame")
    if frame["kind"] not in SECTIONS:
        return None
    payload = [lambda _, data: data, unlzma, unzstd, unmix][frame["compressor"]](frame, data)
    must(len(payload) == frame["decoded"], "payload of a frame")
    return payload


def describe(delta):
    """What the texts beside the golden containers say."""
    header = read_header(delta)
    name = lambda digest: digest.hex() if digest else "none"
    lines = [f"delta of {header['size']} bytes, header {delta[16:48].hex()}"]
    lines += [f"codec {number} version {version}" for number, version in header["codecs"]]
    lines += [f"base {release.hex()} tree {tree.hex()}" for release, tree in header["bases"]]
    lines.append(f"target {header['release'].hex()} tree {header['tree'].hex()}")
    lines += [f"{part} {name(header[part])}" for part in ("config", "manifest")]
    facts = header["facts"]
    pull = facts[6] - 1 if facts[6] else "unknown"
    lines.append("facts " + " ".join(map(str, [*facts[:6], pull, facts[7]])))
    for algorithm, key, length in header["signatures"]:
        lines.append(f"signature of algorithm {algorithm} by {key.hex()}: {length} bytes")
    for index, (frame, payload) in enumerate(read_frames(delta, header)):
        if payload is None:
            lines.append(f"frame {index} skipped")
            continue
        told = f"{SECTIONS[frame['kind']]} of {len(payload)} bytes, sha256 {hashlib.sha256(payload).hexdigest()}"
        lines.append(f"frame {index} at {frame['offset']}: {told}")
    return "\n".join(lines)
