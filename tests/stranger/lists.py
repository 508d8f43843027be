"""Renewed lists."""

import base64
import hashlib
import re

from wire import sha256

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
