"""Draws the images of the tests: what zlib makes of the same two pictures at several settings, as libpng and others use it."""

import struct
import sys
import zlib


def picture(width, height, offset):
    """Rows of RGB: a gradient, some noise, and a square that moves."""
    rows, state = [], 7
    for y in range(height):
        row = bytearray()
        for x in range(width):
            state = (state * 1103515245 + 12345) % (1 << 31)
            if offset <= x < offset + 20 and offset <= y < offset + 20:
                row += b"\xe0\x20\x30"
            else:
                row += bytes(((3 * x + state // (1 << 29)) % 256, 2 * y % 256, (x * y // 16) % 256))
        rows.append(bytes(row))
    return rows


def scanlines(rows):
    """Each row less what is left of it (filter 1) or above it (filter 2), by turns."""
    out, above = bytearray(), bytes(len(rows[0]))
    for number, row in enumerate(rows):
        before = above if number % 3 else bytes(3) + row[:-3]
        out.append(2 if number % 3 else 1)
        out += bytes((a - b) % 256 for a, b in zip(row, before))
        above = row
    return bytes(out)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def image(width, height, offset, date, setting):
    level, memory, strategy, window, told, cut = setting
    plain = scanlines(picture(width, height, offset))
    compress = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    deflated = compress.compress(plain) + compress.flush()
    head = (told - 8 << 4 | 8) << 8 | (0 if level == 1 else 1 if level < 6 else 2 if level == 6 else 3) << 6
    head += -head % 31
    data = struct.pack(">H", head) + deflated + struct.pack(">I", zlib.adler32(plain))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    out += chunk(b"tEXt", b"date:create\0" + date)
    out += b"".join(chunk(b"IDAT", data[at:at + cut]) for at in range(0, len(data), cut))
    return out + chunk(b"tIME", struct.pack(">HBBBBB", 2024, 1, 2, 3, 4, 5)) + chunk(b"IEND", b"")


# Level, memory level, strategy (1: filtered), window, the window that the header tells, length of the chunks.
SETTINGS = {
    "libpng": (6, 8, 1, 15, 15, 2048),
    "default": (9, 8, 0, 15, 15, 1 << 30),
    "fast": (1, 8, 0, 15, 15, 4096),
    "optimised": (9, 9, 1, 12, 12, 1 << 30),
    "told-less": (4, 8, 1, 15, 14, 3000),
}

for name, setting in SETTINGS.items():
    for side, offset, date in (("old", 10, b"2024-01-01"), ("new", 23, b"2024-11-12")):
        with open(f"{sys.argv[1]}/{name}.{side}.png", "wb") as file:
            file.write(image(90, 60, offset, date, setting))
