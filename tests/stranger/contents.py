"""The contents section: records, their sources, renewed lists."""

import archives
import pictures
import plain
from align import Learned, decode as align
from lists import renewed
from trees import FILE, HARD_LINK
from wire import Input, must, sha256, unzigzag

CODECS = {1: plain.data, 2: plain.bsdiff, 3: plain.gzip, 4: plain.block, 5: align, 6: archives.decode, 7: pictures.decode}


class Contents:
    def __init__(self, base, folder, new, codecs):
        self.base, self.folder, self.codecs = base, folder, codecs
        self.sizes, self.paths = new
        self.places = {entry["path"]: place for place, entry in enumerate(base) if entry["type"] == FILE}
        sizes = self.sizes
        self.made = {number: b"" for number, size in enumerate(sizes) if size == 0}
        self.open = None

    def frame(self, payload):
        data, heads, learned = Input(payload), [], Learned()
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
            self.record(codec, content, output, (parts, data.take(length), learned))
        must(data.ends(), "bytes follow the records")

    def part(self, data):
        value = data.integer()
        origin = ("new", value // 2)
        if value % 2 == 0:
            self.place += unzigzag(value // 2)
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
                must(sha256(content) == digest, "a file of the base was changed", "of another base")
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
        parts, payload, learned = rest
        must(codec in self.codecs, "a codec that the header does not name")
        must(content not in self.made, "a content twice")
        if self.open is None:
            self.open = (content, b"")
        must(self.open[0] == content, "a content begins before another ends")
        if codec in (3, 7):
            must(output == self.sizes[content], "a part of a file that is made as a whole")
        if codec == 6:
            must(output >= 4096 or len(self.open[1]) + output == self.sizes[content], "a small part of an archive")
        made = CODECS[codec](payload, self.source(parts, content, output), output, learned)
        must(len(made) == output, "a record makes less or more than it says")
        whole = self.open[1] + made
        must(len(whole) <= self.sizes[content], "a content that is too long")
        self.open = (content, whole)
        if len(whole) == self.sizes[content]:
            self.made[content] = whole
            self.open = None
