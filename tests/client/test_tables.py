from twistcluster.client.tables import Workers, remarks
from twistcluster.wire.messages import WorkerStatus


def worker(name, **more):
    said = {"host": "h", "pid": 1, "slots": 2, "ready": 2, "busy": 0, "resources": {}, "local": False}
    return WorkerStatus(name=name, crashes=0, since=1.0, **said, **more)


def test_a_line_for_each_thing_that_is_the_matter():
    workers = [
        worker("well"),
        worker("full", short="short of memory: 93% used"),
        worker("mute", suspect="silent for 7 s"),
        worker("held", stopped=[77, 78]),
        worker("going", leaving=True),
    ]
    assert remarks(workers) == [
        "full is short of memory: 93% used",
        "mute is a suspect (silent for 7 s): it gets nothing new until it answers",
        "held has stopped slots: kill -CONT 77 78 lets them go on",
        "going is leaving: it finishes what it runs",
    ]
    assert repr(Workers(workers)).splitlines()[-4:] == remarks(workers)
    assert not remarks(workers[:1])
