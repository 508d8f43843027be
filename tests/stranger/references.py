"""References: what names a place ("References")."""

import words
from elf import ALL

KINDS = ("call jump branch short memory immediate pointer relocation-place relocation-symbol addend symbol-value symbol-size "
         "symbol-name unwind-begin unwind-size unwind-parent exceptions index-begin index-entry table-entry header page low "
         "literal").split()
NUMBERS = {name: number for number, name in enumerate(KINDS)}


class Reference:
    """A form is a tuple of its name and what belongs to it; so is a base, or None."""

    def __init__(self, kind, position, length, form, base=None):
        self.kind, self.position, self.length, self.form, self.base = NUMBERS[kind], position, length, form, base
        self.place = self.target = self.old_base = 0

    def is_told(self):
        return self.base is not None and self.base[0] == "told"

    def is_extent(self):
        return self.base is not None and self.base[0] == "begin"

    def word(self):
        return self.form[1:] if self.form[0] == "word" else ("",)

    def target_at(self, value, place, base):
        """The target of a field at this place."""
        name = self.form[0]
        signed = value - (1 << 8 * self.length) if value >> 8 * self.length - 1 else value
        if name == "absolute":
            return value
        if name == "relative":
            return place + self.form[1] + signed & ALL
        if name == "behind":
            return place - value & ALL
        if name == "based":
            step = self.form[1]
            return base + (signed if step == 1 else step * value) & ALL
        word = self.word()
        return words.target_of(word, words.read(word, value), place, base) & ALL

    def field_for(self, target, place, base, old):
        """The field that has this target at this place."""
        name = self.form[0]
        if name == "absolute":
            value = target
        elif name == "relative":
            value = target - place - self.form[1]
        elif name == "behind":
            value = place - target
        elif name == "based":
            value = (target - base & ALL) // self.form[1]
        else:
            word = self.word()
            return words.write(word, old, words.number_for(word, target, place))
        return value & (1 << 8 * self.length) - 1
