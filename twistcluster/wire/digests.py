"""The name of a blob: the BLAKE2b digest of its bytes.

Owns: how bytes are named. Must not know: what the bytes are.
"""

import hashlib
from typing import Final

__all__ = ["DIGEST_BYTES", "digest"]

DIGEST_BYTES: Final = 16


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """Return the 16-byte BLAKE2b digest of `data`."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
