"""What is kept of a membership, and how programs join."""

import os
import stat
import time

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.tcp import Connection

from twistcluster.errors import AccessDenied, ClusterUnreachable, ProtocolError, VersionMismatch
from twistcluster.net import token as token_module
from twistcluster.net.addresses import Address
from twistcluster.net.members import Note, known_members, member_folder
from twistcluster.net.tls import joining
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.ends import ServerEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.joining import become_member, join
from twistcluster.net.tls.links import listen_tls
from twistcluster.net.tls.membership import Membership, new_key
from twistcluster.net.token import VARIABLE, Token, new_token, take_token
from twistcluster.wire.messages import PROTOCOL, Join, Joined, Refused

BOX = Address("box", 8930)


def token_of(cluster) -> Token:
    return new_token(cluster.authority.fingerprint, os.urandom)


# ---- files -------------------------------------------------------------------------------------------------------------


def test_a_certificate_is_kept_and_private_whatever_the_umask(lab):
    before = os.umask(0)
    try:
        member, token = Membership(BOX, "worker"), token_of(lab)
        identity = lab.member("worker")
        member.save(identity, token)
        with pytest.raises(OSError, match="the test ends it"), new_key(BOX):
            raise OSError("the test ends it")
    finally:
        os.umask(before)
    assert member.identity().serial == identity.serial
    assert member.was_had_with(token) and not member.was_had_with(token_of(lab))
    assert not Membership(BOX, "client").was_had_with(token)
    assert known_members() == [Note("box:8930", "worker", "lab", identity.ends_at, (token.digest.hex(),))]
    top = member_folder(BOX).parent
    for path in [top, *top.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_renewed_one_takes_its_place_and_the_token_stays_used(lab):
    member, token = Membership(BOX, "client"), token_of(lab)
    member.save(lab.member("client"), token)
    renewed = lab.member("client")
    member.save(renewed)
    assert member.identity().serial == renewed.serial and member.was_had_with(token)


def test_hosts_cant_leave_the_folder():
    for host in ("..", "a/../../b", "::1", "."):
        folder = member_folder(Address(host, 1))
        assert folder.parent == member_folder(BOX).parent and folder.name.endswith("_1")


def test_a_key_stays_until_it_is_certified():
    with pytest.raises(RuntimeError), new_key(BOX) as first:
        raise RuntimeError
    with new_key(BOX) as second, new_key(BOX) as third:
        pass
    assert public_bytes(first) == public_bytes(second) == public_bytes(third)
    with new_key(BOX) as fourth:
        pass
    assert public_bytes(fourth) != public_bytes(first)


def test_a_damaged_key_is_replaced():
    with pytest.raises(RuntimeError), new_key(BOX):
        raise RuntimeError
    (path,) = member_folder(BOX).iterdir()
    path.write_bytes(b"no key")
    with new_key(BOX) as key:
        assert key.curve.name == "secp256r1"


def test_a_token_is_taken_out_of_the_environment_and_remembered(lab, monkeypatch):
    monkeypatch.setattr(token_module, "_taken", None)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert take_token() is None
    token = token_of(lab)
    monkeypatch.setenv(VARIABLE, token.text)
    assert take_token() == take_token() == token
    assert VARIABLE not in os.environ


# ---- joining -----------------------------------------------------------------------------------------------------------


class Scheduler:
    """It answers `Join` as a test wants."""

    def __init__(self, steps, make_owner, lab, answer):
        self.steps = steps
        self.lab = lab
        self.joins = []
        self.answer = answer
        self.end = ServerEnd(lab.member("scheduler"), lambda serial: False)
        self.owner = make_owner(self._said)
        self.port = listen_tls(steps.reactor, "127.0.0.1", 0, self.owner, steps.turn, self.end)
        self.address = Address("127.0.0.1", self.port.getHost().port)

    def _said(self, link, message, buffers):
        assert isinstance(message, Join)
        self.joins.append(message)
        self.answer(self, link, message)

    def run(self, call):
        try:
            return self.steps.result(ensureDeferred(call(self.steps.reactor, self.steps.turn, self.address)))
        finally:
            self.steps.until(lambda: len(self.owner.lost) >= len(self.joins) and not self.open_sockets())

    def open_sockets(self):
        return [each for each in self.steps.reactor.getReaders() if isinstance(each, Connection)]

    def issue(self, key, role="client"):
        return self.lab.authority.issue(key, role, "box", time.time())


@pytest.fixture
def scheduler(steps, make_owner, lab):
    return lambda answer: Scheduler(steps, make_owner, lab, answer)


def joins(scheduler, link, message):
    link.send(Joined(scheduler.issue(message.key), scheduler.lab.authority.certificate))
    link.close("joined")


def test_joining(scheduler, lab):
    there, token = scheduler(joins), token_of(lab)
    identity = there.run(lambda *there: join(*there, token))
    (said,) = there.joins
    assert said == Join(PROTOCOL, token.secret.hex(), identity.request)
    assert (identity.role, identity.cluster) == ("client", "lab")
    member = there.run(lambda *there: become_member(*there, "client", token))
    assert member.identity().serial == identity.serial and len(there.joins) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("protocol", VersionMismatch),
        ("python", VersionMismatch),
        ("access", AccessDenied),
        ("limit", ClusterUnreachable),
        ("malformed", ProtocolError),
    ],
)
def test_who_is_refused_reads_why(scheduler, lab, code, kind):
    there = scheduler(lambda _, link, __: link.refuse(code, "because of that"))
    with pytest.raises(kind, match=r"127.0.0.1:\d+: because of that"):
        there.run(lambda *there: join(*there, token_of(lab)))
    assert not known_members()


def test_no_answer(scheduler, lab, monkeypatch):
    monkeypatch.setattr(joining, "ANSWER_S", 0.05)
    there = scheduler(lambda *_: None)
    with pytest.raises(ClusterUnreachable, match="didn't answer within 0.05 s.*the same token is still good"):
        there.run(lambda *there: join(*there, token_of(lab)))


def answers(make):
    return lambda there, link, message: link.send(make(there, message))


@pytest.mark.parametrize(
    "answer",
    [
        lambda there, join: Joined(there.issue(public_bytes(make_key())), there.lab.authority.certificate),
        lambda there, join: Joined(b"none", there.lab.authority.certificate),
        lambda there, join: Joined(there.issue(join.key, "scheduler"), there.lab.authority.certificate),
        lambda there, join: Joined(
            there.other.authority.issue(join.key, "client", "box", time.time()), there.other.authority.certificate
        ),
    ],
    ids=["another key", "no certificate", "a scheduler's", "another CA's"],
)
def test_an_answer_that_makes_no_member(scheduler, lab, other, answer):
    there = scheduler(answers(answer))
    there.other = other
    with pytest.raises(AccessDenied):
        there.run(lambda *there: join(*there, token_of(lab)))
    assert not known_members()
    with new_key(there.address) as key:
        assert public_bytes(key) == there.joins[0].key


def test_nobody_is_told_a_token_of_another_cluster(scheduler, lab, other):
    there = scheduler(joins)
    with pytest.raises(AccessDenied, match="CA didn't issue"):
        there.run(lambda *there: join(*there, token_of(other)))
    assert not there.joins


def test_who_has_no_token_and_no_certificate(scheduler):
    there = scheduler(joins)
    with pytest.raises(AccessDenied, match=r"hasn't joined .* as a worker.*`twistcluster invite NAME` prints"):
        there.run(lambda *there: become_member(*there, "worker", None))


def test_an_ended_certificate(scheduler, lab):
    there = scheduler(joins)
    long_ago = lab.member("client", now=time.time() - 400 * 24 * 3600)
    Membership(there.address, "client").save(long_ago)
    with pytest.raises(AccessDenied, match="ended on .*join again with a new token"):
        there.run(lambda *there: become_member(*there, "client", None))
    member = there.run(lambda *there: become_member(*there, "client", token_of(lab)))
    assert isinstance(member.identity(), Identity)


def test_refused_is_a_message():
    assert set(joining._REFUSED) == set(Refused.__annotations__["code"].__args__)
