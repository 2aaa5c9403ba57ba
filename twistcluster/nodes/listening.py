"""Where and whether a cluster listens for other machines.

Owns: the port that a cluster had before, the place of its CA, and that what TLS needs is imported only where it is used.
Must not know: who may come (nodes/admission.py).
"""

import pathlib
from typing import TYPE_CHECKING, Any

from twistcluster.net.listening import Listen, parse_listen, require_tls
from twistcluster.nodes.durability import last_at
from twistcluster.nodes.logging import log_event
from twistcluster.storage.journal import Journal
from twistcluster.storage.journal_places import journal_path, make_folder

if TYPE_CHECKING:
    from twistcluster.nodes.admission import Admission

__all__ = ["open_admission"]


def open_admission(
    reactor: Any, listen: str, name: str, journal_place: str, journal: Journal | None
) -> "Admission | None":
    """Of a cluster that listens for other machines; None: it doesn't.

    One that died while it listened does so again, asked or not: its members elsewhere look for it there.

    Args:
        reactor: Twisted's.
        listen: "tls:HOST:PORT"; empty: only if it died while it listened.
        name: of the cluster.
        journal_place: path of its journal; empty: it has none.
        journal: if it has one; what it holds must not be written to yet.

    Raises:
        ValueError: `listen` is no such address.
        TwistclusterError: what TLS needs isn't installed; or the CA, or what the journal holds, can't be used.
    """
    listen = listen or _unfinished(name, journal_place)
    if not listen:
        return None
    asked = parse_listen(listen)
    require_tls()
    from twistcluster.nodes.admission import Admission  # here: it needs the extra

    above = pathlib.Path(journal_place or journal_path(name).path).parent
    make_folder(str(above))
    return Admission(reactor, name, _as_before(asked, journal_place), above / "authority", journal)


def _unfinished(name: str, journal_place: str) -> str:
    """Where it listened when it died. Where it listened when it was ended is nobody's wish any more, but worth a line."""
    last = last_at(journal_place) if journal_place else None
    if last is None or not last.listen:
        return ""
    fields = {"name": name, "listen": last.listen}
    if last.ended:
        log_event("warning", "it listened for other machines before it was ended, and doesn't now (--listen)", fields)
        return ""
    log_event("info", "it listens for other machines again, as it did when it died", fields)
    return last.listen


def _as_before(asked: Listen, journal_place: str) -> Listen:
    """Where any port will do, the one that members know already."""
    last = last_at(journal_place) if journal_place and not asked.port else None
    before = parse_listen(last.listen) if last is not None and last.listen else None
    return before if before is not None and asked.allows(before) else asked
