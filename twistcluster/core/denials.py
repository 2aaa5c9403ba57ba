"""Who is shut out, though the certificate says who it is.

Owns: the deny list, and which certificates took each other's places: whoever is denied by one of them is denied by all,
so nobody gets around it by having a certificate renewed in time. Must not know: certificates (they are serials here),
who asks, the clock.
"""

from collections.abc import Iterable
from typing import Final

from twistcluster.core.rows import Change, DenialRow, DenialsGone, RenewalRow, RenewalsGone

__all__ = ["HELD_S", "MOST_DENIED", "MOST_RENEWALS", "SERIAL_CHARACTERS", "Denials", "serial_of_text"]

HELD_S: Final = 366 * 24 * 3600.0
"""How long a denial is held: a certificate lives for a year, and one that is denied isn't renewed."""
MOST_DENIED: Final = 10_000
"""Certificates that one cluster shuts out."""
MOST_RENEWALS: Final = 1000
"""Certificates that took each other's places, in a year: several processes may share one."""
SERIAL_CHARACTERS: Final = 40
"""Of the longest serial in hex (RFC 5280: 20 bytes)."""
_HEX: Final = frozenset("0123456789abcdef")


def serial_of_text(text: str) -> str:
    """A serial as it is held, of one as people and other programs write it.

    Raises:
        ValueError: it is none.

    Example:
        >>> serial_of_text("0x00:AF:3C")
        'af3c'
    """
    serial = text.strip().lower().removeprefix("0x").replace(":", "").lstrip("0")
    if not 0 < len(serial) <= SERIAL_CHARACTERS or not _HEX.issuperset(serial):
        raise ValueError(
            f"{text[: 2 * SERIAL_CHARACTERS]!r} is no serial of a certificate: `twistcluster status` shows those of members. "
            "(Nor is it the id of a token, as worker-3fa2b1.)"
        )
    return serial


class Denials:
    """The deny list of one cluster.

    Args:
        denied: what the journal kept of it.
        renewed: which certificates took others' places, from there too.

    Example:
        >>> denials = Denials()
        >>> row = denials.renewed("a1", "b2", ends_at=100.0)
        >>> row = denials.deny("b2", now=5.0)
        >>> denials.is_denied("a1"), denials.is_denied("b2"), denials.is_denied("c3")
        (True, True, False)
    """

    def __init__(self, denied: Iterable[DenialRow] = (), renewed: Iterable[RenewalRow] = ()) -> None:
        self._denied = {row.serial: row.at for row in denied}
        self._renewed = {row.serial: row for row in renewed}

    def is_denied(self, serial: str) -> bool:
        """Whether this certificate is shut out."""
        return self.first(serial) in self._denied

    def all(self) -> list[str]:
        """All certificates that are shut out, with those that they were renewed with."""
        return [*self._denied, *(row.serial for row in self._renewed.values() if row.first in self._denied)]

    def deny(self, serial: str, now: float) -> DenialRow:
        """Shut a certificate out, and those that it was renewed with; returns what is to be kept.

        Raises:
            ValueError: there are too many.
        """
        first = self.first(serial)
        if len(self._denied) >= MOST_DENIED and first not in self._denied:
            raise ValueError(
                f"{MOST_DENIED:,} certificates are denied, more are not. To shut out everybody, stop the cluster, remove "
                "the folder `authority` beside its journal and start it again"
            )
        self._denied[first] = now
        return DenialRow(first, now)

    def renewed(self, old: str, new: str, ends_at: float) -> RenewalRow:
        """A certificate took another's place; returns what is to be kept.

        Raises:
            ValueError: it happened too often.
        """
        first = self.first(old)
        if new not in self._renewed and sum(row.first == first for row in self._renewed.values()) >= MOST_RENEWALS:
            raise ValueError(f"this certificate was renewed {MOST_RENEWALS:,} times in a year: join with a new token")
        row = self._renewed[new] = RenewalRow(new, first, ends_at)
        return row

    def forget(self, now: float) -> list[Change]:
        """Forget certificates that have ended; returns what is to be kept of that."""
        ended = tuple(row.serial for row in self._renewed.values() if now >= row.ends_at)
        over = tuple(serial for serial, at in self._denied.items() if now >= at + HELD_S)
        for serial in ended:
            del self._renewed[serial]
        for serial in over:
            del self._denied[serial]
        changes: list[Change] = []
        if ended:
            changes.append(RenewalsGone(ended))
        if over:
            changes.append(DenialsGone(over))
        return changes

    def first(self, serial: str) -> str:
        """The certificate that this one took the place of, or itself."""
        row = self._renewed.get(serial)
        return serial if row is None else row.first
