"""Words of the magics: counts and cut texts, as people read them.

Owns: their look. Must not know: clusters.
"""

__all__ = ["count_of", "shortened"]

LINE_CHARACTERS = 100


def count_of(number: int, thing: str) -> str:
    """A number and what it counts: "1 slot", "2 slots"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def shortened(text: str, most: int = LINE_CHARACTERS) -> str:
    """Its first line, and no more than `most` characters of it."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= most else line[: most - 1] + "…"
