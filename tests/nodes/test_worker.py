"""A worker node with real slots, and a scheduler that is a script."""

import os
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nodes.nodes import LiveWorker
from twistcluster.nodes import slots
from twistcluster.nodes.slots import default_slots, surroundings, told
from twistcluster.wire.messages import (
    Blob,
    Context,
    Crashed,
    Failure,
    Lease,
    Printed,
    Released,
    Report,
    RestartSlots,
    Revoke,
    Running,
    Scale,
    SlotsChanged,
    Step,
    StepDone,
    Stop,
)


@pytest.fixture
def worker(tmp_path: pathlib.Path) -> Iterator[LiveWorker]:
    live = LiveWorker(tmp_path)
    yield live
    live.close()


def ready(worker: LiveWorker) -> bool:
    return bool(worker.said(SlotsChanged)) and worker.said(SlotsChanged)[-1].ready == 2


def test_a_map(worker: LiveWorker) -> None:
    job = worker.job(abs, list(range(-20_000, 0)))
    worker.until(lambda: worker.finished(job) == 20_000)
    assert worker.results(job) == {index: 20_000 - index for index in range(20_000)}


def test_arrays_both_ways(worker: LiveWorker) -> None:
    numpy = pytest.importorskip("numpy")
    job = worker.job(lambda array: array + 1, [numpy.full(300_000, number) for number in range(5)])
    worker.until(lambda: worker.finished(job) == 5)
    assert [int(worker.results(job)[number].sum()) for number in range(5)] == [300_000 * (n + 1) for n in range(5)]


def test_errors_and_output_arrive_under_their_lease(worker: LiveWorker) -> None:
    def shout(x: int) -> float:
        print("item", x)
        return 1 / x

    job = worker.job(shout, [1, 0, 2])
    worker.until(lambda: worker.finished(job) == 2 and worker.said(Failure) and len(worker.said(Printed)) == 3)
    assert {(p.lease, p.index, p.text) for p in worker.said(Printed)} == {
        (job, i, f"item {x}\n") for i, x in enumerate((1, 0, 2))
    }
    assert [(f.lease, f.index, f.error.type) for f in worker.said(Failure)] == [(job, 1, "ZeroDivisionError")]


def test_slots_are_processes_of_their_own_in_clean_surroundings(worker: LiveWorker) -> None:
    def look(x: int) -> list[object]:
        time.sleep(0.05)
        names = ("MPLBACKEND", "OMP_NUM_THREADS", "TWISTCLUSTER_SLOT", "JPY_PARENT_PID")
        return [os.getpid(), os.getpgrp() == os.getpid(), *(os.environ.get(name) for name in names)]

    job = worker.job(look, [0] * 8)
    worker.until(lambda: worker.finished(job) == 8)
    found = list(worker.results(job).values())
    assert len({one[0] for one in found}) == 2 and os.getpid() not in {one[0] for one in found}
    assert all(one[1:] == [True, "Agg", "1", "1", None] for one in found)


def test_what_waits_behind_a_long_item_runs_in_the_other_slot(worker: LiveWorker, tmp_path: pathlib.Path) -> None:
    gate = str(tmp_path / "gate")

    def work(x: int) -> int:
        while x == 20 and not pathlib.Path(gate).exists():
            time.sleep(0.001)
        time.sleep(0.001)
        return x

    job = worker.job(work, list(range(200)))
    worker.until(lambda: worker.finished(job) == 199)
    worker.until(lambda: any(message.items for message in worker.said(Running)))
    assert worker.said(Running)[-1].items[0][:2] == (job, 20)
    pathlib.Path(gate).touch()
    worker.until(lambda: worker.finished(job) == 200)
    assert set(worker.results(job)) == set(range(200))


def test_a_slot_that_dies_is_replaced_and_its_item_told(worker: LiveWorker) -> None:
    def die(x: int) -> int:
        if x == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    job = worker.job(die, list(range(50)))
    worker.until(lambda: worker.finished(job) == 49)
    (crashed,) = worker.said(Crashed)
    assert (crashed.lease, crashed.index, crashed.reason) == (job, 5, "signal 9 (SIGKILL)")
    worker.until(lambda: ready(worker))
    assert worker.said(SlotsChanged)[-1].crashes == 1


def test_an_exit_of_user_code_is_told_with_its_code(worker: LiveWorker) -> None:
    job = worker.job(lambda x: os._exit(3), [1])
    worker.until(lambda: worker.said(Crashed))
    (crashed,) = worker.said(Crashed)
    assert (crashed.lease, crashed.index, crashed.reason, crashed.first) == (job, 0, "exit code 3", True)


def test_what_a_dead_slot_left_behind_ends_too(worker: LiveWorker, tmp_path: pathlib.Path) -> None:
    def leave(x: str) -> None:
        import subprocess

        child = subprocess.Popen(["sleep", "100"])
        pathlib.Path(x).write_text(str(child.pid))
        os._exit(1)

    file = tmp_path / "pid"
    worker.job(leave, [str(file)])
    worker.until(lambda: worker.said(Crashed))
    stat = pathlib.Path(f"/proc/{file.read_text()}/stat")
    worker.until(lambda: not stat.exists() or ") Z " in stat.read_text())


def test_a_revoked_lease_gives_back_what_slots_havent_started(worker: LiveWorker, tmp_path: pathlib.Path) -> None:
    gate = str(tmp_path / "gate")

    def work(x: int) -> int:
        while not pathlib.Path(gate).exists():
            time.sleep(0.001)
        return x

    job = worker.job(work, list(range(10)))
    worker.until(lambda: all(slot.bites for slot in worker.node.machine.crew.slots.values()))
    worker.until(lambda: all(process.ordinal == 0 for process in worker.node._slots.values()))
    worker.hear(Revoke(job, 0))
    worker.until(lambda: sum(m.stop - m.start for m in worker.said(Released)) == 8)
    pathlib.Path(gate).touch()
    worker.until(lambda: worker.finished(job) == 2)
    worker.hear(Lease(99, job, 4, 10))
    worker.until(lambda: worker.finished(99) == 6)


def test_scale_and_restart(worker: LiveWorker) -> None:
    worker.hear(Scale(4))
    worker.until(lambda: worker.said(SlotsChanged)[-1].ready == 4)
    worker.hear(Scale(1))
    worker.until(lambda: worker.said(SlotsChanged)[-1] == SlotsChanged(1, 1, 0, 0))
    job = worker.job(lambda x: os.getpid(), [1])
    worker.until(lambda: worker.finished(job) == 1)
    worker.hear(RestartSlots())
    again = worker.job(lambda x: os.getpid(), [1])
    worker.until(lambda: worker.finished(again) == 1)
    assert worker.results(job)[0] != worker.results(again)[0]
    assert worker.said(SlotsChanged)[-1].crashes == 0


def test_contexts_never_meet_in_a_slot(worker: LiveWorker) -> None:
    contexts = [Context(b"c%d" % number, b"b%d" % number, "") for number in range(3)]
    jobs = [worker.job(lambda x: (time.sleep(0.01), os.getpid())[1], list(range(60)), context=one) for one in contexts]
    worker.until(lambda: all(worker.finished(job) == 60 for job in jobs), 30)
    pids = [set(worker.results(job).values()) for job in jobs]
    assert not pids[0] & pids[1] and not pids[1] & pids[2] and not pids[0] & pids[2]


def test_a_step_runs_everywhere(worker: LiveWorker) -> None:
    from twistcluster.wire.functions import dump_function

    blob = dump_function(os.getpid, worker.definitions)[0]
    worker.hear(Blob(b"step"), blob)
    worker.hear(Context(b"c", b"b", "", steps=[b"step"]))
    worker.hear(Step(1, b"c", b"step"))
    worker.until(lambda: len(worker.said(StepDone)) == 2)
    assert sorted(message.slot for message in worker.said(StepDone)) == ["1", "2"]
    assert [message.remaining for message in worker.said(StepDone)] == [1, 0]


def test_a_lost_scheduler_is_survived(worker: LiveWorker) -> None:
    worker.job(lambda x: time.sleep(100), [1, 2])
    worker.until(lambda: all(slot.bites for slot in worker.node.machine.crew.slots.values()))
    worker.turn.run(worker.node.on_lost, worker.link, "gone")
    worker.node.start(worker.link)
    worker.jobs = 0
    job = worker.job(abs, [-1])
    worker.until(lambda: worker.finished(job) == 1)


def test_it_is_told_to_end(worker: LiveWorker) -> None:
    worker.hear(Stop())
    assert worker.ends


def test_ended_at_once_nothing_is_left(tmp_path: pathlib.Path) -> None:
    live = LiveWorker(tmp_path, slots=3)
    pids = [process.pid for process in live.node._slots.values()]
    live.close()
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
    assert not list(tmp_path.iterdir())


def test_a_program_that_cant_be_started_is_tried_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = slots._start
    failures = [OSError(11, "Resource temporarily unavailable")] * 2

    def start(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(slots, "_start", start)
    live = LiveWorker(tmp_path, slots=2)
    live.until(lambda: ready(live))
    live.close()


def test_surroundings() -> None:
    made = surroundings(
        {"JPY_PARENT_PID": "1", "PYDEVD_X": "1", "MPLBACKEND": "inline", "OMP_NUM_THREADS": "3", "A": "b"}, 10**6
    )
    assert int(made["MALLOC_TRIM_THRESHOLD_"]) > 1 << 20
    assert surroundings({"MALLOC_TRIM_THRESHOLD_": "1"}, 1)["MALLOC_TRIM_THRESHOLD_"] == "1"
    assert made["MPLBACKEND"] == "Agg" and made["A"] == "b" and made["MKL_NUM_THREADS"] == "1"
    assert made["OMP_NUM_THREADS"] == "3"
    assert not [name for name in made if name.startswith(("JPY", "PYDEVD"))]
    assert default_slots() >= 1


def test_how_a_process_ended() -> None:
    assert [told(0), told(3), told(-9), told(-11), told(-200)] == [
        "exit code 0",
        "exit code 3",
        "signal 9 (SIGKILL)",
        "signal 11 (SIGSEGV)",
        "signal 200",
    ]


def test_reports_name_seconds(worker: LiveWorker) -> None:
    job = worker.job(time.sleep, [0.01] * 10)
    worker.until(lambda: worker.finished(job) == 10)
    seconds = sum(message.seconds for message in worker.said(Report))
    assert 0.1 <= seconds < 10  # and not the time of day
