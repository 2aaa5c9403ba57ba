"""Where a cluster listens for other machines, as text: "tls:0.0.0.0:8930".

Owns: the form of `listen=`, and at which names and addresses others may reach this host. Must not know: certificates,
sockets that listen.
"""

import contextlib
import fcntl
import importlib
import ipaddress
import pathlib
import socket
import struct
from typing import Final, NamedTuple

from twistcluster.errors import TwistclusterError
from twistcluster.net.addresses import Address

__all__ = ["Listen", "addresses_of", "parse_listen", "require_tls"]

EXAMPLE: Final = "tls:0.0.0.0:8930"
_SCHEME: Final = "tls:"
_SIOCGIFADDR: Final = 0x8915
_GLOBAL: Final = "00"
"""Of an IPv6 address in /proc/net/if_inet6: it can be reached from elsewhere."""


class Listen(NamedTuple):
    """An address to listen at.

    Example:
        >>> parse_listen("tls:[::]:8930")
        Listen(host='::', port=8930)
        >>> parse_listen("tls:[::]:8930").text
        'tls:[::]:8930'
    """

    host: str
    """Of an interface; "0.0.0.0" or "::": all of them."""
    port: int
    """0: any that is free."""

    @property
    def text(self) -> str:
        """As it is written in `listen=`."""
        return f"{_SCHEME}{Address(self.host, self.port)}"

    def allows(self, other: "Listen") -> bool:
        """Whether a cluster that listens there listens as this asks for."""
        return self.host == other.host and self.port in {0, other.port}


def parse_listen(text: str) -> Listen:
    """The address that `listen=` names.

    Raises:
        ValueError: it isn't one, or anything but TLS.
    """
    if not text.startswith(_SCHEME):
        raise ValueError(
            f"listen={text!r}: a cluster listens for other machines with tls: only, since whoever may connect can run "
            f"code there. Write listen={EXAMPLE!r}"
        )
    host, colon, port = text.removeprefix(_SCHEME).rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"listen={text!r} isn't tls:HOST:PORT, as in {EXAMPLE!r} (or 'tls:[::]:8930')")
    return Listen(host, int(port))


def require_tls() -> None:
    """Have the libraries that TLS needs.

    Raises:
        TwistclusterError: they aren't installed; it says how they are.
    """
    try:
        importlib.import_module("twistcluster.net.tls")
    except ImportError as error:
        raise TwistclusterError(str(error)) from error


def addresses_of(listen: Listen) -> list[str]:
    """Names and addresses, without ports, at which others may reach who listens there: what people know first."""
    try:
        everywhere = ipaddress.ip_address(listen.host).is_unspecified
    except ValueError:
        everywhere = False
    if not everywhere:
        return [listen.host]
    found = [socket.gethostname(), *_ipv4()]
    if ":" in listen.host:
        found += _ipv6()
    return list(dict.fromkeys(each for each in found if each and each.isascii()))


def _ipv4() -> list[str]:
    found = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # this one has none
                answer = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    return [each for each in found if not ipaddress.ip_address(each).is_loopback]


def _ipv6() -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
            address, _, _, scope, *_ = line.split()
            if scope == _GLOBAL:
                found.append(str(ipaddress.IPv6Address(bytes.fromhex(address))))
    return found
