"""Who may join: the tokens of a cluster, what is left of each, and who used it.

Owns: uses, ends, and which public key each use is bound to. A token is known by the digest of its secret only. A use
belongs to the first public key that redeems it: whoever lost the answer asks again with the same key, gets the same
certificate, and no further use is spent (so a certificate that was denied isn't replaced by a fresh one). Must not
know: certificates (they are bytes here), texts of tokens, messages, the clock.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

__all__ = [
    "FORGOTTEN_AFTER_S",
    "JOIN_ROLES",
    "MOST_TOKENS",
    "MOST_USES",
    "Grant",
    "JoinRole",
    "Refusal",
    "TokenState",
    "TokenUse",
    "Tokens",
    "digest_of",
    "id_of",
    "is_token_id",
]

FORGOTTEN_AFTER_S: Final = 24 * 3600.0
"""So long after its end a token is still told from one that never was, and answers are given again."""
MOST_TOKENS: Final = 1000
"""Tokens that one cluster holds."""
MOST_USES: Final = 1000
"""Uses of one token."""
NAME_CHARACTERS: Final = 63

JoinRole: TypeAlias = Literal["client", "worker"]
JOIN_ROLES: Final[tuple[JoinRole, ...]] = ("client", "worker")
_ID: Final = re.compile(r"(?:client|worker)-[0-9a-f]{6}")


def digest_of(secret: bytes) -> bytes:
    """What is kept in a secret's place. It has 144 random bits, so a plain SHA-256 can't be turned back."""
    return hashlib.sha256(b"twistcluster token\0" + secret).digest()


def id_of(digest: bytes, role: JoinRole) -> str:
    """A token's id, which is no secret: it names the token in logs, and is the name of who joins with it.

    Example:
        >>> id_of(digest_of(b"secret"), "worker")
        'worker-d88dbb'
    """
    return f"{role}-{digest[:3].hex()}"


def is_token_id(text: str) -> bool:
    """Whether this may be the id of a token."""
    return _ID.fullmatch(text) is not None


class TokenUse(msgspec.Struct, frozen=True):
    """One use of a token."""

    key: bytes
    """Digest of the public key that it belongs to."""
    certificate: bytes = b""
    """What was answered; empty until that is told."""


class TokenState(msgspec.Struct, frozen=True):
    """A token, as a journal keeps it: the newest of a digest counts."""

    digest: bytes
    role: JoinRole
    name: str
    """Of who joins with it; with a number behind it if the token has several uses."""
    uses: int
    """How many keys may redeem it."""
    expires_at: float
    """Wall-clock seconds."""
    used: tuple[TokenUse, ...] = ()
    taken_back: bool = False
    """It lets nobody in any more, whatever it has left."""


class Grant(NamedTuple):
    """Who brought the token may join."""

    role: JoinRole
    name: str
    certificate: bytes
    """What this key was answered before; empty: issue one, and tell `Tokens.answered`."""
    state: TokenState
    """To be kept before the answer leaves."""


class Refusal(NamedTuple):
    """Who brought the token may not join."""

    reason: Literal["wrong", "expired", "used up", "other key", "taken back"]
    text: str
    """For whoever brought it."""


class Tokens:
    """The tokens of one cluster.

    Args:
        cluster: its name, for texts.
        states: what the journal kept.

    Example:
        >>> tokens = Tokens("lab")
        >>> state = tokens.add(digest_of(b"secret"), "worker", 1, 600.0, "box")
        >>> tokens.redeem(b"secret", b"key", now=5.0).name
        'box'
        >>> tokens.redeem(b"guess", b"key", now=5.0).reason
        'wrong'
    """

    def __init__(self, cluster: str, states: Iterable[TokenState] = ()) -> None:
        self._cluster = cluster
        self._states = {state.digest: state for state in states}

    def __len__(self) -> int:
        return len(self._states)

    @property
    def states(self) -> tuple[TokenState, ...]:
        """All of them, those that have ended too."""
        return tuple(self._states.values())

    def add(self, digest: bytes, role: JoinRole, uses: int, expires_at: float, name: str) -> TokenState:
        """A new token; returns what is to be kept before its text is shown.

        Raises:
            ValueError: such a token can't be, or there are too many.
        """
        if role not in JOIN_ROLES:
            raise ValueError(f"nobody can join as {role!r}: a role is 'client' or 'worker'")
        if not 1 <= uses <= MOST_USES:
            raise ValueError(f"a token has 1 to {MOST_USES} uses, not {uses}")
        if not 0 <= expires_at < float("inf"):
            raise ValueError(f"a token must end some time, not at {expires_at}")
        if not name or len(_name(name, uses, uses)) > NAME_CHARACTERS:
            raise ValueError(f"a name has 1 to {NAME_CHARACTERS} characters, with the number of the use: {name!r}")
        if digest in self._states:
            raise ValueError("this token is there already")
        if len(self._states) >= MOST_TOKENS:
            raise ValueError(f"{MOST_TOKENS} tokens are held, more are not: they go a day after their end")
        return self._keep(TokenState(digest, role, name, uses, expires_at))

    def redeem(self, secret: bytes, public_key: bytes, now: float) -> Grant | Refusal:
        """Somebody brings a token.

        Args:
            secret: of the token.
            public_key: in its one canonical form, or the same key counts twice.
            now: wall-clock seconds.
        """
        state = self._found(digest_of(secret))
        if state is None or now >= state.expires_at + FORGOTTEN_AFTER_S:
            return self._refuse("wrong", "this token isn't known here")
        if state.taken_back:
            return self._refuse("taken back", "this token was taken back")
        key = hashlib.sha256(public_key).digest()
        for number, use in enumerate(state.used, 1):
            if use.key == key:
                return Grant(state.role, _name(state.name, number, state.uses), use.certificate, state)
        if now >= state.expires_at:
            return self._refuse("expired", "this token has expired")
        if len(state.used) < state.uses:
            state = self._keep(msgspec.structs.replace(state, used=(*state.used, TokenUse(key))))
            return Grant(state.role, _name(state.name, len(state.used), state.uses), b"", state)
        if state.uses == 1:
            return self._refuse(
                "other key", "this token was used already, with another key (`twistcluster deny` shuts that one out)"
            )
        return self._refuse("used up", f"this token was good for {state.uses} uses, and all were made")

    def answered(self, secret: bytes, public_key: bytes, certificate: bytes) -> TokenState | None:
        """What a grant was answered with, so that it is answered again; returns what is to be kept.

        None: the token, or that use of it, isn't there (any more).
        """
        state = self._found(digest_of(secret))
        key = hashlib.sha256(public_key).digest()
        if state is None or all(use.key != key for use in state.used):
            return None
        used = tuple(TokenUse(key, certificate) if use.key == key else use for use in state.used)
        return self._keep(msgspec.structs.replace(state, used=used))

    def take_back(self, token_id: str) -> list[TokenState]:
        """A token is good for nothing any more; returns what is to be kept. Who joined with it before stays.

        Of several with the same id, which is as good as impossible, none is.

        Raises:
            ValueError: there is none of this id.
        """
        found = [each for each in self._states.values() if id_of(each.digest, each.role) == token_id]
        if not found:
            raise ValueError(
                f"no token {token_id!r} is held: they go a day after their end, and `twistcluster invite` shows the id of "
                "each"
            )
        return [self._keep(msgspec.structs.replace(each, taken_back=True)) for each in found]

    def forget(self, now: float) -> tuple[bytes, ...]:
        """Forget what ended long ago; returns those digests."""
        gone = tuple(each.digest for each in self._states.values() if now >= each.expires_at + FORGOTTEN_AFTER_S)
        for digest in gone:
            del self._states[digest]
        return gone

    def _found(self, digest: bytes) -> TokenState | None:
        """Looks at all of them, in a time that doesn't depend on how much of a digest was right."""
        found = None
        for held, state in self._states.items():
            if hmac.compare_digest(held, digest):
                found = state
        return found

    def _keep(self, state: TokenState) -> TokenState:
        self._states[state.digest] = state
        return state

    def _refuse(self, reason: Literal["wrong", "expired", "used up", "other key", "taken back"], text: str) -> Refusal:
        return Refusal(reason, f"{text}: ask for a new one: `twistcluster invite {self._cluster}`")


def _name(name: str, number: int, uses: int) -> str:
    return name if uses == 1 else f"{name}-{number}"
