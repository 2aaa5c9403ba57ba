"""Where a cluster listens for other machines, as people write it: `host:port`, or with `tls://` in front.

Owns: that form. Must not know: sockets, what listens there.
"""

import re
from typing import Final, NamedTuple

__all__ = ["SCHEME", "Address", "looks_like_address", "parse_address"]

SCHEME: Final = "tls://"
_FORM: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/\[\]@?#]+)):([0-9]{1,5})", re.ASCII)


class Address(NamedTuple):
    """A host, by its name or number, and a port.

    Example:
        >>> str(Address("::1", 8930)), Address("box", 8930).url
        ('[::1]:8930', 'tls://box:8930')
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """With the scheme: what `tc.connect` takes."""
        return f"{SCHEME}{self}"


def looks_like_address(text: str) -> bool:
    """Whether this is meant to be an address: a cluster's name has no ':', and a path that has one has a '/', too."""
    return text.startswith(SCHEME) or (":" in text and "/" not in text)


def parse_address(text: str) -> Address:
    """The address that was written like this.

    Raises:
        ValueError: it says what an address looks like.

    Example:
        >>> parse_address("tls://box:8930") == parse_address("BOX:8930")
        True
    """
    found = _FORM.fullmatch(text.removeprefix(SCHEME))
    if found is None or not 0 < int(found[3]) < 65536:
        raise ValueError(
            f"{text!r} isn't the address of a cluster: it looks like tls://HOST:PORT, as in tls://box:8930"
        )
    return Address((found[1] or found[2]).lower(), int(found[3]))
