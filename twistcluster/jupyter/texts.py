"""Words of magics and views: counts and cut texts, as people read them.

Owns: their look. Must not know: clusters.
"""

__all__ = ["count_of", "kind_of", "open_jobs", "shortened", "told_label"]

LINE_CHARACTERS = 100


def count_of(number: int, thing: str) -> str:
    """A number and what it counts: "1 slot", "2 slots"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def kind_of(value: object) -> str:
    """What a value is: "a list", "an int"."""
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def open_jobs(jobs: int, items: int) -> str:
    """What a cluster has to do: "2 open jobs with 1,200 items to do", "no open jobs"."""
    return f"{count_of(jobs, 'open job')} with {count_of(items, 'item')} to do" if jobs else "no open jobs"


def shortened(text: str, most: int = LINE_CHARACTERS) -> str:
    """Its first line, and no more than `most` characters of it."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= most else line[: most - 1] + "…"


def told_label(label: str, score: float | None) -> str:
    """What was recognised, as captions have it: "cat 0.97"."""
    return label if score is None else f"{label} {score:.2f}"
