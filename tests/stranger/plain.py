"""The codecs but `align`, `zip` and `png`: each makes an output of a promised length of a payload and a source."""

import zlib

import align
import deflate
from wire import Input, Refused, must

PLAIN_LIMIT = 8 << 20


def within_reach(output, *lengths):
    """What a payload opens or makes on the way is bounded by what comes of it."""
    must(all(length <= 64 * output + (64 << 10) for length in lengths), "it opens far more than comes of it")


def data(payload, _source, length, _learned):
    must(len(payload) == length, "data of another length")
    return payload


def bsdiff(payload, source, length, _learned):
    told = Input(payload)
    position, count = told.integer(), told.integer()
    must(position <= len(source), "a position beyond the source")
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
    must(sum(add + copy for _, add, copy in controls) == length, "controls for another length")
    out = bytearray()
    for position, add, copy in controls:
        old = source[position : position + add]
        out += bytes((one + two) % 256 for one, two in zip(told.take(add), old, strict=True))
        out += told.take(copy)
    must(told.ends(), "bytes follow the data")
    return bytes(out)


def block(payload, source, length, _learned):
    told, out = Input(payload), bytearray()
    number = lambda width: int.from_bytes(told.take(width), "big")
    must(told.take(4) == bytes.fromhex("72730236"), "not a block delta")
    while command := told.byte():
        if command < 0x45:
            count = command if command <= 64 else number(1 << (command - 0x41))
            must(count, "a literal of nothing")
            out += told.take(count)
        else:
            must(command < 0x55, "no such command")
            offset, count = number(1 << (command - 0x45) // 4), number(1 << (command - 0x45) % 4)
            must(count and offset + count <= len(source), "a copy of nothing, or of what is not there")
            must(len(out) + count <= length, "more than was promised")
            out += source[offset : offset + count]
    must(told.ends(), "bytes follow the last command")
    must(len(out) == length, "less or more than was promised")
    return bytes(out)


def inner(number, rest, learned):
    """The codec within another one, of a payload, a source, and the length that it makes."""
    must(number in INNER, "no such inner codec")
    return INNER[number](*rest, learned)


def inflate(data, window, most):
    """The plain text of the stream that the data begins with, and what follows it."""
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise Refused(f"deflate: {error}") from error
    must(len(plain) <= most, "a longer plain text than was told")
    must(stream.eof or not stream.decompress(stream.unconsumed_tail, 1), "a longer plain text than was told")
    must(stream.eof, "a deflate stream that is cut off")
    return plain, stream.unused_data


def gzip(payload, source, length, learned):
    told = Input(payload)
    head = told.text()
    compressor, plain_length, opening, codec = (told.integer() for _ in range(4))
    deflate.check(compressor)
    must(plain_length <= PLAIN_LIMIT and opening <= PLAIN_LIMIT + 1, "a plain text above the limit")
    must(not (opening and codec == 1), "a source that is opened and not read")
    within_reach(length, plain_length, opening - 1, len(source) if opening else 0)
    if opening:
        source, _ = inflate(source, 31, opening - 1)
        must(len(source) == opening - 1, "the source's plain text is of another length")
    plain = inner(codec, (told.rest(), source, plain_length), learned)
    out = head + deflate.compress(plain, compressor)
    out += zlib.crc32(plain).to_bytes(4, "little") + (plain_length % 2**32).to_bytes(4, "little")
    must(len(out) == length, "a gzip file of another length")
    return out


INNER = {1: data, 2: bsdiff, 5: align.decode}
