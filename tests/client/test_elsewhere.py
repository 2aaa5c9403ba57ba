"""Clusters on other machines, where what TLS needs isn't installed: one error, which says what to install."""

import sys

import pytest
from click.testing import CliRunner

import twistcluster as tc
from twistcluster.cli.main import group
from twistcluster.net.token import VARIABLE, Token

WHAT = "need OpenSSL, which isn't installed: pip install 'twistcluster[tls]'"
THERE = "tls://box:8930"


@pytest.fixture(autouse=True)
def without_tls(monkeypatch):
    for name in [each for each in sys.modules if each.startswith("twistcluster.net.tls")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "OpenSSL", None)


def test_connecting():
    with pytest.raises(tc.TwistclusterError, match="need OpenSSL") as caught:
        tc.connect(THERE)
    assert WHAT in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ("status", THERE),
        ("stop", THERE),
        ("stop", THERE, "--force"),
        ("jobs", THERE),
        ("invite", THERE),
        ("deny", THERE, "af"),
        ("join", "box:8930"),
        ("start", "lab", "--listen", "tls:127.0.0.1:0"),
    ],
    ids=" ".join,
)
def test_commands(command, monkeypatch):
    monkeypatch.setenv(VARIABLE, Token(bytes(32), b"eighteen bytes of.").text)
    ran = CliRunner().invoke(group, command)
    assert ran.exit_code == 1 and ran.output == f"twistcluster: clusters over several machines {WHAT}\n"


@pytest.mark.parametrize("command", ["status", "stop", "jobs"])
def test_an_address_that_is_none(command):
    ran = CliRunner().invoke(group, (command, "tls://box"))
    assert ran.exit_code == 2 and "'tls://box' isn't the address of a cluster" in ran.output
