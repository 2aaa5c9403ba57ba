"""The clusters elsewhere that this user's programs belong to: where their certificates lie, and what is known of each.

Owns: the folder `members` in the state folder. Below it there is a folder for each address, and in that one for each
role: a machine can be a client and a worker of the same cluster. Must not know: certificates (net/tls/membership.py).
"""

import contextlib
import pathlib
import urllib.parse
from collections.abc import Iterator
from typing import Final

import msgspec

from twistcluster.net.addresses import Address
from twistcluster.net.places import private_folder, state_folder
from twistcluster.storage.journal_places import make_folder

__all__ = ["NOTE", "Note", "known_members", "make_private", "member_folder", "read_note"]

NOTE: Final = "about.json"
_FOLDER: Final = "members"


class Note(msgspec.Struct, frozen=True):
    """What is told of a certificate beside it."""

    address: str
    """`host:port`."""
    role: str
    cluster: str
    ends_at: float
    """Wall-clock seconds."""
    tokens: tuple[str, ...] = ()
    """Digests (hex) of the tokens that it was had with, the newest last: they are good for nothing more."""


def member_folder(address: Address, role: str = "") -> pathlib.Path:
    """Where the certificate for a role in the cluster at an address lies, if there is one; without a role, the folder
    of that address.
    """
    host = urllib.parse.quote(address.host, safe="")
    return state_folder() / _FOLDER / f"{host}_{address.port}" / role


def make_private(folder: pathlib.Path) -> pathlib.Path:
    """Make such a folder, and those above it; nobody else can use it.

    Raises:
        AccessDenied: it is somebody else's, or open to others.
        OSError: it can't be made.
    """
    top = state_folder() / _FOLDER
    make_folder(str(top.parent))
    private_folder(top, _ELSEWHERE)
    made = top
    for part in folder.relative_to(top).parts:
        made = private_folder(made / part, _ELSEWHERE)
    return made


_ELSEWHERE: Final = "set XDG_STATE_HOME to a folder of yours"


def read_note(folder: pathlib.Path) -> Note | None:
    """What is told of the certificate in this folder; None: nothing that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / NOTE).read_bytes(), type=Note)
    return None


def known_members() -> list[Note]:
    """All of them, by cluster and address."""
    return sorted(_notes(), key=lambda note: (note.cluster, note.address, note.role))


def _notes() -> Iterator[Note]:
    with contextlib.suppress(OSError):
        for path in (state_folder() / _FOLDER).glob(f"*/*/{NOTE}"):
            if (note := read_note(path.parent)) is not None:
                yield note
