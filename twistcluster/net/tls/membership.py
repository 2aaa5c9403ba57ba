"""What makes a program of this user a member of a cluster elsewhere: a certificate that is kept, and used up tokens.

Owns: the files of one address and role in the folder of net/members.py, and in which order they are written. A key is on
the disk before it is sent to be certified: if the answer is lost, or this process dies, the same token is good for that
key again. Must not know: connections.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from twistcluster.errors import AccessDenied
from twistcluster.net.addresses import Address
from twistcluster.net.members import NOTE, Note, make_private, member_folder, read_note
from twistcluster.net.tls.certificates import Role, make_key, private_pem
from twistcluster.net.tls.files import create_private, read_private, replace_private
from twistcluster.net.tls.identity import FILE, Identity
from twistcluster.net.token import VARIABLE, Token

__all__ = ["Membership", "new_key"]

KEY_FILE: Final = "joining.pem"
"""The key of a `Join` that hasn't been answered."""
TOKENS_KEPT: Final = 20
_KEY_OF_OTHERS: Final = "remove it, and join again"


class Membership:
    """A role in the cluster at an address.

    Args:
        address: of its scheduler.
        role: of this program there.
        clock: wall-clock seconds.
    """

    def __init__(self, address: Address, role: Role, clock: Callable[[], float] = time.time) -> None:
        self.address = address
        self.role = role
        self.clock = clock
        self.folder = member_folder(address, role)

    def identity(self) -> Identity:
        """What this program shows.

        Raises:
            AccessDenied: nothing is here, or it has ended, is damaged or open to others; it says what to do.
        """
        if not self._is_here():
            role = "" if self.role == "worker" else f" --role {self.role}"
            raise AccessDenied(
                f"this user hasn't joined the cluster at {self.address} as a {self.role}: on its machine, "
                f"`twistcluster invite NAME{role}` prints the line to paste here (it sets {VARIABLE})"
            )
        return Identity.load(self.folder, self.clock())

    def was_had_with(self, token: Token) -> bool:
        """Whether a certificate is here that came for this token."""
        note = read_note(self.folder)
        return note is not None and token.digest.hex() in note.tokens and self._is_here()

    def save(self, identity: Identity, token: Token | None = None) -> None:
        """Keep it, in the place of the one before: it was renewed, or came for a token.

        Raises:
            AccessDenied, OSError: it can't be written.
        """
        before = read_note(self.folder)
        tokens = [] if before is None else [*before.tokens]
        if token is not None:
            tokens.append(token.digest.hex())
        note = Note(str(self.address), identity.role, identity.cluster, identity.ends_at, tuple(tokens[-TOKENS_KEPT:]))
        make_private(self.folder)
        identity.save(self.folder)
        replace_private(self.folder / NOTE, msgspec.json.encode(note))

    def _is_here(self) -> bool:
        return (self.folder / FILE).exists()


class new_key(contextlib.AbstractContextManager[ec.EllipticCurvePrivateKey]):  # noqa: N801 (used like a function)
    """The key to join the cluster at an address with: the one of a try before that wasn't answered, or a new one.

    It is on the disk inside the `with`, and stays there if that fails.
    """

    def __init__(self, address: Address) -> None:
        self._path = member_folder(address) / KEY_FILE

    def __enter__(self) -> ec.EllipticCurvePrivateKey:
        make_private(self._path.parent)
        made = make_key()
        # Of several processes that join at once with one token all have the same key, and so get the same certificate.
        while not create_private(self._path, private_pem(made)):
            data = read_private(self._path, _KEY_OF_OTHERS)
            if data is None:
                continue
            with contextlib.suppress(ValueError, TypeError):
                found = serialization.load_pem_private_key(data, password=None)
                if isinstance(found, ec.EllipticCurvePrivateKey):
                    return found
            self._path.unlink(missing_ok=True)
        return made

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self._path.unlink(missing_ok=True)
