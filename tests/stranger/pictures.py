"""The codec `png`."""

import zlib

import deflate
from plain import PLAIN_LIMIT, inflate, inner, within_reach
from wire import Input, must

SIGNATURE = b"\x89PNG\r\n\x1a\n"
IMAGE_DATA = b"IDAT"


def opened(source, length, outline_length):
    """The text of an image: its scanlines, and its outline."""
    told, image, outline = Input(source), b"", b""
    must(told.take(8) == SIGNATURE, "the source is no image")
    while not told.ends():
        size = told.take(4)
        kind, data = told.take(4), told.take(int.from_bytes(size, "big"))
        told.take(4)
        if kind == IMAGE_DATA:
            image += data
        else:
            outline += size + kind + data
    scanlines, behind = inflate(image[2:], -15, length)
    must(len(behind) == 4, "image data that does not end with its checksum")
    must(len(scanlines) == length and len(outline) == outline_length, "the source's text is of another length")
    return scanlines + outline


def chunk(kind, data):
    checked = kind + data
    return len(data).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")


def chunks(outline):
    told, out = Input(outline), b""
    while not told.ends():
        length, kind = int.from_bytes(told.take(4), "big"), told.take(4)
        out += chunk(kind, told.take(length))
    return out


def decode(payload, source, length, learned):
    told = Input(payload)
    header = told.take(2)
    compressor, cut = told.integer(), Input(told.text())
    deflate.check(compressor)
    cuts = []
    while not cut.ends():
        cuts.append(cut.integer())
        must(cuts[-1], "a cut of nothing")
    scanlines, before, behind, opening = (told.integer() for _ in range(4))
    must(max(scanlines, before, behind, opening) <= PLAIN_LIMIT, "a text above the limit")
    if opening:
        outline = told.integer()
    codec = told.integer()
    must(not (opening and codec == 1), "a source that is opened and not read")
    within_reach(length, scanlines + before + behind)
    if opening:
        within_reach(length, opening - 1 + outline, len(source))
        source = opened(source, opening - 1, outline)
    text = inner(codec, (told.rest(), source, scanlines + before + behind), learned)
    plain, outline = text[:scanlines], text[scanlines:]
    image = header + deflate.compress(plain, compressor) + zlib.adler32(plain).to_bytes(4, "big")
    out = [SIGNATURE, chunks(outline[:before])]
    cuts = cuts or [len(image)]
    while image:
        size = cuts.pop(0) if len(cuts) > 1 else cuts[0]
        out.append(chunk(IMAGE_DATA, image[:size]))
        image = image[size:]
    out = b"".join([*out, chunks(outline[before:])])
    must(len(out) == length, "an image of another length")
    return out
