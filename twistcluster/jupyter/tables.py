"""Plain text: tables, times and counts as people read them.

Owns: their look. Must not know: clusters.
"""

from collections.abc import Sequence

__all__ = ["count_of", "shortened", "table", "time_text"]

LINE_CHARACTERS = 100


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as what stands in them; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    to_right = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(headers))]
    lines = []
    for row in [list(headers), *cells]:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_right, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def count_of(number: int, thing: str) -> str:
    """A number and what it counts: "1 slot", "2 slots"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def time_text(seconds: float) -> str:
    """A duration: "0.4 s", "12 s", "3 min", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def shortened(text: str, most: int = LINE_CHARACTERS) -> str:
    """Its first line, and no more than `most` characters of it."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= most else line[: most - 1] + "…"
