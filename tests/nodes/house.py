"""A scheduler that listens for other machines, on a reactor that a test steps by hand, and members of it."""

import re
import secrets
import time

from twisted.internet.defer import ensureDeferred

from tests.net.conftest import Owner
from twistcluster.core.scheduler import Identity as Who
from twistcluster.core.tokens import digest_of
from twistcluster.net.link import Link
from twistcluster.net.listening import parse_listen
from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.ends import ClientEnd, JoiningEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import connect_tls
from twistcluster.nodes.admission import Admission
from twistcluster.nodes.restoring import Troubles, open_journal, scheduler_of
from twistcluster.nodes.scheduler import SchedulerNode
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import (
    PROTOCOL,
    Answer,
    Ask,
    Declined,
    Hello,
    Invite,
    Join,
    Joined,
    Refused,
    SchedulerToClient,
)

ANSWERS = Codec(Joined | Refused)
DOWN = Codec(SchedulerToClient)


class Ear(Owner):
    """The owner of a member's link."""

    def said(self, kind):
        return [each for each in self.messages if isinstance(each, kind)]


class House:
    """A scheduler that listens, as its process would be."""

    def __init__(self, steps, folder, journal=True, port=0, lost_after_s=30.0):
        self.steps = steps
        self.folder = folder
        self.now = time.time()
        self.journal = open_journal(steps.reactor, str(folder / "journal.db") if journal else "", Troubles())
        self.machine = scheduler_of(
            Who(epoch="e", cluster="c", python="3", version="0", pid=1, name="lab"), self.journal, None, lost_after_s
        )
        folder.mkdir(mode=0o700, exist_ok=True)
        self.admission = Admission(
            steps.reactor,
            "lab",
            parse_listen(f"tls:127.0.0.1:{port}"),
            folder / "authority",
            self.journal,
            lambda: self.now,
        )
        self.node = SchedulerNode(
            steps.reactor, self.machine, steps.turn, lambda reason: None, journal=self.journal, admission=self.admission
        )
        self.admission.open(self.node, steps.turn)
        self.authority = Authority.open(folder / "authority", "lab", self.now)
        self.opened = []
        self.inviter = self.member("client", "inviter")

    @property
    def port(self):
        return self.admission.listen.port

    def identity(self, role="client", name="box", authority=None, now=None):
        authority = authority or self.authority
        key = make_key()
        issued = authority.issue(public_bytes(key), role, name, self.now if now is None else now)
        return Identity.made(key, issued, authority.certificate)

    def connect(self, end, codec=DOWN):
        owner = Ear()
        link = Link(owner, self.steps.turn, self.steps.reactor, codec)
        self.opened.append(link)
        self.steps.result(ensureDeferred(connect_tls(self.steps.reactor, "127.0.0.1", self.port, link, end)))
        return link, owner

    def member(self, role="client", name="box", identity=None, hello=None):
        """One that says `Hello` with a certificate, and hears the answer."""
        link, owner = self.connect(ClientEnd(identity or self.identity(role, name)))
        self.say(link, Hello(PROTOCOL, hello or role, "3", "0", secrets.token_hex(8), 1, "elsewhere", 7, name, slots=2))
        self.steps.until(lambda: owner.messages or owner.lost)
        return link, owner

    def say(self, link, message):
        self.steps.turn.run(link.send, message)

    def ask(self, question, member=None):
        link, owner = member or self.inviter
        before = len(owner.said(Answer | Declined))
        self.say(link, Ask(before + 1, question))
        self.steps.until(lambda: len(owner.said(Answer | Declined)) > before or owner.lost)
        return owner.said(Answer | Declined)[-1]

    def invite(self, role="worker", uses=1, expires_s=600.0):
        """A new secret, of which the scheduler knows the digest."""
        secret = secrets.token_bytes(18)
        answer = self.ask(Invite(digest_of(secret), role, uses, expires_s))
        assert isinstance(answer, Answer), answer
        return secret

    def join(self, secret, key=None, fingerprint=None, protocol=PROTOCOL):
        """The answer to a `Join` with this secret."""
        link, owner = self.connect(JoiningEnd(fingerprint or self.authority.fingerprint), ANSWERS)
        text = secret if isinstance(secret, str) else secret.hex()
        sent = key if isinstance(key, bytes) else public_bytes(key or make_key())
        self.say(link, Join(protocol, text, sent))
        self.steps.until(lambda: owner.lost)
        assert len(owner.messages) == 1
        return owner.messages[0]

    def stop(self):
        for link in self.opened:
            link.abort("the test is over")
        gone = self.node.all_gone()
        self.node.end("the test is over")
        self.steps.until(lambda: gone.called)
        if self.journal is not None:
            self.journal.close()


def refused(house, log, answer, match, secret=b""):
    """It was, in the same words here and there, without the secret in them."""
    assert isinstance(answer, Refused) and re.search(match, answer.message), answer
    told = [line for line in log if re.search(match, line)]
    assert told and "127.0.0.1:" in told[-1], log
    if secret:
        for text in (*log, answer.message):
            assert secret.hex() not in text and repr(secret) not in text


def told_why(house, identity):
    """What a member that is refused in its handshake hears: an alert, after which the link ends."""
    link, owner = house.connect(ClientEnd(identity))
    house.say(link, Hello(PROTOCOL, "client", "3", "0", "p", 1, "h", 1))
    house.steps.until(lambda: owner.lost)
    assert not owner.messages
    return owner.lost[0][1]
