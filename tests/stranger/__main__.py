"""A second decoder of Skiff's deltas, written from doc/format.md alone and sharing no code with the crates.

    python3 tests/stranger DELTA BASE           follows a delta and prints the release id and the tree digest of its result
    python3 tests/stranger SIGNATURE.sks BASE   reads a tree signature, and sees that it is that of the image
    python3 tests/stranger --container DELTA    reads a container alone and prints what it holds
    python3 tests/stranger --compressors NUMBERS FILE    compares the compressors with zlib and GNU gzip

BASE is a folder with the files `tree` and `contents/DIGEST`, and `config.json` where the base has one. It prints only what
was proved. What is to be refused it refuses: it says of which kind that is, where, and why, and exits with the number of
the kind. It is slow and simple, takes memory as it likes, and is no part of the product. It needs zstd.
"""

import pathlib
import subprocess
import sys
import zlib

import container
import deflate
import signatures
from contents import CODECS, Contents
from section import TreeSection
from trees import decode_tree, release_id
from wire import Refused, must, sha256

EXITS = {"corrupt": 11, "unsupported": 12, "above a limit": 13, "of another base": 14}


def follow(delta, folder):
    header = container.read_header(delta)
    encoding = (folder / "tree").read_bytes()
    config = folder / "config.json"
    config = config.read_bytes() if config.exists() else None
    must(release_id(sha256(encoding), config) in dict(header["bases"]), "the base", "of another base")
    must(sha256(encoding) in dict(header["bases"]).values(), "the base's tree", at=0)
    must({(number, 0) for number in CODECS}.issuperset(header["codecs"]), "a codec", "unsupported")
    must(header["release"] == named(header["tree"], header["config"]), "the target's release id", at=0)
    base, sections, told, contents = decode_tree(encoding), {1: b"", 2: b"", 3: b""}, None, None
    for frame, payload in container.read_frames(delta, header):
        if payload is None:
            continue
        if frame["kind"] != 4:
            sections[frame["kind"]] += payload
            continue
        told = told or prelude(header, sections, base)
        contents = contents or new_contents(header, told, (base, folder))
        try:
            contents.frame(payload)
        except Refused as refused:
            refused.at = refused.at or frame["offset"]
            raise
    told = told or prelude(header, sections, base)
    contents = contents or new_contents(header, told, (base, folder))
    must(len(contents.made) == len(told.sizes), "contents are missing", at=header["size"])
    tree = sha256(told.complete(contents.made))
    release = release_id(tree, sections[1] if header["config"] else None)
    must((release, tree) == (header["release"], header["tree"]), "the result is not what the header names")
    return f"{release.hex()}\n{tree.hex()}"


def named(tree, config_digest):
    return sha256(b"skiff-release 1\n" + tree + (b"\1" + config_digest if config_digest else b"\0"))


def prelude(header, sections, base):
    """The target's tree, once everything before the contents is what the header says."""
    for number, name in ((1, "config"), (2, "manifest")):
        must(header[name] is None or sha256(sections[number]) == header[name], name)
    told = TreeSection(base, sections[3])
    must(sum(told.sizes) == header["facts"][1], "bytes of new contents")
    return told


def new_contents(header, told, base):
    paths = {}
    for entry in told.entries:
        if "new" in entry:
            paths.setdefault(entry["new"], entry["path"])
    contents = Contents(*base, (told.sizes, paths), {number for number, _ in header["codecs"]})
    contents.entries = {entry["path"]: entry for entry in told.entries}
    return contents


def compare_compressors(numbers, path):
    plain = path.read_bytes()
    for number in numbers:
        if number < 16:
            done = subprocess.run(["gzip", f"-{number}nc", path], capture_output=True, check=True)
            reference = done.stdout[10:-8]
        else:
            strategy = zlib.Z_FILTERED if number & 64 else zlib.Z_DEFAULT_STRATEGY
            memory = 9 if number & 32 else 8
            compress = zlib.compressobj(number & 15, zlib.DEFLATED, (number >> 7) - 15, memory, strategy)
            reference = compress.compress(plain) + compress.flush()
        must(deflate.compress(plain, number) == reference, f"compressor {number} differs")


def main(first, second, *rest):
    if first == "--container":
        return container.describe(pathlib.Path(second).read_bytes())
    if first == "--compressors":
        return compare_compressors(map(int, second.split(",")), pathlib.Path(rest[0])) or "the same"
    folder = pathlib.Path(second)
    if first.endswith(".sks"):
        return signatures.read(pathlib.Path(first), folder)
    return follow(pathlib.Path(first).read_bytes(), folder)


try:
    print(main(*sys.argv[1:]))
except Refused as refused:
    where = "" if refused.at is None else f" {refused.at}" if isinstance(refused.at, str) else f" at {refused.at}"
    print(f"{refused.kind}{where}\n{refused}", file=sys.stderr)
    sys.exit(EXITS[refused.kind])
