"""Where a cluster listens, as text, and at which addresses others may reach it."""

import builtins
import ipaddress
import socket
import sys

import pytest

from twistcluster.errors import TwistclusterError
from twistcluster.net.listening import Listen, addresses_of, parse_listen, require_tls


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tls:0.0.0.0:8930", "0.0.0.0", 8930),
        ("tls:lab.example.org:1", "lab.example.org", 1),
        ("tls:[::]:0", "::", 0),
        ("tls:[fe80::1]:65535", "fe80::1", 65535),
    ],
)
def test_where_to_listen(text, host, port):
    assert parse_listen(text) == Listen(host, port)
    assert parse_listen(text).text == text


@pytest.mark.parametrize(
    "text", ["tcp:0.0.0.0:8930", "0.0.0.0:8930", "tls", "TLS:0.0.0.0:8930", "unix:/tmp/s", "ssl:8930", ":8930"]
)
def test_nothing_but_tls(text):
    with pytest.raises(ValueError, match="with tls: only, since whoever may connect can run code there. Write listen="):
        parse_listen(text)


@pytest.mark.parametrize(
    "text",
    ["tls:", "tls:8930", "tls:box", "tls::8930", "tls:box:", "tls:box:65536", "tls:box:-1", "tls:::8930", "tls:a:٣"],
)
def test_no_address(text):
    with pytest.raises(ValueError, match="isn't tls:HOST:PORT, as in"):
        parse_listen(text)


def test_any_port_is_asked_for_with_0():
    has = parse_listen("tls:0.0.0.0:8930")
    assert parse_listen("tls:0.0.0.0:0").allows(has) and has.allows(has)
    assert not parse_listen("tls:0.0.0.0:8931").allows(has) and not parse_listen("tls:127.0.0.1:0").allows(has)


def test_addresses():
    assert addresses_of(Listen("192.0.2.7", 1)) == ["192.0.2.7"]
    assert addresses_of(Listen("box", 1)) == ["box"]
    found = addresses_of(Listen("::", 1))
    assert found[0] == socket.gethostname() and len(found) == len(set(found))
    numbers = [ipaddress.ip_address(each) for each in found[1:]]
    assert not any(each.is_loopback or each.is_link_local for each in numbers if each.version == 6)
    assert all(":" not in each for each in addresses_of(Listen("0.0.0.0", 1)))


def test_without_the_libraries(monkeypatch):
    real = builtins.__import__

    def missing(name, *more, **others):
        if name == "OpenSSL":
            raise ImportError("no", name="OpenSSL")
        return real(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "twistcluster.net.tls", raising=False)
    with pytest.raises(
        TwistclusterError, match=r"need OpenSSL, which isn't installed: pip install 'twistcluster\[tls\]'"
    ):
        require_tls()
