"""Tokens as text: the one line that is pasted on a machine that is to join a cluster.

Owns: the form, `tc1_` and 88 characters: the fingerprint of the cluster's CA (32 bytes), a secret (18 bytes, so 144 bits)
and a checksum (5 bytes) in Crockford's base32, which has neither I, L, O nor U. Reading forgives case, spaces at the
ends, and o, i and l for 0 and 1. Must not know: what a token allows (core/tokens.py), certificates, where the secret
comes from.
"""

import dataclasses
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from typing import Final

from twistcluster.core.tokens import digest_of
from twistcluster.errors import AccessDenied

__all__ = ["PREFIX", "SECRET_BYTES", "VARIABLE", "Token", "new_token", "take_token"]

VARIABLE: Final = "TWISTCLUSTER_TOKEN"
"""The environment variable that holds a token."""
SECRET_BYTES: Final = 18
_FINGERPRINT_BYTES: Final = 32
_CHECKSUM_BYTES: Final = 5
_DATA_BYTES: Final = _FINGERPRINT_BYTES + SECRET_BYTES + _CHECKSUM_BYTES
_CHARACTERS: Final = _DATA_BYTES * 8 // 5
_VERSION: Final = "1"
PREFIX: Final = f"tc{_VERSION}_"
"""What every token begins with."""
_FORM: Final = re.compile(r"tc([0-9oil]{1,4})_([0-9a-z]*)", re.ASCII)
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)} | {"o": 0, "i": 1, "l": 1}
_LOOKALIKES: Final = str.maketrans("oil", "011")
_taken: "Token | None" = None
_PASTE: Final = "paste the whole line that `twistcluster invite` printed"


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """What a token says. Its `repr` doesn't show the secret; `text` does.

    Example:
        >>> token = Token(bytes(32), b"eighteen bytes of.")
        >>> token
        Token(fingerprint='0000…', secret=…)
        >>> Token.parse(token.text) == token
        True
    """

    fingerprint: bytes
    """SHA-256 of the CA's certificate (DER), 32 bytes."""
    secret: bytes = dataclasses.field(repr=False)
    """18 bytes."""

    def __post_init__(self) -> None:
        if len(self.fingerprint) != _FINGERPRINT_BYTES or len(self.secret) != SECRET_BYTES:
            raise ValueError(f"a token has a fingerprint of 32 and a secret of {SECRET_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token that was written like this.

        Raises:
            AccessDenied: it isn't a token, or it is mistyped, cut short, or of a later version. The text isn't told.
        """
        found = _FORM.fullmatch(text.strip().lower())
        if found is None:
            raise AccessDenied(f"this isn't a token, which begins with {PREFIX}: {_PASTE}")
        if (version := found[1].translate(_LOOKALIKES)) != _VERSION:
            raise AccessDenied(
                f"this token has version {version}, and this twistcluster reads version {_VERSION}: update it"
            )
        if len(found[2]) != _CHARACTERS:
            raise AccessDenied(f"this token has {len(found[2])} characters after the '_', not {_CHARACTERS}: {_PASTE}")
        data = _decoded(found[2])
        if data is None or not hmac.compare_digest(_checksum(data[:-_CHECKSUM_BYTES]), data[-_CHECKSUM_BYTES:]):
            raise AccessDenied(f"this token is mistyped, its checksum doesn't fit: {_PASTE}")
        return cls(data[:_FINGERPRINT_BYTES], data[_FINGERPRINT_BYTES:-_CHECKSUM_BYTES])

    @property
    def text(self) -> str:
        """What is pasted. It holds the secret."""
        data = self.fingerprint + self.secret
        return f"{PREFIX}{_encoded(data + _checksum(data))}"

    @property
    def digest(self) -> bytes:
        """What the scheduler keeps in the secret's place."""
        return digest_of(self.secret)

    def __repr__(self) -> str:
        return f"Token(fingerprint='{self.fingerprint[:2].hex()}…', secret=…)"


def new_token(fingerprint: bytes, random_bytes: Callable[[int], bytes]) -> Token:
    """A token with a new secret, from `random_bytes` (`secrets.token_bytes`)."""
    return Token(fingerprint, random_bytes(SECRET_BYTES))


def take_token() -> Token | None:
    """The token in this process's environment, which is taken out: children mustn't inherit it. It is remembered.

    Raises:
        AccessDenied: what is there is none.
    """
    global _taken
    if text := os.environ.pop(VARIABLE, ""):
        _taken = Token.parse(text)
    return _taken


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(PREFIX.encode() + data).digest()[:_CHECKSUM_BYTES]


def _encoded(data: bytes) -> str:
    number = int.from_bytes(data)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_CHARACTERS - 1), -1, -5))


def _decoded(text: str) -> bytes | None:
    number = 0
    for character in text:
        if (value := _VALUES.get(character)) is None:
            return None
        number = number << 5 | value
    return number.to_bytes(_DATA_BYTES)
