"""Commands without a kernel."""

from types import SimpleNamespace

from twistcluster.jupyter.commands import ACTIONS
from twistcluster.wire.messages import ClusterStatus, WorkerStatus


def test_status_says_which_worker_is_short_of_memory(capsys):
    workers = [
        WorkerStatus("roomy", "here", 1, 2, 2, 1, {}, True, 0, 12.0),
        WorkerStatus("full", "there", 2, 2, 2, 1, {}, False, 0, 12.0, short="short of memory: 93%"),
    ]
    found = ClusterStatus("ab", "lab", "e", 99, 75.0, False, ["nb (1)"], workers, 1, 5, 0, 0.0)
    ACTIONS["status"](SimpleNamespace(cluster=lambda: SimpleNamespace(status=lambda: found)), None)
    out = capsys.readouterr().out
    assert "\nfull is short of memory: 93%\n" in out and out.count("memory") == 1
