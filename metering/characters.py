"""Which characters a text may hold, and how to show a text that may hold others.

The rule is DESIGN.md section 4: Unicode categories Cc Cf Cs Co Cn Zl Zp are refused everywhere. They
cannot be seen (zero width, right-to-left marks), cannot be stored (NUL, lone surrogates) or have no meaning
yet (unassigned).
"""

import unicodedata
from typing import Final

REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def refused_character(text: str) -> str | None:
    """The first character of `text` that is refused everywhere, or None if there is none."""
    # str.isprintable() knows the same categories, plus Zs, and is thirty times faster than looking at each.
    if text.isprintable():
        return None
    for character in text:
        if unicodedata.category(character) in REFUSED_CATEGORIES:
            return character
    return None


def has_outer_space(text: str) -> bool:
    """Whether a non-empty `text` begins or ends with white space of any kind."""
    return text[0].isspace() or text[-1].isspace()


def shown(text: str, most: int = 60) -> str:
    """At most `most` characters of `text`, fit to be stored and printed: U+FFFD for what cannot be seen."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(character if character.isprintable() else "\ufffd" for character in cut)
