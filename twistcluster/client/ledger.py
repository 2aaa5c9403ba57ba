"""What the peer of a link was sent and still has: each blob travels once.

Owns: that list, and its limit. Must not know: links.
"""

from collections import OrderedDict
from collections.abc import Iterable

from twistcluster.wire.limits import MIB

__all__ = ["Ledger"]

LEDGER_BYTES = 64 * MIB
"""Each slot holds as much, and what it made of it: a cell that captures 5 MB and is run again and again must not fill a
machine of many cores."""
LEDGER_ENTRIES = 10_000


class Ledger:
    """Digests of what was sent, those used longest ago first."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[bytes, int] = OrderedDict()
        self._bytes = 0

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._sizes

    def sent(self, digest: bytes, size: int) -> None:
        """It was sent."""
        self._sizes[digest] = size
        self._bytes += size

    def used(self, digest: bytes) -> None:
        """It was named again."""
        self._sizes.move_to_end(digest)

    def forget(self, digest: bytes) -> bool:
        """It shall be sent again before it is named again; False if it isn't there."""
        size = self._sizes.pop(digest, None)
        self._bytes -= size or 0
        return size is not None

    def excess(self, needed: Iterable[bytes]) -> list[bytes]:
        """What is over the limit, and forgotten here: the peer shall forget it too. Nothing that is `needed`."""
        gone: list[bytes] = []
        if self._bytes <= LEDGER_BYTES and len(self._sizes) <= LEDGER_ENTRIES:
            return gone
        spared = set(needed)
        for digest in [*self._sizes]:
            if self._bytes <= LEDGER_BYTES and len(self._sizes) <= LEDGER_ENTRIES:
                break
            if digest not in spared:
                self._bytes -= self._sizes.pop(digest)
                gone.append(digest)
        return gone
