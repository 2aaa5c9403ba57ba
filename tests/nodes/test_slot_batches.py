"""Items that go together, in a real slot process."""

import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nodes.slots import ARGS, CALL, NONE, ONE, RealSlot, real_slot
from tests.tools import until
from twistcluster.nodes.slot_page import GROUP, LIMIT, RUNNING
from twistcluster.wire.functions import Raised, load_function, most_at_once
from twistcluster.wire.messages import BiteDone, EndJob, Failure, Freed, Page, Printed, Report
from twistcluster.wire.pages import pack_plain


class Sizes:
    """Says for each item with how many it went; what it finds wrong is told by the items."""

    most_at_once = 4

    def prepare(self, item: Any) -> Any:
        if item == "bad":
            raise ValueError("it can't be opened")
        if item == "wait":
            self.wait()
        if item == "die here":
            self.die()
        return item

    def together(self, prepared: list[Any]) -> list[Any]:
        if "stuck" in prepared:
            self.wait()
        if "fatal" in prepared:
            self.die()
        if "alone" in prepared and len(prepared) > 1:
            raise ValueError("not in company")
        if "few" in prepared and len(prepared) > 1:
            return prepared[1:]
        if "talk" in prepared:
            print("talking")
        return [Raised(KeyError(item)) if item == "wrong" else (item, len(prepared)) for item in prepared]

    def __call__(self, item: Any) -> Any:
        (answer,) = self.together([self.prepare(item)])
        if isinstance(answer, Raised):
            raise answer.error
        return answer

    def wait(self) -> None:
        import time

        while True:
            time.sleep(0.01)

    def die(self) -> None:
        import os

        os._exit(3)


class Slow(Sizes):
    def together(self, prepared: list[Any]) -> list[Any]:
        import time

        time.sleep(0.1)
        return super().together(prepared)


@pytest.fixture(scope="module")
def shared_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSlot]:
    with real_slot(tmp_path_factory.mktemp("slot")) as slot:
        yield slot


@pytest.fixture
def own_slot(tmp_path: pathlib.Path) -> Iterator[RealSlot]:
    with real_slot(tmp_path) as slot:
        yield slot


def one_bite(slot: RealSlot, items: list[Any], shape: int = ONE) -> dict[int, Any]:
    job = slot.job(Sizes(), together=4)
    slot.page(job, items, shape=shape, framed=any(isinstance(item, bytes) for item in items))
    slot.bite(job, 0, len(items))
    return slot.results()


def held_up(slot: RealSlot, seconds: float = 0.3) -> None:
    """A bite of another function keeps the slot busy, so that what follows waits in its inbox."""
    job = slot.job(time.sleep)
    slot.page(job, [seconds])
    slot.bite(job, 0, 1)


def bites_done(said: list[tuple[Any, list[Any]]]) -> list[tuple[int, int]]:
    return [(message.bite, message.reached) for message, _ in said if isinstance(message, BiteDone)]


def until_bites_done(slot: RealSlot, count: int) -> list[tuple[Any, list[Any]]]:
    said: list[tuple[Any, list[Any]]] = []
    while len(bites_done(said)) < count:
        said.append(slot.next())
    return said


def by_bite(slot: RealSlot, said: list[tuple[Any, list[Any]]]) -> dict[int, Any]:
    found = {}
    for message, buffers in said:
        if isinstance(message, Report):
            (found[message.lease],) = slot.values(message, buffers)
        elif isinstance(message, Failure):
            found[message.lease] = message.error.type
    return found


# ---- what makes a batch function ------------------------------------------------------------------------------------


def test_what_a_batch_function_is() -> None:
    batch = Sizes()
    assert most_at_once(batch) == 4
    assert most_at_once(Sizes) == 0  # a class is called to make instances
    assert most_at_once(abs) == 0
    batch.most_at_once = 1
    assert most_at_once(batch) == 0
    batch.most_at_once = True  # a flag is no number
    assert most_at_once(batch) == 0
    batch.most_at_once = 10**9
    assert most_at_once(batch) == 4096
    batch.together = None  # type: ignore[method-assign, assignment]
    assert most_at_once(batch) == 0

    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    assert most_at_once(Odd()) == 0


def test_one_whose_class_is_the_notebooks_is_one_too(own_slot: RealSlot) -> None:
    """Its blob names classes, so something of ours stands between."""
    import sys
    from types import ModuleType

    from twistcluster.wire.functions import dump_function
    from twistcluster.wire.values import Definitions

    module = ModuleType("__main__")
    before, sys.modules["__main__"] = sys.modules["__main__"], module
    source = (
        "class Pairs:\n    most_at_once = 2\n    def prepare(self, x): return x\n"
        "    def together(self, xs): return [(x, len(xs)) for x in xs]\n    def __call__(self, x): return x\n"
    )
    try:
        exec(source, module.__dict__)
        blob, named = dump_function(module.Pairs(), own_slot.definitions)
    finally:
        sys.modules["__main__"] = before
    assert named
    assert most_at_once(load_function(blob, Definitions(in_slot=True))) == 2
    job = own_slot.job(blob, together=2)
    own_slot.page(job, [1, 2, 3])
    own_slot.bite(job, 0, 3)
    assert own_slot.results() == {0: (1, 2), 1: (2, 2), 2: (3, 1)}


# ---- one bite -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [["a", "b", "c", "d", "e", "f"], [[1], "b", "c", "d", "e", [2]]])
def test_items_of_a_bite_go_in_groups(shared_slot: RealSlot, items: list[Any]) -> None:
    sizes = [4, 4, 4, 4, 2, 2]
    assert one_bite(shared_slot, items) == dict(enumerate(zip(items, sizes, strict=True)))


def test_a_group_crosses_pages(shared_slot: RealSlot) -> None:
    job = shared_slot.job(Sizes(), together=4)
    shared_slot.page(job, ["a"])
    shared_slot.page(job, ["b", "c"], first=1)
    shared_slot.bite(job, 0, 3)
    assert shared_slot.results() == {0: ("a", 3), 1: ("b", 3), 2: ("c", 3)}


def test_submits_with_one_argument_go_together_and_others_alone(shared_slot: RealSlot) -> None:
    job = shared_slot.job(Sizes(), abs, together=4)
    calls = [(0, ("a",), {}), (0, ("b",), {}), (1, (-5,), {}), (0, ("c",), {}), (0, (), {"item": "d"}), (0, ("e",), {})]
    shared_slot.page(job, calls, shape=CALL)
    shared_slot.bite(job, 0, len(calls))
    assert shared_slot.results() == {0: ("a", 2), 1: ("b", 2), 2: 5, 3: ("c", 1), 4: ("d", 1), 5: ("e", 1)}


def test_items_of_several_arguments_go_alone(shared_slot: RealSlot) -> None:
    assert one_bite(shared_slot, [("a",), ("b",)], shape=ARGS) == {0: ("a", 1), 1: ("b", 1)}


def test_a_bite_that_shall_go_alone_does(shared_slot: RealSlot) -> None:
    job = shared_slot.job(Sizes(), together=4)
    shared_slot.page(job, ["a", "b"])
    shared_slot.bite(job, 0, 2, alone=True)
    assert shared_slot.results() == {0: ("a", 1), 1: ("b", 1)}


def test_what_cant_be_prepared_fails_alone(shared_slot: RealSlot) -> None:
    found = one_bite(shared_slot, ["bad", "a", b"raw:no pickle", "bad", "b", "c"])
    assert found.pop(0).error.type == "ValueError"
    assert found.pop(2).error.why == "argument"
    assert found.pop(3).error.message == "it can't be opened"
    assert found == {1: ("a", 1), 4: ("b", 2), 5: ("c", 2)}


def test_nothing_that_could_be_prepared(shared_slot: RealSlot) -> None:
    found = one_bite(shared_slot, ["bad"] * 6)
    assert [found[index].error.type for index in range(6)] == ["ValueError"] * 6


def test_an_answer_may_be_an_error(shared_slot: RealSlot) -> None:
    found = one_bite(shared_slot, ["a", "wrong", "b"])
    assert found.pop(1).error.type == "KeyError"
    assert found == {0: ("a", 3), 2: ("b", 3)}


@pytest.mark.parametrize("odd", ["alone", "few"])
def test_if_they_cant_go_together_each_runs_alone(shared_slot: RealSlot, odd: str) -> None:
    found = one_bite(shared_slot, ["a", odd, "bad", "wrong", "b"])
    assert (found.pop(2).error.type, found.pop(3).error.type) == ("ValueError", "KeyError")
    assert found == {0: ("a", 1), 1: (odd, 1), 4: ("b", 1)}


def test_a_group_of_one_that_raises_isnt_run_again(shared_slot: RealSlot) -> None:
    class Once:
        most_at_once = 2
        calls = 0

        def prepare(self, item: Any) -> Any:
            return item

        def together(self, prepared: list[Any]) -> list[Any]:
            self.calls += 1
            raise ValueError(self.calls)

        def __call__(self, item: Any) -> Any:
            raise ValueError("called")

    job = shared_slot.job(Once(), together=2)
    shared_slot.page(job, ["a"])
    for expected in ("1", "2"):
        shared_slot.bite(job, 0, 1)
        assert shared_slot.results()[0].error.message == expected


def test_a_function_that_cant_be_loaded_fails_each(shared_slot: RealSlot) -> None:
    job = shared_slot.job(b"no function", together=4)
    shared_slot.page(job, ["a", "b"])
    shared_slot.bite(job, 0, 2)
    assert [failure.error.why for failure in shared_slot.results().values()] == ["context", "context"]


def test_what_cant_be_pickled_is_an_error_of_its_item(shared_slot: RealSlot) -> None:
    class Makes:
        most_at_once = 4

        def prepare(self, item: Any) -> Any:
            return item

        def together(self, prepared: list[Any]) -> list[Any]:
            import threading

            return [threading.Lock() if item == "lock" else [item] for item in prepared]

        def __call__(self, item: Any) -> Any:
            return item

    job = shared_slot.job(Makes(), together=4)
    shared_slot.page(job, ["a", "lock", "b"])
    shared_slot.bite(job, 0, 3)
    found = shared_slot.results()
    assert found.pop(1).error.why == "result"
    assert found == {0: ["a"], 2: ["b"]}


def test_the_time_of_a_group_is_shared_out(shared_slot: RealSlot) -> None:
    class Slow:
        most_at_once = 4

        def prepare(self, item: Any) -> Any:
            if item is None:
                raise ValueError
            return item

        def together(self, prepared: list[Any]) -> list[Any]:
            import time

            time.sleep(0.2)
            return prepared

        def __call__(self, item: Any) -> Any:
            return item

    job = shared_slot.job(Slow(), together=4)
    shared_slot.page(job, [None, 1, None, 2])
    shared_slot.bite(job, 0, 4)
    said, _ = shared_slot.until_done()
    spent = {message.start: message.seconds for message, _ in said if isinstance(message, Report)}
    assert all(0.09 < spent[index] < 0.15 for index in (1, 3)), spent


def test_what_is_printed_together_is_the_last_ones(shared_slot: RealSlot) -> None:
    job = shared_slot.job(Sizes(), together=4)
    shared_slot.page(job, ["talk", "a", "b"])
    shared_slot.bite(job, 0, 3)
    said, _ = shared_slot.until_done()
    assert [(message.index, message.text) for message, _ in said if isinstance(message, Printed)] == [(2, "talking\n")]


# ---- taken back, stopped, dead --------------------------------------------------------------------------------------


def test_a_group_ends_at_the_limit(own_slot: RealSlot) -> None:
    job = own_slot.job(Sizes(), together=4)
    own_slot.page(job, ["a", "b", "c", "d"])
    own_slot.words[LIMIT] = own_slot.ordinal + 3
    own_slot.bite(job, 0, 4)
    said, done = own_slot.until_done()
    assert own_slot.sorted_out(said) == {0: ("a", 3), 1: ("b", 3), 2: ("c", 3)}
    assert done.reached == 3
    assert own_slot.words[RUNNING] == NONE


def test_the_page_names_the_last_while_they_go_together(own_slot: RealSlot) -> None:
    job = own_slot.job(Sizes(), together=4)
    own_slot.page(job, ["a", "stuck", "b", "bad"])
    own_slot.bite(job, 0, 4)
    until(lambda: own_slot.words[GROUP] == 0)
    assert own_slot.words[RUNNING] == 3
    own_slot.process.send_signal(signal.SIGKILL)


def test_the_page_names_the_one_that_is_prepared(own_slot: RealSlot) -> None:
    job = own_slot.job(Sizes(), together=4)
    own_slot.page(job, ["a", "b", "die here", "c"])
    own_slot.bite(job, 0, 4)
    own_slot.process.wait(60)
    assert (own_slot.words[RUNNING], own_slot.words[GROUP]) == (2, NONE)


def test_the_one_that_is_prepared_is_stopped_and_the_others_go_on(own_slot: RealSlot) -> None:
    job = own_slot.job(Sizes(), together=4)
    own_slot.page(job, ["a", "wait", "b"])
    own_slot.bite(job, 0, 3)
    until(lambda: own_slot.words[RUNNING] == 1)
    own_slot.interrupt(1)
    found = own_slot.results()
    assert found.pop(1).error.why == "stopped"
    assert found == {0: ("a", 2), 2: ("b", 2)}


def test_steps_of_pictures_are_stopped_as_what_is_the_items_own(own_slot: RealSlot) -> None:
    namespace: dict[str, Any] = {"__name__": "twistcluster.images.nothing"}
    exec("def wait(x):\n    import time\n    while True:\n        time.sleep(0.01)", namespace)
    job = own_slot.job(namespace["wait"])
    own_slot.page(job, ["a"])
    own_slot.bite(job, 0, 1)
    until(lambda: own_slot.words[RUNNING] == 0)
    for _ in range(100):  # until it is in there
        own_slot.interrupt(0)
        if own_slot.said(0.05):
            break
    assert own_slot.results()[0].error.why == "stopped"


def test_the_last_one_is_stopped_and_the_others_run_alone(own_slot: RealSlot) -> None:
    class Stuck(Sizes):
        def together(self, prepared: list[Any]) -> list[Any]:
            if len(prepared) > 1:
                self.wait()
            return super().together(prepared)

    job = own_slot.job(Stuck(), together=4)
    own_slot.page(job, ["a", "b", "c"])
    own_slot.bite(job, 0, 3)
    until(lambda: own_slot.words[GROUP] == 0)
    own_slot.interrupt(1)  # not the one that is said to run: nothing happens
    own_slot.interrupt(2)
    said, _ = own_slot.until_done()
    assert isinstance(said[0][0], Failure), "its worker waits for this"
    found = own_slot.sorted_out(said)
    assert found.pop(2).error.why == "stopped"
    assert found == {0: ("a", 1), 1: ("b", 1)}


def test_those_that_run_alone_afterwards_can_be_taken_back(own_slot: RealSlot) -> None:
    job = own_slot.job(Sizes(), together=4)
    own_slot.page(job, ["a", "stuck", "b"])
    own_slot.bite(job, 0, 3)
    until(lambda: own_slot.words[GROUP] == 0)
    own_slot.words[LIMIT] = 0
    own_slot.interrupt(2)
    said, done = own_slot.until_done()
    assert [message.error.why for message, _ in said] == ["stopped"]
    assert done.reached == 0


def test_a_child_that_comes_out_of_prepare_goes_no_further(own_slot: RealSlot, tmp_path: pathlib.Path) -> None:
    place = str(tmp_path / "calls")

    class Forks:
        most_at_once = 4

        def prepare(self, item: Any) -> Any:
            import os

            if item == "fork" and (pid := os.fork()):
                os.waitpid(pid, 0)
            return item

        def together(self, prepared: list[Any]) -> list[Any]:
            with open(place, "a") as file:  # noqa: PTH123
                file.write("x")
            return prepared

        def __call__(self, item: Any) -> Any:
            return item

    job = own_slot.job(Forks(), together=4)
    own_slot.page(job, ["fork"])
    own_slot.bite(job, 0, 1)
    assert own_slot.results() == {0: "fork"}
    assert pathlib.Path(place).read_text() == "x"


# ---- bites that wait ------------------------------------------------------------------------------------------------


def test_bites_of_one_that_wait_go_together(own_slot: RealSlot) -> None:
    held_up(own_slot)
    for number in range(6):
        job = own_slot.job(Sizes(), together=4)
        own_slot.page(job, [number])
        own_slot.bite(job, 0, 1)
        own_slot.say(Freed([]))
        if number:
            own_slot.say(EndJob(job - 1))  # one that is in the group, or was
    said = until_bites_done(own_slot, 7)
    assert bites_done(said) == [(number, 1) for number in range(1, 8)]
    sizes = [4, 4, 4, 4, 2, 2]
    assert by_bite(own_slot, said) == {1: None, **{n + 2: (n, size) for n, size in enumerate(sizes)}}


def test_bites_of_several_that_wait_go_together(own_slot: RealSlot) -> None:
    held_up(own_slot)
    for items in (["a", "b"], ["c", "bad", "talk"], ["d"]):
        job = own_slot.job(Sizes(), together=6)
        own_slot.page(job, items)
        own_slot.bite(job, 0, len(items))
    said = until_bites_done(own_slot, 4)
    found: dict[int, list[Any]] = {}
    for message, buffers in said:
        if isinstance(message, Report):
            found.setdefault(message.lease, []).extend(own_slot.values(message, buffers))
    assert found[2] == [("a", 3), ("b", 3)]  # a group has four members, one of which can't be opened
    assert found[3] + found[4] == [("c", 3), ("talk", 2), ("d", 2)]
    failed = [(message.lease, message.index) for message, _ in said if isinstance(message, Failure)]
    printed = [(message.lease, message.index) for message, _ in said if isinstance(message, Printed)]
    assert (failed, printed) == ([(3, 1)], [(4, 0)])
    assert bites_done(said) == [(1, 1), (2, 2), (3, 3), (4, 1)]


def test_each_bite_has_its_own_fate(own_slot: RealSlot) -> None:
    held_up(own_slot)
    for item in ("bad", "talk", "wrong"):
        job = own_slot.job(Sizes(), together=4)
        own_slot.page(job, [item])
        own_slot.bite(job, 0, 1)
    said = until_bites_done(own_slot, 4)
    assert by_bite(own_slot, said) == {1: None, 2: "ValueError", 3: ("talk", 2), 4: "KeyError"}
    printed = [message for message, _ in said if isinstance(message, Printed)]
    assert [(message.lease, message.index, message.text) for message in printed] == [(4, 0, "talking\n")]


def test_only_what_is_alike_goes_together(own_slot: RealSlot) -> None:
    held_up(own_slot)
    other = Sizes()
    other.most_at_once = 3
    for function, alone in ((Sizes(), False), (Sizes(), True), (other, False), (other, False), (Sizes(), False)):
        job = own_slot.job(function, together=4)
        own_slot.page(job, ["a"])
        own_slot.bite(job, 0, 1, alone=alone)
    assert by_bite(own_slot, until_bites_done(own_slot, 6)) == {
        1: None,
        2: ("a", 1),
        3: ("a", 1),
        4: ("a", 2),
        5: ("a", 2),
        6: ("a", 1),
    }


def test_a_limit_among_bites_that_wait(own_slot: RealSlot) -> None:
    held_up(own_slot)
    for _ in range(4):
        job = own_slot.job(Sizes(), together=4)
        own_slot.page(job, ["a"])
        own_slot.bite(job, 0, 1)
    own_slot.words[LIMIT] = 3
    said = until_bites_done(own_slot, 5)
    assert bites_done(said) == [(1, 1), (2, 1), (3, 1), (4, 0), (5, 0)]
    assert by_bite(own_slot, said) == {1: None, 2: ("a", 2), 3: ("a", 2)}


def test_the_last_of_bites_that_wait_is_stopped(own_slot: RealSlot) -> None:
    held_up(own_slot)
    for item in ("a", "b", "stuck"):
        job = own_slot.job(Sizes(), together=4)
        own_slot.page(job, [item])
        own_slot.bite(job, 0, 1)
    until(lambda: own_slot.words[GROUP] == 1)
    own_slot.interrupt(3)
    said = until_bites_done(own_slot, 4)
    found = by_bite(own_slot, said)
    assert (found[2], found[3]) == (("a", 1), ("b", 1))
    failures = [message for message, _ in said if isinstance(message, Failure)]
    assert [(message.lease, message.error.why) for message in failures] == [(4, "stopped")]
    assert bites_done(said) == [(1, 1), (2, 1), (3, 1), (4, 1)]


def test_a_page_that_comes_anew_isnt_lost(own_slot: RealSlot) -> None:
    """What takes something away waits for its turn, and what brings the same again does too."""
    held_up(own_slot)
    first = own_slot.job(Sizes(), together=4)
    own_slot.page(first, ["a"])
    own_slot.bite(first, 0, 1)
    again = own_slot.job(Sizes(), together=4)
    own_slot.say(EndJob(again))
    own_slot.jobs -= 1
    assert own_slot.job(Sizes(), together=4) == again
    packed = pack_plain(["b"])
    own_slot.say(Page(again, 0, packed.count, packed.kind), *packed.buffers)
    own_slot.bite(again, 0, 1)
    assert by_bite(own_slot, until_bites_done(own_slot, 3)) == {1: None, 2: ("a", 1), 3: ("b", 1)}


def test_a_group_waits_a_moment_for_as_many_as_were_in_the_last_one(own_slot: RealSlot) -> None:
    jobs = [own_slot.job(Slow(), together=4) for _ in range(3)]
    for job in jobs:
        own_slot.page(job, list(range(20)))
    seen: list[int] = []
    for index in range(20):  # on a busy machine what follows may come too late
        for job in jobs:
            own_slot.bite(job, index, index + 1)
        sizes = [size for _ in jobs for _, size in own_slot.results().values()]
        assert sizes in ([1, 2, 2], [3, 3, 3], [2, 2, 1])
        if sizes[-1] == 1:
            continue
        own_slot.bite(jobs[0], 0, 1)
        time.sleep(0.001)
        own_slot.bite(jobs[1], 0, 1)
        seen += [size for _ in range(2) for _, size in own_slot.results().values()]
        if seen[-1] == 2:
            break
        own_slot.bite(jobs[2], 0, 1)  # alone: from here on nobody is waited for
        assert [size for _, size in own_slot.results().values()] == [1]
    assert seen[-2:] == [2, 2], seen


def test_two_who_ask_by_turns_come_together(own_slot: RealSlot) -> None:
    jobs = [own_slot.job(Slow(), together=4) for _ in range(2)]
    for job in jobs:
        own_slot.page(job, list(range(20)))
    for index in range(20):  # on a busy machine what follows may come too late
        own_slot.bite(jobs[0], index, index + 1)
        until(lambda: own_slot.words[RUNNING] != NONE)
        own_slot.bite(jobs[1], index, index + 1)  # while the other one's runs
        assert [size for _, size in own_slot.results().values()] == [1]
        time.sleep(0.001)
        own_slot.bite(jobs[0], index, index + 1)
        sizes = [size for _ in jobs for _, size in own_slot.results().values()]
        if sizes == [2, 2]:
            break
    assert sizes == [2, 2]
