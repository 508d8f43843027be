"""Follows a delta as doc/format.md defines it, sharing no code with the crates: stranger.py DELTA BASE. Or reads a tree
signature, whose name ends in .sks, and compares it with the base.

BASE is a folder with the files `tree` and `contents/DIGEST`, and `config.json` where the base has one. Prints the release
id and the tree digest of the result, once they are what the header names. Exits with 1, and says why, where the delta is
to be refused, and with 3 where it needs a codec that is not here. Checks that concern the container alone are left to the
script of the crate skiff-format.
"""

import base64
import hashlib
import lzma
import pathlib
import re
import subprocess
import sys
import zlib

DIRECTORY, FILE, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE, FIFO, HARD_LINK = range(1, 8)


class Refused(Exception):
    pass


def must(holds, why):
    if not holds:
        raise Refused(why)


def sha256(data):
    return hashlib.sha256(data).digest()


class Input:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        must(self.at + count <= len(self.data), "it ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self):
        return self.take(1)[0]

    def integer(self, below=1 << 64):
        value = 0
        for index in range(10):
            byte = self.byte()
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                must((byte or not index) and value < below, "an integer out of its form or range")
                return value
        raise Refused("an integer of more than ten bytes")

    def signed(self):
        value = self.integer()
        return value >> 1 if value % 2 == 0 else -((value + 1) >> 1)

    def text(self, least, most):
        length = self.integer()
        must(least <= length <= most, "a length out of its range")
        return self.take(length)

    def ends(self):
        return self.at == len(self.data)


def put_integer(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def put_signed(value):
    return put_integer(2 * value if value >= 0 else -2 * value - 1)


def put_text(data):
    return put_integer(len(data)) + data


# Trees. An entry is a dictionary: path and type, then what the type has.


def read_attributes(data):
    attributes = []
    for _ in range(data.integer()):
        name, value = data.text(1, 255), data.text(0, 65536)
        must(0 not in name and (not attributes or attributes[-1][0] < name), "attributes out of order")
        attributes.append((name, value))
    return attributes


def read_mode(data):
    return data.integer(0o10000)


def read_pair(data):
    return data.integer(1 << 32), data.integer(1 << 32)


def decode_tree(encoding):
    data, entries = Input(encoding), []
    must(data.take(13) == b"skiff-tree 0\n", "not a tree")
    while kind := data.byte():
        entry = {"type": kind, "path": data.text(0, 4095)}
        entries.append(entry)
        if kind == HARD_LINK:
            entry["owner_path"] = data.text(0, 4095)
            continue
        entry |= {"mode": read_mode(data), "owner": read_pair(data)}
        entry |= {"mtime": (data.signed(), data.integer(10**9)), "attributes": read_attributes(data)}
        if kind == FILE:
            entry |= {"size": data.integer(), "digest": data.take(32)}
        elif kind == SYMLINK:
            entry["target"] = data.text(1, 4095)
        elif kind in (CHAR_DEVICE, BLOCK_DEVICE):
            entry["device"] = read_pair(data)
        else:
            must(kind in (DIRECTORY, FIFO), "unknown type")
    must(data.ends(), "bytes follow the tree")
    check_tree(entries)
    return entries


def check_tree(entries):
    must(entries and entries[0]["path"] == b"" and entries[0]["type"] == DIRECTORY, "no root")
    before = {}
    keys = []
    for entry in entries:
        path = entry["path"]
        keys.append(path.split(b"/") if path else [])
        for name in keys[-1]:
            must(name not in (b"", b".", b"..") and len(name) <= 255 and 0 not in name, "a bad path")
        if path:
            parent = before.get(b"/".join(keys[-1][:-1]))
            must(parent and parent["type"] == DIRECTORY, "an entry outside of any directory")
        if entry["type"] == HARD_LINK:
            owner = before.get(entry["owner_path"])
            must(owner and owner["type"] not in (DIRECTORY, HARD_LINK), "a link to nothing")
        if entry["type"] == SYMLINK:
            must(0 not in entry["target"] and 1 <= len(entry["target"]) <= 4095, "a bad target")
        before[path] = entry
    must(all(one < two for one, two in zip(keys, keys[1:])), "entries out of order")


def encode_tree(entries):
    out = [b"skiff-tree 0\n"]
    for entry in entries:
        out += [bytes([entry["type"]]), put_text(entry["path"])]
        if entry["type"] == HARD_LINK:
            out.append(put_text(entry["owner_path"]))
            continue
        seconds, nanoseconds = entry["mtime"]
        out += [put_integer(entry["mode"]), *map(put_integer, entry["owner"])]
        out += [put_signed(seconds), put_integer(nanoseconds), put_integer(len(entry["attributes"]))]
        out += [put_text(part) for attribute in entry["attributes"] for part in attribute]
        if entry["type"] == FILE:
            out += [put_integer(entry["size"]), entry["digest"]]
        elif entry["type"] == SYMLINK:
            out.append(put_text(entry["target"]))
        elif entry["type"] in (CHAR_DEVICE, BLOCK_DEVICE):
            out += map(put_integer, entry["device"])
    return b"".join(out) + b"\0"


def release_id(tree_digest, config):
    told = b"\0" if config is None else b"\1" + sha256(config)
    return sha256(b"skiff-release-0\n" + tree_digest + told)


# The tree section.


class TreeSection:
    def __init__(self, base, payload):
        self.base, self.entries, self.sizes = base, [], []
        self.follows = 0
        data = Input(payload)
        lengths = [data.integer() for _ in range(15)]
        self.columns = [Input(data.take(length)) for length in lengths]
        must(data.ends(), "bytes follow the columns")
        self.times, self.used = [], set()
        seconds, column = 0, self.columns[7]
        while not column.ends():
            seconds = (seconds + column.signed() + 2**63) % 2**64 - 2**63
            time = (seconds, column.integer(10**9))
            must(not self.times or self.times[-1] < time, "times out of order")
            self.times.append(time)
        self.operations()
        must(all(column.ends() for column in self.columns), "columns are not used up")
        must(self.used == set(range(len(self.times))), "a time that is not used")
        check_tree(self.entries)

    def operations(self):
        place, last = 0, None
        while not self.columns[0].ends():
            run, operation = divmod(self.columns[0].integer(), 4)
            must(run and operation != last, "runs")
            last = operation
            for _ in range(run):
                if operation == 3:
                    self.insert()
                    continue
                must(place < len(self.base), "a run beyond the base")
                entry = self.base[place]
                if operation == 0:
                    self.entries.append(dict(entry))
                elif operation == 1:
                    self.entries.append(self.change(entry))
                place += 1
        must(place == len(self.base), "entries of the base that are not told")

    def insert(self):
        before = self.entries[-1]["path"] if self.entries else b""
        shared = self.columns[2].integer()
        must(shared <= len(before), "a prefix that is too long")
        self.entries.append(self.whole(before[:shared] + self.columns[3].text(0, 4095)))

    def whole(self, path):
        entry = {"path": path, "type": self.columns[4].byte()}
        if entry["type"] == HARD_LINK:
            return entry | {"owner_path": self.link()}
        self.metadata(entry, 2 | 4 | 8 | 16)
        same = [old for old in self.base if old["path"] == path and old["type"] == FILE]
        return self.holds(entry, same[0]["size"] if same else 0)

    def change(self, old):
        flags = self.columns[1].byte()
        must(flags and flags < 64 and (flags == 1 or not flags & 1), "flags")
        if flags == 1:
            return self.whole(old["path"])
        entry = dict(old)
        if entry["type"] == HARD_LINK:
            must(flags == 32, "flags of a hard link")
            return entry | {"owner_path": self.link()}
        self.metadata(entry, flags)
        return self.holds(entry, entry.get("size", 0)) if flags & 32 else entry

    def metadata(self, entry, flags):
        if flags & 2:
            entry["mode"] = read_mode(self.columns[5])
        if flags & 4:
            entry["owner"] = read_pair(self.columns[6])
        if flags & 8:
            index = self.columns[8].integer()
            must(index < len(self.times), "no such time")
            self.used.add(index)
            entry["mtime"] = self.times[index]
        if flags & 16:
            entry["attributes"] = read_attributes(self.columns[9])

    def link(self):
        back = self.columns[14].integer()
        must(1 <= back <= len(self.entries), "no such entry before")
        return self.entries[-back]["path"]

    def holds(self, entry, size):
        kind = entry["type"]
        must(DIRECTORY <= kind <= FIFO, "unknown type")
        if kind == FILE:
            self.content(entry, size)
        elif kind == SYMLINK:
            entry["target"] = self.columns[12].text(1, 4095)
        elif kind in (CHAR_DEVICE, BLOCK_DEVICE):
            entry["device"] = read_pair(self.columns[13])
        return entry

    def content(self, entry, size):
        value = self.columns[10].integer()
        if value == 0:
            entry["new"] = len(self.sizes)
            self.sizes.append((size + self.columns[11].signed()) % 2**64)
        elif value % 2:
            back = (value - 1) // 2
            must(1 <= back <= len(self.sizes), "no such content before")
            entry["new"] = len(self.sizes) - back
        else:
            step = (value - 2) // 2
            place = self.follows + (step >> 1 if step % 2 == 0 else -((step + 1) >> 1))
            must(0 <= place < len(self.base) and self.base[place]["type"] == FILE, "not a file of the base")
            self.follows = place + 1
            file = self.base[place]
            entry |= {"size": file["size"], "digest": file["digest"]}
            entry.pop("new", None)

    def complete(self, contents):
        for entry in self.entries:
            if "new" in entry:
                content = contents[entry.pop("new")]
                entry |= {"size": len(content), "digest": sha256(content)}
        return encode_tree(self.entries)


# The contents section and its codecs.


class Contents:
    def __init__(self, base, folder, new, codecs):
        self.base, self.folder, self.codecs = base, folder, codecs
        self.sizes, self.paths = new
        self.places = {entry["path"]: place for place, entry in enumerate(base) if entry["type"] == FILE}
        sizes = self.sizes
        self.made = {number: b"" for number, size in enumerate(sizes) if size == 0}
        self.open = None

    def frame(self, payload):
        data, heads = Input(payload), []
        content, self.place = -1, 0
        count = data.integer()
        must(count, "a frame without records")
        for _ in range(count):
            head = data.integer(1 << 19)
            by = 1 if head & 1 else data.signed()
            must(head & 1 or by != 1, "the next content told in full")
            content += by
            must(0 <= content < len(self.sizes), "no such content")
            output = self.sizes[content] if head & 2 else data.integer()
            must(output, "a record of nothing")
            must(head & 2 or output != self.sizes[content], "a whole content told in full")
            home = self.places.get(self.paths[content])
            if head & 4:
                must(home is not None, "no file at the content's path")
                self.place, parts = home, [("base", home, 0)]
            else:
                parts = [self.part(data) for _ in range(data.integer(17))]
                must(home is None or parts != [("base", home, 0)], "the file at the content's path told in full")
            heads.append((head >> 3, content, output, parts, data.integer()))
        for codec, content, output, parts, length in heads:
            self.record(codec, content, output, (parts, data.take(length)))
        must(data.ends(), "bytes follow the records")

    def part(self, data):
        value = data.integer()
        origin = ("new", value // 2)
        if value % 2 == 0:
            step = value // 2
            self.place += step >> 1 if step % 2 == 0 else -((step + 1) >> 1)
            origin = ("base", self.place)
        extent = data.integer()
        return (*origin, (data.integer(), extent - 1) if extent > 1 else extent)

    def source(self, parts, number_made, output):
        source = b""
        for origin, number, piece in parts:
            if origin == "new":
                must(piece != 1, "a new content that is to be renewed")
                must(number in self.made, "a content that is not finished")
                content = self.made[number]
            else:
                must(0 <= number < len(self.base) and self.base[number]["type"] == FILE, "not a file")
                digest = self.base[number]["digest"]
                content = (self.folder / "contents" / digest.hex()).read_bytes()
                must(sha256(content) == digest, "a file of the base was changed")
            if piece == 1:
                must(len(parts) == 1, "a list that is renewed beside others")
                must(len(content) <= min(1 << 20, 2 * output), "a list that is too long")
                content = renewed(content, self.paths[number_made], self.leads_to)
            elif piece:
                must(piece[0] + piece[1] <= len(content), "a range outside of its content")
                content = content[piece[0] : piece[0] + piece[1]]
            source += content
        return source

    def leads_to(self, path):
        """What a line's path leads to: None, or the content where that is new and finished, or True."""
        entry = self.entries.get(path)
        if entry and entry["type"] == HARD_LINK:
            entry = self.entries[entry["owner_path"]]
        if not entry or entry["type"] != FILE:
            return None
        return self.made.get(entry["new"], True) if "new" in entry else True

    def record(self, codec, content, output, rest):
        parts, payload = rest
        must(codec in self.codecs, "a codec that the header does not name")
        must(content not in self.made, "a content twice")
        if self.open is None:
            self.open = (content, b"")
        must(self.open[0] == content, "a content begins before another ends")
        made = {1: data, 2: bsdiff, 3: gzip, 4: block}[codec](payload, self.source(parts, content, output))
        must(len(made) == output, "a record makes less or more than it says")
        whole = self.open[1] + made
        must(len(whole) <= self.sizes[content], "a content that is too long")
        self.open = (content, whole)
        if len(whole) == self.sizes[content]:
            self.made[content] = whole
            self.open = None


SUMS = re.compile(rb"([0-9a-f]{32}|[0-9a-f]{64})( [ *])([^\n]*?)(\r?\n?)", re.DOTALL)
RECORD = re.compile(rb"([^\n]*),sha256=[^\n]{43},[0-9]+(\r?\n?)", re.DOTALL)


def renewed(content, path, find):
    own = path.rpartition(b"/")[0]
    directories = [own, own.rpartition(b"/")[0], b""]
    lines = []
    for line in re.findall(rb"[^\n]*\n|[^\n]+", content):
        sums, record = SUMS.fullmatch(line), RECORD.fullmatch(line)
        told = sums[3] if sums else record[1] if record else b""
        told = told[2:] if told.startswith(b"./") else told[1:] if told.startswith(b"/") else told
        found = None
        for directory in directories if told else []:
            found = find(directory + b"/" + told if directory else told)
            if found is not None:
                break
        if isinstance(found, bytes) and sums:
            checksum = hashlib.md5(found) if len(sums[1]) == 32 else hashlib.sha256(found)
            line = checksum.hexdigest().encode() + line[len(sums[1]) :]
        elif isinstance(found, bytes):
            checksum = base64.urlsafe_b64encode(sha256(found)).rstrip(b"=")
            line = b"%s,sha256=%s,%d%s" % (record[1], checksum, len(found), record[2])
        lines.append(line)
    return b"".join(lines)


def data(payload, _source):
    return payload


def bsdiff(payload, source):
    told = Input(payload)
    position, count = told.integer(), told.integer()
    controls = []
    for index in range(count):
        add, copy = told.integer(), told.integer()
        must(add or (copy and index == 0), "a control adds nothing")
        must(position + add <= len(source), "a control reads beyond the source")
        controls.append((position, add, copy))
        position += add
        if index + 1 < count:
            position += told.signed()
            must(0 <= position <= len(source), "a control leaves the source")
    out = b""
    for position, add, copy in controls:
        old = source[position : position + add]
        out += bytes((one + two) % 256 for one, two in zip(told.take(add), old, strict=True))
        out += told.take(copy)
    must(told.ends(), "bytes follow the data")
    return out


def gzip(payload, source):
    told = Input(payload)
    head = told.text(0, len(payload))
    program, level = divmod(told.integer(), 16)
    length, opened, inner = told.integer(), told.integer(), told.integer()
    must(program < 3 and 1 <= level <= 9, "no such compressor")
    must(inner in (1, 2) and not (opened and inner == 1), "no such inner codec")
    if opened:
        source = zlib.decompress(source, 31)
        must(len(source) == opened - 1, "the source's plain text is of another length")
    plain = {1: data, 2: bsdiff}[inner](payload[told.at :], source)
    must(len(plain) == length, "a plain text of another length")
    if program == 0:
        made = subprocess.run(["gzip", f"-{level}n"], input=plain, capture_output=True, check=True)
        deflated = made.stdout[10:-8]
    else:
        compressor = zlib.compressobj(level, zlib.DEFLATED, -15, 7 + program)
        deflated = compressor.compress(plain) + compressor.flush()
    return head + deflated + zlib.crc32(plain).to_bytes(4, "little") + (length % 2**32).to_bytes(4, "little")


def block(payload, source):
    told, out = Input(payload), b""
    number = lambda width: int.from_bytes(told.take(width), "big")
    must(told.take(4) == bytes.fromhex("72730236"), "not a block delta")
    while command := told.byte():
        if command < 0x45:
            length = command if command <= 64 else number(1 << (command - 0x41))
            must(length, "a literal of nothing")
            out += told.take(length)
        else:
            must(command < 0x55, "no such command")
            offset, length = number(1 << (command - 0x45) // 4), number(1 << (command - 0x45) % 4)
            must(length and offset + length <= len(source), "a copy of nothing, or of what is not there")
            out += source[offset : offset + length]
    must(told.ends(), "bytes follow the last command")
    return out


CODECS = {(1, 0), (2, 0), (3, 0), (4, 0)}


# Tree signatures.


def weak_hash(data):
    value = 1
    for byte in data:
        value = (value * 0x08104225 + byte) % 2**32
    return value


def read_signature(path, folder):
    """Reads a tree signature, and sees that it is that of the image in the folder."""
    signed = path.read_bytes()
    must(sha256(signed[:-32]) == signed[-32:], "the signature's digest")
    told = Input(signed[:-32])
    must(told.take(12) == bytes.fromhex("89534b530d0a1a0a") + bytes(4), "preamble")
    config = told.take(32) if told.byte() else None
    encoding = told.take(told.integer())
    entries, at, seen = decode_tree(encoding), 0, set()
    while gap := told.integer():
        at += gap
        file = entries[at - 1]
        must(file["type"] == FILE and file["digest"] not in seen, "no file, or one twice")
        seen.add(file["digest"])
        content = (folder / "contents" / file["digest"].hex()).read_bytes()
        must(told.take(4) == bytes.fromhex("72730147"), "a kind of signature")
        length, kept = (int.from_bytes(told.take(4), "big") for _ in range(2))
        for start in range(0, len(content), length):
            piece = content[start : start + length]
            must(int.from_bytes(told.take(4), "big") == weak_hash(piece), "a weak hash")
            must(told.take(kept) == hashlib.blake2b(piece, digest_size=32).digest()[:kept], "a strong hash")
    must(told.ends() and seen, "bytes are left, or nothing is signed")
    must(config == sha256((folder / "config.json").read_bytes()), "the config's digest")
    release = release_id(sha256(encoding), (folder / "config.json").read_bytes())
    print(f"{release.hex()}\n{sha256(encoding).hex()}")
    return 0


# The container.


def decompress(frame, data):
    if frame["compressor"] == 0:
        return data
    if frame["compressor"] == 1:
        number, properties = divmod(frame["parameter"], 256)
        size = (2 + number % 2) << (number // 2 + 11)
        front = bytes([properties]) + size.to_bytes(4, "little") + b"\xff" * 8
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(front + data, frame["decoded"])
    return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout


def read_container(delta):
    must(delta[:12] == bytes.fromhex("89534b460d0a1a0a") + bytes(4), "preamble")
    length, signed = (int.from_bytes(delta[at : at + 4], "little") for at in (12, 48))
    must(sha256(delta[:16] + delta[52 : 52 + length]) == delta[16:48], "header digest")
    body = Input(delta[52 : 52 + length])
    header = {"codecs": [(body.integer(), body.integer()) for _ in range(body.integer())]}
    header["bases"] = [(body.take(32), body.take(32)) for _ in range(body.integer())]
    header |= {"release": body.take(32), "tree": body.take(32)}
    header |= {"config": body.take(32) if body.byte() else None}
    header |= {"manifest": body.take(32) if body.byte() else None}
    header["facts"] = [body.integer() for _ in range(8)]
    # Whose signatures those are is looked at by the script of the crate skiff-keys.
    frames, at = [], 52 + length + signed
    for _ in range(body.integer()):
        names = ("kind", "flags", "compressor", "parameter", "encoded", "decoded")
        frame = {name: body.integer() for name in names}
        data = delta[at : at + frame["encoded"]]
        must(sha256(data) == body.take(32), "digest of a frame")
        at += frame["encoded"]
        if not frame["flags"]:
            payload = decompress(frame, data)
            must(len(payload) == frame["decoded"], "size of a payload")
            frames.append((frame["kind"], payload))
    must(at == len(delta) and body.ends(), "bytes are left")
    return header, frames


def main(delta, folder):
    if delta.endswith(".sks"):
        return read_signature(pathlib.Path(delta), pathlib.Path(folder))
    header, frames = read_container(pathlib.Path(delta).read_bytes())
    folder = pathlib.Path(folder)
    encoding = (folder / "tree").read_bytes()
    config = folder / "config.json"
    config = config.read_bytes() if config.exists() else None
    here = (release_id(sha256(encoding), config), sha256(encoding))
    must(here in header["bases"], "it is for another base")
    if not set(header["codecs"]) <= CODECS:
        print(f"needs codecs {header['codecs']}", file=sys.stderr)
        return 3
    section = lambda number: b"".join(payload for kind, payload in frames if kind == number)
    for number, name in ((1, "config"), (2, "manifest")):
        must(header[name] is None or sha256(section(number)) == header[name], name)
    base = decode_tree(encoding)
    told = TreeSection(base, section(3))
    must(sum(told.sizes) == header["facts"][1], "bytes of new contents")
    paths = {}
    for entry in told.entries:
        if "new" in entry:
            paths.setdefault(entry["new"], entry["path"])
    contents = Contents(base, folder, (told.sizes, paths), {number for number, _ in header["codecs"]})
    contents.entries = {entry["path"]: entry for entry in told.entries}
    for kind, payload in frames:
        if kind == 4:
            contents.frame(payload)
    must(len(contents.made) == len(told.sizes), "contents are missing")
    tree = sha256(told.complete(contents.made))
    release = release_id(tree, section(1) if header["config"] else None)
    must((release, tree) == (header["release"], header["tree"]), "the result is not what the header names")
    print(f"{release.hex()}\n{tree.hex()}")
    return 0


try:
    sys.exit(main(*sys.argv[1:]))
except Refused as refused:
    sys.exit(f"refused: {refused}")
