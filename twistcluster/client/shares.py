"""How much of its host's store a client takes for results that nobody has asked for.

By the size of the file system that the store lies on: in a container that may be 64 MiB. Owns: these numbers. Must not
know: jobs, what lies in a store.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from twistcluster.storage.values import ValueStore
from twistcluster.wire.limits import MIB

__all__ = ["Shares", "shares_of"]

WAITING_BYTES: Final = 128 * MIB
PASSED_BYTES: Final = 64 * MIB
UNCLAIMED_BYTES: Final = 64 * MIB
FIRST_ITEMS: Final = 32
FIRST_BYTES: Final = 4 * MIB
"""So large are results taken to be before the first has come, where the store is small."""
FEWEST_ITEMS: Final = 2


class Shares(NamedTuple):
    """Of one store."""

    quarter: int
    """Bytes."""
    waiting: int
    """Bytes that may wait for who iterates over a lazy map."""
    passed: int
    """Bytes behind him that are kept."""
    unclaimed: int
    """Bytes of jobs that are over, that nobody took, and that nobody holds."""
    first: int
    """Items of a lazy map that are pulled before it is known how large results are."""

    @property
    def is_small(self) -> bool:
        """Whether that matters before the first result has come."""
        return self.first < FIRST_ITEMS


def shares_of(store: ValueStore | None) -> Shares:
    """Of this store. Without one, or of one whose file system has no limit, only absolute ones hold."""
    return _shares(0 if store is None else store.capacity)


@lru_cache
def _shares(capacity: int) -> Shares:
    capacity = capacity or 1 << 62
    return Shares(
        quarter=capacity // 4,
        waiting=min(WAITING_BYTES, capacity // 4),
        passed=min(PASSED_BYTES, capacity // 8),
        unclaimed=min(UNCLAIMED_BYTES, capacity // 8),
        first=max(FEWEST_ITEMS, min(FIRST_ITEMS, capacity // 4 // FIRST_BYTES)),
    )
