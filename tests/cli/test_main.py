"""The commands as a shell sees them, without a cluster."""

import contextlib
import signal
import subprocess
import sys
from unittest import mock

import pytest
from click.testing import CliRunner

from twistcluster.cli import scheduler, status, stop
from twistcluster.cli.main import COMMANDS, group
from twistcluster.cli.worker import command as worker_command
from twistcluster.errors import VersionMismatch
from twistcluster.net import connections
from twistcluster.net.version import VERSION
from twistcluster.wire.messages import ClusterStatus, WorkerStatus


def run(*arguments, command=group):
    return CliRunner().invoke(command, arguments)


@pytest.fixture
def published():
    """Connection files of clusters that live as long as this test."""
    locks = []

    def publish(cluster, name="", **fields):
        usual = {"kind": "local", "slots": 2, "pid": 7, "started": "2026-05-01T12:00:00+00:00", "socket": "/nowhere"}
        locks.append(connections.publish({"id": cluster, "name": name, **usual, **fields}))

    yield publish
    for lock in locks:
        lock.release()


def test_help_lists_the_commands_and_imports_none_of_them():
    code = (
        "import sys\nfrom twistcluster.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, timeout=60, check=True)
    *_, modules = ran.stdout.splitlines()
    for name in COMMANDS:
        assert f"\n  {name} " in ran.stdout
        assert f"twistcluster.cli.{name}" not in modules.split()
    assert "twisted" not in modules.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_commands_help_shows_an_example(name):
    ran = run(name, "--help")
    assert ran.exit_code == 0 and "Example:" in ran.output
    assert f"twistcluster {name}" in ran.output or f"twistcluster-{name}" in ran.output
    assert all(len(line) <= 120 for line in ran.output.splitlines())


def test_the_workers_script_has_the_same_help():
    ran = run("--help", command=worker_command)
    assert ran.exit_code == 0 and "twistcluster-worker --join lab --slots 2" in ran.output


def test_the_version():
    assert VERSION in run("--version").output


def test_an_unknown_command():
    ran = run("strat")
    assert ran.exit_code == 2 and "No such command 'strat'. Did you mean 'start'?" in ran.output
    ran = run("quux")
    assert ran.exit_code == 2 and "No such command 'quux'" in ran.output


def test_list_when_there_is_none():
    ran = run("list")
    assert ran.exit_code == 0
    assert ran.output == "You run no cluster on this machine. Start one:  twistcluster start\n"


def test_list(published):
    published("00000001", "lab")
    published("00000002", slots=16)
    published("00000003", "big", kind="scheduler", slots=0)
    assert run("list").output.splitlines() == [
        "name     id        kind       slots  pid  since (UTC)",
        "lab      00000001  local          2  7    2026-05-01 12:00",
        "(owned)  00000002  local         16  7    2026-05-01 12:00",
        "big      00000003  scheduler      0  7    2026-05-01 12:00",
    ]


@pytest.mark.parametrize("command", ["status", "stop", "jobs"])
def test_a_cluster_that_is_not_there(command):
    ran = run(command, "lab")
    assert ran.exit_code == 1
    assert ran.output.startswith("twistcluster: no cluster named 'lab' runs here")
    assert "`twistcluster start --name lab`" not in ran.output and "`twistcluster start lab`" in ran.output
    assert len(ran.output.splitlines()) <= 5


@pytest.mark.parametrize("arguments", [["status"], ["stop"], ["jobs"], ["logs", "train"], ["cancel", "train"]])
def test_no_cluster_at_all(arguments):
    ran = run(*arguments)
    assert ran.exit_code == 1 and "`twistcluster start` starts one" in ran.output


def test_which_of_several(published):
    published("00000001", "lab")
    published("00000002", "big")
    ran = run("status")
    assert ran.exit_code == 2 and "several clusters run, say which: lab, big" in ran.output


def test_status_says_which_worker_is_short_of_memory(monkeypatch):
    roomy = WorkerStatus("roomy", "here", 1, 2, 2, 1, {}, True, 0, 12.0)
    full = WorkerStatus("full", "there", 2, 2, 2, 1, {}, False, 0, 12.0, short="short of memory: 93%")
    found = ClusterStatus("ab", "lab", "e", 99, 75.0, False, ["nb (1)"], [roomy, full], 1, 5, 0, 0.0)

    class Told:
        def status(self):
            return found

    monkeypatch.setattr(status, "reached", lambda name: contextlib.nullcontext(Told()))
    ran = run("status", "lab")
    assert ran.exit_code == 0
    assert ran.output.splitlines()[-1] == "full is short of memory: 93%"
    assert ran.output.count("memory") == 1


def test_a_cluster_that_does_not_answer(published):
    published("00000001", "lab")
    ran = run("status", "lab")
    assert ran.exit_code == 1
    assert ran.output.startswith("twistcluster: no cluster listens at /nowhere")
    assert "`twistcluster stop lab --force` ends it" in ran.output and len(ran.output.splitlines()) <= 5


def test_a_cluster_whose_socket_is_gone_is_stopped_by_force(published, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    published("00000001", "lab", pid=child.pid)
    monkeypatch.setattr(stop, "END_SECONDS", 0.1)
    ran = run("stop", "lab")
    assert ran.exit_code == 1 and "twistcluster stop lab --force" in ran.output and child.poll() is None
    run("stop", "lab", "--force")
    assert child.wait(60) == -signal.SIGTERM
    child.stdin.close()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["start", "a b"], "a cluster can't be named 'a b'"),
        (["scheduler", "--name", "../lab"], "a cluster can't be named '../lab'"),
        (["start", "--idle-timeout", "soon"], "isn't"),
        (["start", "--slots", "-1"], "-1"),
        (["start", "--memory-limit", "1k"], "at least 64.0 MiB"),
        (["worker", "--join", "lab", "--memory-limit", "much"], "memory_limit is a number"),
        (["worker"], "--join"),
        (["worker", "--join", "lab", "--resources", "gpu"], "'gpu' is not NAME=AMOUNT, such as gpu=1"),
        (["worker", "--join", "lab", "--resources", "gpu=-1"], "'gpu=-1' is not NAME=AMOUNT"),
        (["worker", "--join", "lab", "--resources", "gpu=nan"], "'gpu=nan' is not NAME=AMOUNT"),
    ],
)
def test_what_was_meant_otherwise(arguments, text):
    ran = run(*arguments)
    assert ran.exit_code == 2 and text in ran.output
    assert len(ran.output.splitlines()) <= 6


def test_a_cluster_of_another_version_is_stopped_by_force(published, monkeypatch):
    def mismatched(target):
        raise VersionMismatch("This cluster runs Python 3.9")

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    published("00000001", "lab", pid=child.pid)
    monkeypatch.setattr(stop, "connect", mismatched)
    monkeypatch.setattr(stop, "END_SECONDS", 0.1)
    ran = run("stop", "lab")
    assert ran.exit_code == 1 and "This cluster runs Python 3.9" in ran.output
    assert "twistcluster stop lab --force" in ran.output and child.poll() is None
    run("stop", "lab", "--force")
    assert child.wait(60) == -signal.SIGTERM
    child.stdin.close()


@pytest.mark.parametrize("how", ["options", "variables", "nothing"])
def test_how_a_scheduler_logs(how, monkeypatch):
    given = []
    monkeypatch.setattr(scheduler, "run_scheduler", lambda *arguments: given.append(arguments) or 0)
    options = ("--log-format", "json", "--log-level", "error") if how == "options" else ()
    if how == "variables":
        monkeypatch.setenv("TWISTCLUSTER_LOG_FORMAT", "json")
        monkeypatch.setenv("TWISTCLUSTER_LOG_LEVEL", "error")
    ran = run("scheduler", "--store", "none", *options)
    assert ran.exit_code == 0, ran.output
    ((_, _, ready, _, _, level, form),) = given
    assert (level, form) == (("info", "text") if how == "nothing" else ("error", "json"))
    with mock.patch.object(scheduler, "announce") as said:
        ready("file", "tls:0.0.0.0:1")
    assert bool(said.called) == (form == "text")  # who reads JSON wants nothing else
