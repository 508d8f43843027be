"""What everything else is made of: how a delta is refused, integers, and an input that is read from its start to its end."""

import hashlib


class Refused(Exception):
    """What the document wants refused; `kind` is one of corrupt, unsupported, above a limit, and of another base."""

    def __init__(self, why, kind="corrupt", at=None):
        super().__init__(why)
        self.kind, self.at = kind, at


def must(holds, why, kind="corrupt", at=None):
    if not holds:
        raise Refused(why, kind, at)


def within(value, limit, what):
    must(value <= limit, f"{what}: {value} is above the limit of {limit}", "above a limit")


def sha256(data):
    return hashlib.sha256(data).digest()


def unzigzag(value):
    return value >> 1 if value % 2 == 0 else -((value + 1) >> 1)


class Input:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, count):
        must(self.at + count <= len(self.data), "it ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def byte(self):
        return self.take(1)[0]

    def flag(self):
        byte = self.byte()
        must(byte < 2, "a flag is 0 or 1")
        return byte == 1

    def integer(self, below=1 << 64):
        value = 0
        for index in range(10):
            byte = self.byte()
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                must(byte or not index, "an integer is not in its shortest form")
                must(value < 1 << 64 and value < below, "an integer is out of its range")
                return value
        raise Refused("an integer of more than ten bytes")

    def signed(self):
        return unzigzag(self.integer())

    def text(self, least=0, most=1 << 64):
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
