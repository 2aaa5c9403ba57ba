"""When a worker is short of memory, and how that is said.

Owns: the two shares between which it doesn't change. Must not know: where the figures come from, what follows.
"""

from typing import Final

__all__ = ["PAUSE_ABOVE", "RESUME_BELOW", "Shortness"]

PAUSE_ABOVE: Final = 0.90
"""A worker whose host uses more than this share of its memory is short of it."""
RESUME_BELOW: Final = 0.85
"""It is so until less than this share is used."""
GIB: Final = 1 << 30


class Shortness:
    """Whether a worker is short of memory.

    Example:
        >>> short = Shortness()
        >>> short.look(93 << 30, 100 << 30)
        True
        >>> short.text
        'short of memory: 93% of 100.0 GiB used; one item at a time until it is below 85%'
    """

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text = ""
        """For people; empty while there is enough."""

    def look(self, used_bytes: int, limit_bytes: int) -> bool:
        """This much is used; returns whether there is something new to say."""
        before = self.text
        share = used_bytes / limit_bytes
        if share > PAUSE_ABOVE or (before and share >= RESUME_BELOW):
            self.text = (
                f"short of memory: {share:.0%} of {_size(limit_bytes)} used; "
                f"one item at a time until it is below {RESUME_BELOW:.0%}"
            )
        else:
            self.text = ""
        return self.text != before


def _size(nbytes: int) -> str:
    return f"{nbytes / GIB:,.1f} GiB" if nbytes >= GIB else f"{nbytes >> 20} MiB"
