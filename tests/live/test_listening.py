"""Clusters that take members from other machines: listening, inviting, denying, and coming back with all of it."""

import re
import secrets
import socket
import stat
from pathlib import Path

import pytest
from twisted.internet.defer import ensureDeferred

import twistcluster as tc
from tests.live.conftest import kill
from tests.live.test_commands import run
from tests.net.conftest import Owner, Steps
from tests.tools import until
from twistcluster.client.launch import find, start_local
from twistcluster.client.session import python_version
from twistcluster.errors import OptionsDiffer, TwistclusterError
from twistcluster.net.link import Link
from twistcluster.net.listening import parse_listen
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.ends import ClientEnd, JoiningEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import connect_tls
from twistcluster.net.token import Token
from twistcluster.wire.codec import Codec
from twistcluster.wire.messages import PROTOCOL, Hello, Join, Joined, Refused, SchedulerToWorker, Welcome

ANYWHERE = "tls:127.0.0.1:0"

pytestmark = pytest.mark.usefixtures("stores_gone")


class Elsewhere:
    """A program on another machine, as far as the cluster can see."""

    def __init__(self):
        self.steps = Steps()
        self.links = []

    def connect(self, port, end, codec):
        owner = Owner()
        link = Link(owner, self.steps.turn, self.steps.reactor, codec)
        self.links.append(link)
        self.steps.result(ensureDeferred(connect_tls(self.steps.reactor, "127.0.0.1", port, link, end)))
        return link, owner

    def join(self, port, token, key):
        link, owner = self.connect(port, JoiningEnd(token.fingerprint), Codec(Joined | Refused))
        self.steps.turn.run(link.send, Join(PROTOCOL, token.secret.hex(), public_bytes(key)))
        self.steps.until(lambda: owner.lost)
        return owner.messages[0]

    def worker(self, port, identity, name="far"):
        link, owner = self.connect(port, ClientEnd(identity), Codec(SchedulerToWorker))
        hello = Hello(PROTOCOL, "worker", python_version(), "0", secrets.token_hex(8), 1, "elsewhere", 7, name)
        self.steps.turn.run(link.send, hello)
        self.steps.until(lambda: owner.messages or owner.lost)
        return owner

    def close(self):
        for link in self.links:
            link.abort("the test is over")
        self.steps.reactor.iterate(0)
        self.steps.close()


@pytest.fixture
def elsewhere():
    made = Elsewhere()
    yield made
    made.close()


@pytest.fixture
def lab(clusters):
    """A named cluster that listens, as its client has it."""
    clusters.local(slots=0, listen=ANYWHERE)
    cluster = tc.connect("lab")
    yield cluster
    cluster.close(wait=False)


def port_of(name="lab"):
    return parse_listen(find(name).listen).port


def test_a_worker_elsewhere_joins_and_is_shown_and_denied(lab, elsewhere):
    invitation = lab.invite()
    pattern = rf"TWISTCLUSTER_TOKEN=(tc1_\S+) twistcluster-worker --join 127.0.0.1:{port_of()}\nGood once, until [0-9:]{{5}}\."
    token = Token.parse(re.match(pattern, repr(invitation))[1])
    key = make_key()
    answer = elsewhere.join(port_of(), token, key)
    identity = Identity.made(key, answer.certificate, answer.authority)
    owner = elsewhere.worker(port_of(), identity)
    assert isinstance(owner.messages[0], Welcome)
    assert {each.name: each.serial for each in lab.workers()} == {"local": "", "far": identity.serial}
    assert identity.serial in repr(lab.workers()) and identity.serial in repr(lab.status())
    assert f"far is on another machine, serial {identity.serial}\n" in run("status", "lab")[0]
    text, code = run("deny", "lab", identity.serial.upper())
    assert (text, code) == (f"{identity.serial} is shut out; 1 connection was closed.\n", 0)
    elsewhere.steps.until(lambda: owner.lost)
    until(lambda: len(lab.workers()) == 1, what="the end of the worker's link")
    assert lab.deny(identity.serial) == 0


def test_inviting_from_a_shell(lab):
    text, code = run("invite", "lab", "--role", "client", "--uses", "3", "--expires", "1h")
    assert code == 0
    assert re.match(
        rf"TWISTCLUSTER_TOKEN=tc1_\S+ twistcluster join 127.0.0.1:{port_of()}\nGood 3 times, until [0-9:]{{5}}\.", text
    ), text
    assert f'tc.connect("tls://127.0.0.1:{port_of()}")' in text
    invited = text
    text, code = run("deny", "lab", "Bob")
    assert code == 2 and "'Bob' is no serial" in text and "Traceback" not in text
    taken = re.search(r"\nTake it back:  twistcluster deny lab (client-[0-9a-f]{6})\n", invited)[1]
    text, code = run("deny", "lab", taken)
    assert (code, text) == (
        0,
        f"The token {taken} is taken back. Who joined with it before stays: `twistcluster status` shows serials.\n",
    )
    line = next(line for line in Path(find("lab").log).read_text().splitlines() if "a token was made" in line)
    assert re.search(rf" name={taken} .* by='.*, process \d+ on this machine'$", line), line
    text, code = run("invite", "lab", "--expires", "31d")
    assert code == 2 and "good for up to 30 days" in text and "Traceback" not in text


def test_what_cant_be_invited(lab, clusters):
    for options, match in [
        ({"role": "scheduler"}, "it is 'client' or 'worker'"),
        ({"uses": 0}, "uses"),
        ({"uses": 1001}, "1 to 1,000"),
        ({"expires": "31d"}, "good for up to"),
        ({"expires": 0}, "good for up to|expires"),
    ]:
        with pytest.raises(ValueError, match=match):
            lab.invite(**options)
    clusters.local("alone", slots=0)
    alone = tc.connect("alone")
    for asks in (alone.invite, lambda: alone.deny("af")):
        with pytest.raises(Exception, match="takes nobody from other machines. One that does is started with listen="):
            asks()
    with pytest.raises(OptionsDiffer, match=r"listen=nothing \(you asked for tls:127.0.0.1:0\)"):
        tc.Cluster("alone", listen=ANYWHERE)
    alone.close(wait=False)


def test_nothing_but_tls_and_only_with_a_name(clusters):
    with pytest.raises(ValueError, match="with tls: only"):
        tc.Cluster("lab", listen="tcp:0.0.0.0:8930")
    with pytest.raises(ValueError, match="for listen give it a name, too"):
        tc.Cluster(listen=ANYWHERE)
    for command in ("start", "scheduler"):
        name = ["lab"] if command == "start" else ["--name", "lab"]
        text, code = run(command, *name, "--listen", "tcp:0.0.0.0:8930")
        assert code == 2 and "with tls: only" in text, text


def test_a_port_that_is_taken(clusters):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = f"tls:127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TwistclusterError, match="could not start: .*Address already in use"):
            start_local("lab", 0, listen=there)


def test_one_that_runs_is_found_if_it_listens_there(lab):
    tc.Cluster("lab", listen=ANYWHERE).close(wait=False)
    tc.Cluster("lab", listen=find("lab").listen).close(wait=False)
    tc.Cluster("lab").close(wait=False)
    with pytest.raises(OptionsDiffer, match=r"listen=tls:127.0.0.1:\d+ \(you asked for tls:0.0.0.0:0\)"):
        tc.Cluster("lab", listen="tls:0.0.0.0:0")


def test_it_comes_back_with_its_port_tokens_and_denials(clusters, elsewhere):
    clusters.local(slots=1, listen=ANYWHERE)
    cluster, port = tc.connect("lab"), port_of()
    used, fresh, key = (Token.parse(cluster.invite().token) for _ in range(2)), None, make_key()
    used, fresh = used
    first = elsewhere.join(port, used, key)
    identity = Identity.made(key, first.certificate, first.authority)
    cluster.deny(identity.serial)
    cluster.close(wait=False)
    kill(find("lab").pid)
    again = tc.connect("lab")
    clusters.pids.append(again.status().pid)
    assert port_of() == port
    assert elsewhere.join(port, used, key) == first
    assert "with another key" in elsewhere.join(port, used, make_key()).message
    owner = elsewhere.worker(port, identity)
    assert owner.lost and not owner.messages
    assert isinstance(elsewhere.join(port, fresh, make_key()), Joined)
    again.stop(force=True)
    # Ended in good order, and started with any port: it is the one that members know.
    clusters.local(slots=0, listen=ANYWHERE)
    assert port_of() == port


def test_a_scheduler_that_listens(clusters, elsewhere):
    child, connection = clusters.scheduler("lab", "--listen", ANYWHERE)
    port = parse_listen(connection.listen).port
    line = f"It listens at tls:127.0.0.1:{port}. Invite another machine:  twistcluster invite lab\n"
    assert line in [child.stdout.readline() for _ in range(4)]
    cluster = tc.connect("lab")
    token = Token.parse(cluster.invite("client").token)
    cluster.close(wait=False)
    child.kill()
    child.wait()
    _, connection = clusters.scheduler("lab")  # it isn't asked to listen: it did when it died
    assert parse_listen(connection.listen).port == port
    assert isinstance(elsewhere.join(port, token, make_key()), Joined)


def test_a_cluster_without_a_journal_listens_too(clusters, elsewhere):
    clusters.local(slots=0, listen=ANYWHERE, store=None)
    cluster = tc.connect("lab")
    assert isinstance(elsewhere.join(port_of(), Token.parse(cluster.invite().token), make_key()), Joined)
    cluster.close(wait=False)


def test_secrets_are_nowhere(lab, elsewhere):
    """Neither in what all users can see of a process, nor in logs, nor in files but the CA's own."""
    token = Token.parse(lab.invite().token)
    answer = elsewhere.join(port_of(), token, make_key())
    assert isinstance(answer, Joined)
    assert isinstance(elsewhere.join(port_of(), token, make_key()), Refused)
    found = find("lab")
    forms = [token.text.encode(), token.secret, token.secret.hex().encode(), repr(token.secret).encode()]
    places = [Path(f"/proc/{found.pid}/{part}") for part in ("cmdline", "environ")]
    state = Path(found.journal).parent
    places += [Path(found.log), Path(found.connection_file), *(path for path in state.rglob("*") if path.is_file())]
    for path in places:
        data = path.read_bytes()
        assert not [form for form in forms if form in data], path
    assert b"this token was used already" in Path(found.log).read_bytes()
    assert stat.S_IMODE((state / "authority").stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "authority" / "authority.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(found.connection_file).stat().st_mode) == 0o600
