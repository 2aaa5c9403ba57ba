"""Signals and exit codes, in processes of their own."""

import signal
import subprocess
import sys

import pytest

from tests.tools import require_module

CODE = """
import sys, time
from twisted.internet import defer
from twistcluster.nodes.life import EXIT_OK, exit_on_signals, make_reactor, run_until_ended, stop_reactor

reactor = make_reactor()
how = sys.argv[1]
exit_on_signals()

def say(text):
    print(text, flush=True)

def begin():
    say("begin")
    if how == "files":
        import resource
        say(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        stop_reactor(reactor)
    if how == "fails":
        raise OSError("no room")
    if how == "stops":
        stop_reactor(reactor)
        stop_reactor(reactor)

def end():
    say("end")
    return defer.Deferred() if how == "hangs" else defer.succeed(None)

try:
    if how == "early":
        say("begin")
        time.sleep(60)
    if how == "hangs":
        import twistcluster.nodes.life as life
        life.GOODBYE_SECONDS = 0.05
    run_until_ended(reactor, begin, end)
    say("after")
except OSError as error:
    say(error)
finally:
    say("released")
sys.exit(EXIT_OK)
"""


def run(how, number=None, before=()):
    child = subprocess.Popen([*before, sys.executable, "-c", CODE, how], stdout=subprocess.PIPE, text=True)
    said = [child.stdout.readline().strip()]
    if number is not None:
        child.send_signal(number)
    said += child.stdout.read().splitlines()
    child.stdout.close()
    return said, child.wait(30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(number):
    assert run("runs", number) == (["begin", "end", "after", "released"], 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_it_runs_gives_back_what_was_taken(number):
    assert run("early", number) == (["begin", "released"], 0)


def test_a_stop_from_within():
    assert run("stops") == (["begin", "end", "after", "released"], 0)


def test_many_slots_are_not_too_many_files():
    said, code = run("files", before=["prlimit", "--nofile=64:5000"])
    assert (said, code) == (["begin", "5000", "end", "after", "released"], 0)


def test_its_reactor_has_no_tls_until_a_link_needs_it():
    require_module("OpenSSL")
    code = """
import sys
import twistcluster.nodes.local, twistcluster.nodes.standalone, twistcluster.nodes.standalone_scheduler
from twistcluster.nodes.life import make_reactor
reactor = make_reactor()
assert reactor is make_reactor() is sys.modules["twisted.internet.reactor"]
loaded = {"OpenSSL", "cryptography", "twisted.protocols.tls"} & set(sys.modules)
assert not loaded, loaded
from twistcluster.net.tls import links
import OpenSSL.SSL, twisted.internet.ssl
assert links.TLSMemoryBIOProtocol is sys.modules["twisted.protocols.tls"].TLSMemoryBIOProtocol
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_what_fails_at_the_beginning_is_raised():
    assert run("fails") == (["begin", "end", "no room", "released"], 0)


def test_an_end_that_hangs_is_not_waited_for():
    assert run("hangs", signal.SIGTERM) == (["begin", "end", "after", "released"], 0)
