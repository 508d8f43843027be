"""The tree section."""

from trees import BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK
from trees import check_tree, encode_tree, read_attributes, read_mode, read_pair
from wire import Input, must, sha256, unzigzag


class TreeSection:
    def __init__(self, base, payload):
        self.base, self.entries, self.sizes = base, [], []
        self.follows = 0
        data = Input(payload)
        lengths = [data.integer() for _ in range(15)]
        self.columns = [Input(data.take(length)) for length in lengths]
        must(data.ends(), "bytes follow the columns")
        self.times, self.used = [], set()
        seconds, column = 0, self.columns[7]
        while not column.ends():
            seconds = (seconds + column.signed() + 2**63) % 2**64 - 2**63
            time = (seconds, column.integer(10**9))
            must(not self.times or self.times[-1] < time, "times out of order")
            self.times.append(time)
        self.operations()
        must(all(column.ends() for column in self.columns), "columns are not used up")
        must(self.used == set(range(len(self.times))), "a time that is not used")
        check_tree(self.entries)

    def operations(self):
        place, last = 0, None
        while not self.columns[0].ends():
            run, operation = divmod(self.columns[0].integer(), 4)
            must(run and operation != last, "runs")
            last = operation
            for _ in range(run):
                if operation == 3:
                    self.insert()
                    continue
                must(place < len(self.base), "a run beyond the base")
                entry = self.base[place]
                if operation == 0:
                    self.entries.append(dict(entry))
                elif operation == 1:
                    self.entries.append(self.change(entry))
                place += 1
        must(place == len(self.base), "entries of the base that are not told")

    def insert(self):
        before = self.entries[-1]["path"] if self.entries else b""
        shared = self.columns[2].integer()
        must(shared <= len(before), "a prefix that is too long")
        self.entries.append(self.whole(before[:shared] + self.columns[3].text(0, 4095)))

    def whole(self, path):
        entry = {"path": path, "type": self.columns[4].byte()}
        if entry["type"] == HARD_LINK:
            return entry | {"owner_path": self.link()}
        self.metadata(entry, 2 | 4 | 8 | 16)
        same = [old for old in self.base if old["path"] == path and old["type"] == FILE]
        return self.holds(entry, same[0]["size"] if same else 0)

    def change(self, old):
        flags = self.columns[1].byte()
        must(flags and flags < 64 and (flags == 1 or not flags & 1), "flags")
        if flags == 1:
            return self.whole(old["path"])
        entry = dict(old)
        if entry["type"] == HARD_LINK:
            must(flags == 32, "flags of a hard link")
            return entry | {"owner_path": self.link()}
        self.metadata(entry, flags)
        return self.holds(entry, entry.get("size", 0)) if flags & 32 else entry

    def metadata(self, entry, flags):
        if flags & 2:
            entry["mode"] = read_mode(self.columns[5])
        if flags & 4:
            entry["owner"] = read_pair(self.columns[6])
        if flags & 8:
            index = self.columns[8].integer()
            must(index < len(self.times), "no such time")
            self.used.add(index)
            entry["mtime"] = self.times[index]
        if flags & 16:
            entry["attributes"] = read_attributes(self.columns[9])

    def link(self):
        back = self.columns[14].integer()
        must(1 <= back <= len(self.entries), "no such entry before")
        return self.entries[-back]["path"]

    def holds(self, entry, size):
        kind = entry["type"]
        must(DIRECTORY <= kind <= FIFO, "unknown type")
        if kind == FILE:
            self.content(entry, size)
        elif kind == SYMLINK:
            entry["target"] = self.columns[12].text(1, 4095)
        elif kind in (CHAR_DEVICE, BLOCK_DEVICE):
            entry["device"] = read_pair(self.columns[13])
        return entry

    def content(self, entry, size):
        value = self.columns[10].integer()
        if value == 0:
            entry["new"] = len(self.sizes)
            self.sizes.append((size + self.columns[11].signed()) % 2**64)
        elif value % 2:
            back = (value - 1) // 2
            must(1 <= back <= len(self.sizes), "no such content before")
            entry["new"] = len(self.sizes) - back
        else:
            place = self.follows + unzigzag((value - 2) // 2)
            must(0 <= place < len(self.base) and self.base[place]["type"] == FILE, "not a file of the base")
            self.follows = place + 1
            file = self.base[place]
            entry |= {"size": file["size"], "digest": file["digest"]}
            entry.pop("new", None)

    def complete(self, contents):
        for entry in self.entries:
            if "new" in entry:
                content = contents[entry.pop("new")]
                entry |= {"size": len(content), "digest": sha256(content)}
        return encode_tree(self.entries)
