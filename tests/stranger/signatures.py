"""Tree signatures."""

import hashlib

from trees import FILE, decode_tree, release_id
from wire import Input, must, sha256


def rabin_karp(data):
    value = 1
    for byte in data:
        value = (value * 0x08104225 + byte) % 2**32
    return value


def rollsum(data):
    s = sum(byte + 31 for byte in data) % 2**32
    t = sum((len(data) - i) * (byte + 31) for i, byte in enumerate(data)) % 2**32
    return (2**16 * t + s % 2**16) % 2**32


WEAK = {"72730137": rollsum, "72730147": rabin_karp}


def read(path, folder):
    """Reads a tree signature, and sees that it is that of the image in the folder."""
    signed = path.read_bytes()
    must(sha256(signed[:-32]) == signed[-32:], "the signature's digest")
    told = Input(signed[:-32])
    must(told.take(12) == bytes.fromhex("89534b530d0a1a0a01000000"), "preamble")
    config = told.take(32) if told.flag() else None
    encoding = told.text()
    entries, at, seen = decode_tree(encoding), 0, set()
    while gap := told.integer():
        at += gap
        must(at <= len(entries), "a gap beyond the tree")
        file = entries[at - 1]
        must(file["type"] == FILE and file["digest"] not in seen and file["size"], "no file, or one twice")
        seen.add(file["digest"])
        content = (folder / "contents" / file["digest"].hex()).read_bytes()
        weak = WEAK.get(told.take(4).hex())
        must(weak, "a kind of signature")
        length, kept = (int.from_bytes(told.take(4), "big") for _ in range(2))
        must(length >= 1 and 16 <= kept <= 32, "lengths of blocks and hashes")
        for start in range(0, len(content), length):
            piece = content[start : start + length]
            must(int.from_bytes(told.take(4), "big") == weak(piece), "a weak hash")
            must(told.take(kept) == hashlib.blake2b(piece, digest_size=32).digest()[:kept], "a strong hash")
    must(told.ends() and seen, "bytes are left, or nothing is signed")
    path = folder / "config.json"
    own = path.read_bytes() if path.exists() else None
    must(config == (sha256(own) if own is not None else None), "the config's digest")
    release = release_id(sha256(encoding), own)
    return f"{release.hex()}\n{sha256(encoding).hex()}"
