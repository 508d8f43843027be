"""Sees whether a delta is signed, as doc/format.md and RFC 8032 have it, sharing no code with the crates: stranger.py DELTA KEY...

Each KEY is the file of a public key. Prints the id of the first of the delta's signatures that is by one of them. Exits with 1, and says
why, where the delta is not to be believed. Frames are not looked at: the scripts of other crates do.
"""

import hashlib
import pathlib
import sys

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
IDENTITY = (0, 1)


class Refused(Exception):
    pass


def must(holds, why):
    if not holds:
        raise Refused(why)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    cross = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + y1 * x2) * pow(1 + cross, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - cross, -1, P)
    return x % P, y % P


def times(number, point):
    total = IDENTITY
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def point(data):
    """A point of the curve from its one form; none of those of small order."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    must(y < P, "a point in another form")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    must(x * x % P == square and (x or not sign), "no point of the curve")
    found = ((P - x) % P if x & 1 != sign else x, y)
    must(times(8, found) != IDENTITY, "a point of small order")
    return found


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def holds(key, message, signature):
    try:
        commitment, public = point(signature[:32]), point(key)
    except Refused:
        return False
    number = int.from_bytes(signature[32:], "little")
    challenge = hashlib.sha512(signature[:32] + key + message).digest()
    challenge = int.from_bytes(challenge, "little") % ORDER
    return number < ORDER and times(number, BASE) == add(commitment, times(challenge, public))


def integer(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


def signatures(block):
    count, at = integer(block, 0) if block else (0, 0)
    for _ in range(count):
        algorithm, at = integer(block, at)
        key, (length, at) = block[at : at + 32], integer(block, at + 32)
        yield algorithm, key, block[at : at + length]
        at += length


def main(delta, *files):
    delta = pathlib.Path(delta).read_bytes()
    trusted = {}
    for file in files:
        kind, algorithm, digits, *_ = pathlib.Path(file).read_text().strip("\n").split(" ")
        must((kind, algorithm) == ("skiff-public-key", "ed25519"), "no public key")
        trusted[hashlib.sha256(bytes.fromhex(digits)).digest()] = bytes.fromhex(digits)
    end = 52 + int.from_bytes(delta[12:16], "little")
    digest = hashlib.sha256(delta[:16] + delta[52:end]).digest()
    must(digest == delta[16:48], "header digest")
    message, by = b"skiff-delta-signature 1\n" + digest, []
    for algorithm, key, signature in signatures(delta[end : end + int.from_bytes(delta[48:52], "little")]):
        if algorithm == 1 and key in trusted:
            must(holds(trusted[key], message, signature), f"the signature by {key.hex()} is false")
            by.append(key.hex())
    must(by, "no key that is trusted signed it")
    print(by[0])


try:
    main(*sys.argv[1:])
except Refused as refused:
    sys.exit(f"refused: {refused}")
