"""Clients and workers of a cluster on another machine: over TLS on loopback, joining, coming back, being shut out."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import twistcluster as tc
from tests.elsewhere import Elsewhere
from tests.live.conftest import left_behind
from tests.tools import until
from twistcluster.net import token as token_module
from twistcluster.net.members import known_members, member_folder
from twistcluster.net.tls.membership import Membership
from twistcluster.net.token import VARIABLE

DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    """A process remembers the token that it took."""
    monkeypatch.setattr(token_module, "_taken", None)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def lab(tmp_path):
    made = Elsewhere(tmp_path / "lab")
    yield made
    made.end()


def connect(lab, monkeypatch):
    monkeypatch.setenv(VARIABLE, lab.token().text)
    return tc.connect(lab.address.url)


def joined(lab, clusters, *more):
    token = lab.token("worker").text
    return clusters.worker(str(lab.address), 1, "--name", "far", *more, env={**os.environ, VARIABLE: token})


def test_a_client_joins_and_works_with_a_worker_that_joined(lab, clusters, monkeypatch):
    worker = joined(lab, clusters)
    cluster = connect(lab, monkeypatch)
    assert VARIABLE not in os.environ
    assert cluster.name == "lab" and cluster.id == lab.address.url
    assert cluster.map(abs, range(-50, 0)).results() == [*range(50, 0, -1)]
    assert cluster.submit(os.environ.get, VARIABLE).result(DEADLINE_S) is None
    assert tc.connect(lab.address.url).submit(abs, -1).result(DEADLINE_S) == 1  # the same link
    cluster.close()
    again = tc.connect(lab.address.url)  # without a token
    assert [each.name for each in again.workers()] == ["far"]
    assert len(lab.asked("Join")) == 2
    again.stop(force=True)
    assert worker.wait(60) == 0
    assert not left_behind()


# ---- joining -----------------------------------------------------------------------------------------------------------


def test_who_has_not_joined_is_told_how(lab):
    with pytest.raises(tc.AccessDenied, match="hasn't joined the cluster at .* invite NAME --role client"):
        tc.connect(lab.address.url)
    with pytest.raises(ValueError, match="tls://HOST:PORT"):
        tc.connect("tls://box")


def test_a_lost_answer_is_asked_for_again_with_the_same_key(lab, monkeypatch):
    (lab.folder / "lose").touch()
    with pytest.raises(tc.ClusterUnreachable, match="before the answer came.*the same token is still good"):
        connect_with(lab, lab.token(), monkeypatch)
    tc.connect(lab.address.url).close()  # with the token that this process remembers
    assert len(lab.asked("Join")) == 2 and len(known_members()) == 1
    folder = member_folder(lab.address)
    assert [path.name for path in folder.iterdir()] == ["client"]
    modes = {path: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert {path.name: mode for path, mode in modes.items()} == {
        "client": 0o700,
        "identity.pem": 0o600,
        "about.json": 0o600,
    }


def connect_with(lab, token, monkeypatch):
    monkeypatch.setenv(VARIABLE, token.text)
    return tc.connect(lab.address.url)


def test_a_token_is_spent_once_and_a_new_one_brings_a_new_certificate(lab, monkeypatch):
    token = lab.token()
    connect_with(lab, token, monkeypatch).close()
    first = Membership(lab.address, "client").identity().serial
    connect_with(lab, token, monkeypatch).close()
    assert Membership(lab.address, "client").identity().serial == first and len(lab.asked("Join")) == 1
    connect_with(lab, lab.token(), monkeypatch).close()
    assert Membership(lab.address, "client").identity().serial != first


def test_a_token_that_isnt_taken(lab, monkeypatch):
    stranger = token_module.new_token(lab.authority.fingerprint, os.urandom)
    with pytest.raises(tc.AccessDenied, match="isn't known here") as caught:
        connect_with(lab, stranger, monkeypatch)
    assert stranger.text not in str(caught.value)
    other = token_module.new_token(bytes(32), os.urandom)
    with pytest.raises(tc.AccessDenied, match="CA didn't issue"):
        connect_with(lab, other, monkeypatch)
    monkeypatch.setenv(VARIABLE, "tc1_xyz")
    with pytest.raises(tc.AccessDenied, match="3 characters after"):
        tc.connect(lab.address.url)


def test_a_workers_token_makes_no_client(lab, monkeypatch):
    with pytest.raises(tc.AccessDenied, match="one for a worker.*--role client"):
        connect_with(lab, lab.token("worker"), monkeypatch)
    assert [note.role for note in known_members()] == ["worker"]


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "twistcluster", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_the_command_join(lab):
    done = command("join", str(lab.address), "--token-stdin", input=lab.token().text + "\n")
    assert done.returncode == 0, done.stderr
    assert f"Joined the cluster 'lab' at {lab.address} as a client" in done.stdout
    tc.connect(lab.address.url).close()
    listed = command("list").stdout
    assert lab.address.url in listed and "client" in listed
    status = command("status", lab.address.url)
    assert status.returncode == 0 and "twistcluster-worker --join" in status.stdout, status.stderr
    for arguments, told in (
        (("join", str(lab.address)), "there is no token"),
        (("join", "box"), "isn't the address of a cluster"),
    ):
        done = command(*arguments)
        assert done.returncode and told in done.stderr
    stopped = command("stop", lab.address.url)
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout == f"The cluster at {lab.address} was told to end.\n"
    lab.process.wait(15)


def test_programs_that_join_at_once_with_one_token_become_one_member(lab, tmp_path):
    code = "import sys, twistcluster as tc; tc.connect(sys.argv[1]).close()"
    environment = {**os.environ, VARIABLE: lab.token().text}
    both = [
        subprocess.Popen([sys.executable, "-c", code, lab.address.url], env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [each.communicate(timeout=60)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0, 0], told


# ---- being shut out ----------------------------------------------------------------------------------------------------


def test_who_was_denied_reads_why(lab, clusters, monkeypatch):
    connect(lab, monkeypatch).close()
    lab.deny(Membership(lab.address, "client").identity().serial)
    with pytest.raises(tc.AccessDenied, match="didn't take this program's certificate: it was denied"):
        tc.connect(lab.address.url)
    connect(lab, monkeypatch).close()  # a new token helps


def test_a_worker_that_was_denied_ends(lab, clusters):
    worker = joined(lab, clusters)
    lab.says("worker joined")
    lab.deny(Membership(lab.address, "worker").identity().serial)
    lab.kill()
    lab.start()
    assert worker.wait(30) == 3
    assert "it was denied" in worker.stdout.read()
    again = clusters.worker(str(lab.address))
    assert again.wait(30) == 1
    assert "it was denied" in again.stdout.read()


# ---- coming back -------------------------------------------------------------------------------------------------------


def slow(x):
    time.sleep(0.05)
    return -x


def test_a_job_goes_on_when_the_scheduler_is_back(lab, clusters, monkeypatch):
    joined(lab, clusters)
    cluster = connect(lab, monkeypatch)
    job = cluster.map(slow, range(60))
    until(lambda: job.progress().done > 5, DEADLINE_S)
    lab.kill()
    until(lambda: "looking for it" in repr(cluster), DEADLINE_S)
    lab.start()
    assert job.results() == [-x for x in range(60)]
    cluster.close()


@pytest.mark.parametrize("who", ["client", "worker"])
def test_silence_is_a_loss(lab, clusters, monkeypatch, who):
    """A scheduler that is stopped says as little as one behind a cut cable."""
    monkeypatch.setenv("TWISTCLUSTER_LOST_AFTER", "3")
    worker = joined(lab, clusters)
    lab.says("worker joined")
    cluster = connect(lab, monkeypatch)
    lab.process.send_signal(signal.SIGSTOP)
    if who == "client":
        until(lambda: "looking for it" in repr(cluster), DEADLINE_S)
        lab.process.send_signal(signal.SIGCONT)
        until(lambda: "connected" in repr(cluster), DEADLINE_S)
    else:
        time_out = time.monotonic() + DEADLINE_S
        line = ""
        while "nothing was heard from" not in line:
            line = worker.stdout.readline()
            assert line and time.monotonic() < time_out
        lab.process.send_signal(signal.SIGCONT)
        lab.says("worker joined", 2)
    assert cluster.submit(abs, -1).result(DEADLINE_S) == 1
    cluster.close()


# ---- the worker's process ----------------------------------------------------------------------------------------------


def test_a_killed_workers_folder_goes_when_the_next_one_starts(lab, clusters):
    first = joined(lab, clusters)
    lab.says("worker joined")
    before = left_behind()
    assert any(path.endswith(".lock") for path in before)
    slots = psutil.Process(first.pid).children()
    first.kill()
    first.wait()
    psutil.wait_procs(slots, 15)
    assert left_behind()
    second = clusters.worker(str(lab.address), env=os.environ)
    lab.says("worker joined", 2)
    assert not set(before) & set(left_behind())
    second.terminate()
    assert second.wait(60) == 0
    assert not left_behind()


def test_every_option_of_a_worker_is_also_a_variable(lab, tmp_path):
    environment = {
        **os.environ,
        VARIABLE: lab.token("worker").text,
        "TWISTCLUSTER_JOIN": str(lab.address),
        "TWISTCLUSTER_SLOTS": "2",
        "TWISTCLUSTER_NAME": "by variable",
        "TWISTCLUSTER_RESOURCES": "gpu=1,disk=2",
        "TWISTCLUSTER_MEMORY_LIMIT": "2GiB",
        "TWISTCLUSTER_WAIT": "20s",
        "TWISTCLUSTER_PORT": "0",
        "TWISTCLUSTER_LOG_LEVEL": "info",
        "TWISTCLUSTER_LOG_FORMAT": "json",
    }
    code = "from twistcluster.cli.worker import main; main()"
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=log, stderr=log)
    said = tmp_path / "log"
    try:
        lab.says("worker='by variable' slots=2 resources=\"{'gpu': 1.0, 'disk': 2.0}\"")
        until(lambda: "worker joined" in said.read_text(), DEADLINE_S, "the worker's own line")
    finally:
        worker.terminate()
        assert worker.wait(60) == 0
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    (line,) = [line for line in lines if line["event"] == "worker joined"]
    assert line == {
        "time": line["time"],
        "level": "info",
        "event": "worker joined",
        "worker": "by variable",
        "cluster": str(lab.address),
    }


def test_a_token_isnt_seen_where_others_look(lab, clusters):
    """Neither among the arguments nor in a log; and a slot's environment has none."""
    token = lab.token("worker")
    worker = clusters.worker(str(lab.address), env={**os.environ, VARIABLE: token.text})
    lab.says("worker joined")
    slots = until(lambda: psutil.Process(worker.pid).children())
    for process in [psutil.Process(worker.pid), *slots]:
        assert token.text not in " ".join(process.cmdline())
    for slot in slots:
        assert VARIABLE not in slot.environ()
    worker.terminate()
    worker.wait(60)
    for text in (worker.stdout.read(), lab.log()):
        assert token.text not in text and token.secret.hex() not in text


# ---- renewal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["client", "worker"])
def test_a_certificate_is_renewed_before_it_ends(tmp_path, clusters, monkeypatch, role):
    lab = Elsewhere(tmp_path / "short", life_s=600.0)  # it began an hour ago, and ends in ten minutes
    try:
        if role == "client":
            cluster = connect(lab, monkeypatch)
        else:
            joined(lab, clusters)
        member = Membership(lab.address, role)
        until(lambda: lab.asked("Renew"), DEADLINE_S)
        ((_, before),) = lab.asked("Renew")
        until(lambda: member.identity().serial != before, DEADLINE_S)
        identity = member.identity()
        assert identity.ends_at > time.time() + 3000 and identity.role == role
        if role == "client":
            cluster.close()
            tc.connect(lab.address.url).close()
            assert len(lab.asked("Join")) == 1
    finally:
        lab.end()
