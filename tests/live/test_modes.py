"""Modes of all that a cluster and its members make: right from the first instant, whatever the umask, as strace sees it.

A mode that is mended after an instant looks the same afterwards; so this looks at the calls themselves.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import twistcluster as tc
from tests.live import modes
from tests.live.conftest import named, runs
from tests.tools import require, until
from twistcluster.client.launch import find
from twistcluster.net.token import VARIABLE

WANTED = {
    "runtime folder": r"mkdir .*/run/twistcluster$",
    "cluster's folder": r"mkdir .*/run/twistcluster/[0-9a-f]{8}$",
    "socket": r"bind .*/run/twistcluster/[0-9a-f]{8}/socket$",
    "lock of the name": r"openat .*/run/twistcluster/lab\.lock$",
    "connection file": r"openat .*/jupyter/\.twistcluster-\w+$",
    "state folder": r"mkdir .*/state/twistcluster$",
    "folder of logs": r"mkdir .*/state/twistcluster/logs$",
    "log": r"openat .*/state/twistcluster/logs/lab-[0-9a-f]{8}\.log$",
    "journal's folder": r"mkdir .*/state/twistcluster/lab$",
    "journal": r"openat .*/state/twistcluster/lab/journal\.db$",
    "journal's WAL": r"openat .*/state/twistcluster/lab/journal\.db-wal$",
    "how it was started": r"openat .*/state/twistcluster/lab/cluster\.new$",
    "authority": r"mkdir .*/state/twistcluster/lab/authority$",
    "CA's key": r"openat .*/state/twistcluster/lab/authority/\.authority\.pem-[0-9a-f]+$",
    "store": r"mkdir .*/twistcluster-\d+-[0-9a-f-]+\.new$",
    "store on the disk": r"mkdir .*/twistcluster-\d+-[0-9a-f-]+-disk\.new$",
    "value": r"openat .*/twistcluster-\d+-[0-9a-f-]+/.+$",
    "members": r"mkdir .*/there/state/twistcluster/members$",
    "member's folder": r"mkdir .*/there/state/twistcluster/members/127\.0\.0\.1_\d+$",
    "member's key": r"openat .*/members/127\.0\.0\.1_\d+/worker/\.identity\.pem-[0-9a-f]+$",
    "key of who joins": r"openat .*/members/127\.0\.0\.1_\d+/\.joining\.pem-[0-9a-f]+$",
    "worker's folder": r"mkdir .*/there/run/twistcluster/worker-[0-9a-f]{8}$",
    "copy of a value": r"openat .*/state/twistcluster/lab/kept/.+$",
    "folder of a slot": r"mkdir .*/run/twistcluster/[0-9a-f]{8}/slot-1$",
    "worker's store": r"mkdir .*/twistcluster-\d+-worker-[0-9a-f-]+\.new$",
}

OURS = re.compile(r"/(\.?twistcluster|members|jupyter|there)\b")
IN_A_SLOT = re.compile(r"/slot-\d+/")
"""What lies in a slot's private folder has the modes that its user's files have."""


@pytest.fixture
def traced(tmp_path):
    """Programs under strace, with a umask that takes nothing."""
    strace = require("strace")
    children = []

    def traced(name, *command, **environment):
        trace = tmp_path / f"{name}.trace"
        log = (tmp_path / f"{name}.log").open("wb")
        arguments = [strace, "-f", "-y", "-qq", "-s", "4096", "--seccomp-bpf", "-e", "signal=none"]
        child = subprocess.Popen(
            [*arguments, "-e", f"trace={modes.CALLS}", "-o", trace, sys.executable, "-m", "twistcluster", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},  # what Python writes is not ours
            umask=0,
            start_new_session=True,
        )
        log.close()
        children.append(child)
        return child, trace

    yield traced
    for child in children:
        if child.poll() is None:
            child.terminate()
        child.wait(15)


def made_in(trace):
    with trace.open() as lines:
        return list(modes.made(lines))


def test_nobody_else_ever_has_a_right_to_what_a_cluster_and_its_members_make(traced, tmp_path, stores_apart):
    cluster, trace = traced("cluster", "start", "lab", "-n", "1", "--listen", "tls:127.0.0.1:0")
    pid = until(lambda: named("lab") and find("lab").pid, 60, "the cluster")
    lab = tc.connect("lab")
    try:
        elsewhere = Path(os.environ["XDG_RUNTIME_DIR"]).parent / "there"  # a socket's path must be short
        there = {"XDG_STATE_HOME": str(elsewhere / "state"), "XDG_RUNTIME_DIR": str(elsewhere / "run")}
        (elsewhere / "run").mkdir(parents=True)
        invitation = lab.invite()
        member, members_trace = traced(
            "member",
            *("worker", "--join", invitation.addresses[0], "-n", "1", "--name", "far"),
            **{VARIABLE: invitation.token},
            **there,
        )
        until(lambda: member.poll() is not None or [w for w in lab.workers() if w.name == "far" and w.ready], 60, "far")
        values = lab.map(bytes, [100_000] * 8)
        values.keep()
        assert all(map(len, values.results()))
        until(lambda: values.kept, 30, "copies on the disk")
    finally:
        lab.stop(force=True)
        until(lambda: not runs(pid), 30, "the cluster's end")
    assert (cluster.wait(30), member.wait(30)) == (0, 0), (tmp_path / "member.log").read_text()
    found = [*made_in(trace), *made_in(members_trace)]
    ours = [each for each in found if OURS.search(each.path) and not IN_A_SLOT.search(each.path)]
    assert not modes.wide(ours)
    lines = [f"{each.call} {each.path}" for each in ours]
    missing = [name for name, pattern in WANTED.items() if not any(re.search(pattern, line) for line in lines)]
    assert not missing, "\n".join(lines)


# ---- that the reading of traces sees what it is to see ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (['7 openat(AT_FDCWD</w>, "/a", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3</a>'], ["openat /a 666"]),
        (['7 openat(4</w/x>, "a", O_RDWR|O_CREAT, 0644) = 3</w/x/a>'], ["openat /w/x/a 644"]),
        (["7 umask(0177) = 000", '7 open("/a", O_RDWR|O_CREAT, 0644) = 3'], []),
        (["7 umask(0177) = 000", '8 open("/a", O_RDWR|O_CREAT, 0644) = 3'], ["open /a 644"]),
        (['7 open("/a", O_CREAT|O_EXCL, 0600) = 3', '8 open("/a", O_CREAT, 0644) = 4'], []),
        (['7 open("/a", O_CREAT, 0600) = 3', '7 unlink("/a") = 0', '8 open("/a", O_CREAT, 0644) = 4'], ["open /a 644"]),
        (['7 mkdir("/a", 0777 <unfinished ...>', "8 umask(0) = 0", "7 <... mkdir resumed>) = 0"], ["mkdir /a 777"]),
        (['7 mkdir("/a", 0777) = -1 EEXIST (File exists)', '7 open("/a", O_RDONLY) = 3'], []),
        (['7 mkdir("/a", 0700) = 0', '7 chmod("/a", 0755) = 0'], ["chmod /a 755"]),
        (["7 fchmod(3</a/b>, 0640) = 0", '7 fchmodat(AT_FDCWD</w>, "b", 0604) = 0'], ["fchmod /a/b 640", "fchmodat /w/b 604"]),
        (['7 bind(3<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="/s"}, 47) = 0'], ["bind /s 777"]),
        (["7 umask(0177) = 022", '7 bind(3<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="/s"}, 47) = 0'], []),
        (['7 mkdir("/a.new", 0700) = 0', '7 open("/a.new/b", O_CREAT, 0600) = 3', '7 rename("/a.new", "/a") = 0', '7 open("/a/b", O_CREAT, 0644) = 3'], []),
    ],
)  # fmt: skip
def test_what_is_read_from_a_trace(lines, found):
    assert [f"{each.call} {each.path} {each.mode:o}" for each in modes.wide(modes.made(lines))] == found
