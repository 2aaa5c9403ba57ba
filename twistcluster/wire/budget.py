"""A budget that several links share for what they allocate ahead of the bytes that will fill it.

Owns: the count. Must not know: frames, links, what is allocated.
"""

from twistcluster.wire import limits

__all__ = ["Budget"]


class Budget:
    """Bytes that may be allocated at once for frames that are half received.

    A peer can claim a long frame with a few bytes. What fits in the budget is allocated at once, which is fast; what
    doesn't is mapped, and then takes memory only as bytes come. So no claim costs another link anything.

    Args:
        link_bytes: of one frame, and so of one link: it receives one frame at a time.
        total_bytes: of all of them together.

    Example:
        >>> budget = Budget(link_bytes=100, total_bytes=150)
        >>> budget.take(100), budget.take(100), budget.taken
        (True, False, 100)
        >>> budget.give_back(100)
        >>> budget.take(101), budget.take(100)
        (False, True)
    """

    __slots__ = ("_link_bytes", "_total_bytes", "taken")

    def __init__(
        self, link_bytes: int = limits.ALLOCATED_LINK_BYTES, total_bytes: int = limits.ALLOCATED_BYTES
    ) -> None:
        self._link_bytes = link_bytes
        self._total_bytes = total_bytes
        self.taken = 0

    def take(self, nbytes: int) -> bool:
        """Whether so many bytes may be allocated at once; if so they are counted until they are given back."""
        if nbytes > self._link_bytes or self.taken + nbytes > self._total_bytes:
            return False
        self.taken += nbytes
        return True

    def give_back(self, nbytes: int) -> None:
        """What was taken is filled, or its link is gone."""
        self.taken -= nbytes
