"""Trees: their encoding and identity. An entry is a dictionary: path and type, then what the type has."""

from wire import Input, must, put_integer, put_signed, put_text, sha256

DIRECTORY, FILE, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE, FIFO, HARD_LINK = range(1, 8)
MAGIC = b"skiff-tree 1\n"


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
    must(data.take(13) == MAGIC, "not a tree")
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
    out = [MAGIC]
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
    return sha256(b"skiff-release 1\n" + tree_digest + told)
