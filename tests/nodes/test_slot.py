"""A real slot process, driven over its link."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.nodes.slots import ARGS, CALL, NONE, RealSlot, real_slot
from tests.tools import until
from twistcluster.wire.digests import digest
from twistcluster.wire.functions import dump_function
from twistcluster.wire.messages import (
    Blob,
    Context,
    DropPages,
    EndJob,
    Failure,
    File,
    Forget,
    Module,
    Printed,
    Report,
    Step,
    StepDone,
)


@pytest.fixture(scope="module")
def shared_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSlot]:
    with real_slot(tmp_path_factory.mktemp("slot")) as slot:
        yield slot


@pytest.fixture
def own_slot(tmp_path: pathlib.Path) -> Iterator[RealSlot]:
    with real_slot(tmp_path) as slot:
        yield slot


# ---- results --------------------------------------------------------------------------------------------------------


def test_plain_items(shared_slot: RealSlot) -> None:
    assert shared_slot.map(abs, [-1, -2.5, True]) == {0: 1, 1: 2.5, 2: 1}


def test_a_lambda_and_other_results(shared_slot: RealSlot) -> None:
    assert shared_slot.map(lambda x: [x, {x}], [1, "a"]) == {0: [1, {1}], 1: ["a", {"a"}]}


def test_plain_then_other_then_plain_results(shared_slot: RealSlot) -> None:
    def mixed(x: int) -> object:
        return [x] if x % 3 == 2 else x

    assert shared_slot.map(mixed, list(range(10))) == {x: mixed(x) for x in range(10)}


def test_framed_arguments(shared_slot: RealSlot) -> None:
    assert shared_slot.map(len, [[1], [1, 2], (), "abc"]) == {0: 1, 1: 2, 2: 0, 3: 3}


@pytest.mark.parametrize("framed", [False, True])
def test_items_of_several_arguments(shared_slot: RealSlot, framed: bool) -> None:
    items = [(1, 2), (3, 4)]
    assert shared_slot.map(lambda a, b: a * b, items, shape=ARGS, framed=framed) == {0: 2, 1: 12}


@pytest.mark.parametrize("framed", [False, True])
def test_calls_of_several_functions(shared_slot: RealSlot, framed: bool) -> None:
    job = shared_slot.job(abs, lambda *args, **kwargs: f"{args}{kwargs}")
    shared_slot.page(job, [(0, (-1,), {}), (1, (2,), {"k": 3}), (0, (-4,), {})], shape=CALL, framed=framed)
    shared_slot.bite(job, 0, 3)
    assert shared_slot.results() == {0: 1, 1: "(2,){'k': 3}", 2: 4}


def test_a_bite_crosses_pages(shared_slot: RealSlot) -> None:
    job = shared_slot.job(abs)
    shared_slot.page(job, [-1, -2, -3], first=0)
    shared_slot.page(job, [[]], first=3)
    shared_slot.page(job, [-5, -6], first=4)
    shared_slot.bite(job, 1, 6)
    found = shared_slot.results()
    assert found.pop(3).error.type == "TypeError"
    assert found == {1: 2, 2: 3, 4: 5, 5: 6}


def test_large_values_both_ways(shared_slot: RealSlot) -> None:
    numpy = pytest.importorskip("numpy")
    arrays = [numpy.arange(200_000, dtype=float) + number for number in range(4)]
    found = shared_slot.map(lambda array: array * 2, arrays)
    assert all((found[number] == arrays[number] * 2).all() for number in range(4))


def test_no_item_sees_anothers_mutation(shared_slot: RealSlot) -> None:
    def change(values: list[int]) -> list[int]:
        values.append(9)
        return values

    job = shared_slot.job(change)
    shared_slot.page(job, [[1]])
    for _ in range(2):
        shared_slot.bite(job, 0, 1)
        assert shared_slot.results() == {0: [1, 9]}


def test_a_result_isnt_changed_by_a_later_item(shared_slot: RealSlot) -> None:
    numpy = pytest.importorskip("numpy")

    def fill(x: int) -> object:
        global buffer
        try:
            buffer.fill(x)
        except NameError:
            buffer = numpy.full(2000, x)
        return buffer

    found = shared_slot.map(fill, [1, 2, 3])
    assert [int(found[number][0]) for number in range(3)] == [1, 2, 3]


def test_a_function_is_loaded_once_until_forgotten(shared_slot: RealSlot) -> None:
    def count() -> object:
        calls = []

        def counting(x: int) -> int:
            calls.append(x)
            return len(calls)

        return counting

    blob = dump_function(count(), shared_slot.definitions)[0]
    for expected in (2, 4):
        job = shared_slot.job(blob)
        shared_slot.page(job, [0, 0])
        shared_slot.bite(job, 0, 2)
        assert shared_slot.results()[1] == expected
        shared_slot.say(EndJob(job))
    shared_slot.say(Forget([digest(blob)]))
    job = shared_slot.job(blob)
    shared_slot.page(job, [0, 0])
    shared_slot.bite(job, 0, 2)
    assert shared_slot.results()[1] == 2


def test_an_instance_of_a_notebooks_class(shared_slot: RealSlot) -> None:
    from types import ModuleType

    source = "class Point:\n    def __init__(self, x): self.x = x\ndef move(p):\n    p.x += 1\n    return p"
    module = ModuleType("__main__")
    module.__dict__["__name__"] = "__main__"
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        exec(source, module.__dict__)
        found = shared_slot.map(module.move, [module.Point(1), module.Point(5)])
    finally:
        sys.modules["__main__"] = before
    assert [type(found[number]) is module.Point for number in range(2)] == [True, True]
    assert [found[number].x for number in range(2)] == [2, 6]


def test_a_coroutine_function(shared_slot: RealSlot) -> None:
    async def later(x: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        if x == 2:
            raise ValueError(x)
        return x

    found = shared_slot.map(later, [1, 2, 3])
    assert (found[0], found[2]) == (1, 3)
    assert found[1].error.type == "ValueError"


def test_dropped_pages_and_ended_jobs_leave_room_for_new_ones(shared_slot: RealSlot) -> None:
    job = shared_slot.job(abs)
    shared_slot.page(job, [-1])
    shared_slot.say(DropPages(job, [0, 77]))
    shared_slot.page(job, [-2])
    shared_slot.bite(job, 0, 1)
    assert shared_slot.results() == {0: 2}
    shared_slot.say(EndJob(job))
    shared_slot.say(DropPages(job, [0]))
    assert shared_slot.map(abs, [-3]) == {0: 3}


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_an_exception(shared_slot: RealSlot) -> None:
    def divide(x: int) -> float:
        return 1 / x

    found = shared_slot.map(divide, [1, 0, 2])
    assert (found[0], found[2]) == (1, 0.5)
    error = found[1].error
    assert (error.why, error.type, error.message) == ("raised", "ZeroDivisionError", "division by zero")
    assert "return 1 / x" in error.traceback
    assert "slot_" not in error.traceback


def test_the_exception_itself_travels(shared_slot: RealSlot) -> None:
    from twistcluster.wire.values import loads

    job = shared_slot.job(lambda key: {}[key])
    shared_slot.page(job, ["k"])
    shared_slot.bite(job, 0, 1)
    (failure, buffers), *_ = shared_slot.until_done()[0]
    assert isinstance(failure, Failure)
    error = loads(buffers[0], buffers[1:], shared_slot.definitions)
    assert isinstance(error, KeyError) and error.args == ("k",)


def test_every_item_fails(shared_slot: RealSlot) -> None:
    found = shared_slot.map(lambda x: x.nothing, list(range(50)))
    assert {failure.error.type for failure in found.values()} == {"AttributeError"}
    assert len(found) == 50


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1), MemoryError()]
)
def test_what_else_an_item_raises_fails_it(shared_slot: RealSlot, error: BaseException) -> None:
    def fail(x: int) -> int:
        if x:
            raise error
        return x

    found = shared_slot.map(fail, [0, 1, 0])
    assert (found[0], found[2]) == (0, 0)
    assert found[1].error.type == type(error).__name__


def test_an_exception_whose_text_fails_and_that_cant_be_pickled(shared_slot: RealSlot) -> None:
    def fail(x: int) -> None:
        import threading

        class Odd(Exception):
            def __init__(self) -> None:
                self.lock = threading.Lock()

            def __str__(self) -> str:
                raise RuntimeError

        raise Odd

    job = shared_slot.job(fail)
    shared_slot.page(job, [1])
    shared_slot.bite(job, 0, 1)
    (failure, buffers), *_ = shared_slot.until_done()[0]
    assert not buffers
    assert "text can't be made" in failure.error.message


def test_an_unpicklable_result(shared_slot: RealSlot) -> None:
    found = shared_slot.map(lambda x: (i for i in range(x)) if x else 0, [0, 3, 0])
    assert (found[0], found[2]) == (0, 0)
    assert found[1].error.why == "result"
    assert "list" in found[1].error.message


def test_an_argument_that_cant_be_unpickled_fails_that_item_only(shared_slot: RealSlot) -> None:
    job = shared_slot.job(str)
    shared_slot.page(job, [1, b"raw:cnothere\nnothing\n.", 3], framed=True)
    shared_slot.bite(job, 0, 3)
    found = shared_slot.results()
    assert (found[0], found[2]) == ("1", "3")
    assert found[1].error.why == "argument"
    assert "nothere" in found[1].error.message


def test_a_function_that_cant_be_loaded_fails_its_items(shared_slot: RealSlot) -> None:
    import pickle

    job = shared_slot.job(pickle.dumps((b"cnothere\nnothing\n.", [], [])))
    shared_slot.page(job, [1, 2])
    shared_slot.bite(job, 0, 2)
    found = shared_slot.results()
    assert {failure.error.why for failure in found.values()} == {"context"}
    assert "Install the module" in found[0].error.message


def test_deep_recursion_fails_the_item(shared_slot: RealSlot) -> None:
    def dive(x: int) -> int:
        return dive(x + 1)

    assert shared_slot.map(dive, [0])[0].error.type == "RecursionError"
    assert shared_slot.map(abs, [-1]) == {0: 1}


# ---- output ---------------------------------------------------------------------------------------------------------


def printed(slot: RealSlot, function: object, items: list[object]) -> dict[int, list[Printed]]:
    job = slot.job(function)  # type: ignore[arg-type]
    slot.page(job, items)
    slot.bite(job, 0, len(items))
    found: dict[int, list[Printed]] = {}
    for message, _ in slot.until_done()[0]:
        if isinstance(message, Printed):
            found.setdefault(message.index, []).append(message)
    return found


def test_what_items_print_is_theirs(shared_slot: RealSlot) -> None:
    def say(x: int) -> None:
        if x % 2:
            print("item", x, "ü")
            print("error", x, file=sys.stderr)
            sys.stdout.buffer.write(b"bytes\xff")

    found = printed(shared_slot, say, [0, 1, 2, 3])
    assert {index: "".join(p.text for p in pieces) for index, pieces in found.items()} == {
        1: "item 1 ü\nerror 1\nbytes�",
        3: "item 3 ü\nerror 3\nbytes�",
    }


def test_head_and_tail_of_much_output_are_kept(shared_slot: RealSlot) -> None:
    def chatter(x: int) -> None:
        for number in range(20_000):
            print("line", number)
        print("\ud800")

    pieces = printed(shared_slot, chatter, [1])[0]
    text = "".join(piece.text for piece in pieces)
    assert len(text.encode()) <= 64 * 1024
    assert text.startswith("line 0\nline 1\n") and text.endswith("line 19999\n?\n")
    whole = sum(len(f"line {number}\n") for number in range(20_000)) + 2
    assert sum(piece.dropped_bytes for piece in pieces) + len(text.encode()) == whole


# ---- the shared page, and what is sent when --------------------------------------------------------------------------


def test_the_page_says_what_runs_and_the_limit_ends_bites(own_slot: RealSlot, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"

    def wait(x: int) -> int:
        while x == 2 and not gate.exists():
            time.sleep(0.001)
        return x

    job = own_slot.job(wait)
    own_slot.page(job, list(range(10)))
    own_slot.bite(job, 0, 6)
    own_slot.bite(job, 6, 10)
    until(lambda: own_slot.words[0] == 2)
    own_slot.words[1] = 4
    gate.touch()
    said, done = own_slot.until_done()
    assert own_slot.sorted_out(said) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert done.reached == 4
    said, done = own_slot.until_done()
    assert (said, done.reached) == ([], 6)
    assert own_slot.words[0] == NONE
    own_slot.words[1] = NONE
    own_slot.bite(job, 4, 10)
    assert own_slot.results() == {index: index for index in range(4, 10)}


def test_the_limit_ends_framed_bites_too(own_slot: RealSlot) -> None:
    own_slot.words[1] = 2
    job = own_slot.job(len)
    own_slot.page(job, [[], [1], [2], [3]])
    own_slot.bite(job, 0, 4)
    said, done = own_slot.until_done()
    assert own_slot.sorted_out(said) == {0: 0, 1: 1}
    assert done.reached == 2


@pytest.mark.parametrize("result", ["plain", "framed"])
def test_results_dont_wait_for_a_long_item(own_slot: RealSlot, tmp_path: pathlib.Path, result: str) -> None:
    gate = tmp_path / "gate"

    def wait(x: int) -> object:
        print("item", x)
        while x == 3 and not gate.exists():
            time.sleep(0.001)
        return x if result == "plain" else [x]

    job = own_slot.job(wait)
    own_slot.page(job, list(range(5)))
    own_slot.bite(job, 0, 5)
    count, text = 0, ""
    while count < 3 or "item 3" not in text:
        message, _ = own_slot.next()
        count += message.count if isinstance(message, Report) else 0
        text += message.text if isinstance(message, Printed) else ""
    gate.touch()
    assert set(own_slot.results()) == {3, 4}


def test_an_interrupt_fails_the_item_that_runs_and_nothing_else(own_slot: RealSlot) -> None:
    def wait(x: int) -> int:
        while x == 1:
            time.sleep(0.001)
        return x

    os.kill(own_slot.process.pid, signal.SIGINT)
    job = own_slot.job(wait)
    own_slot.page(job, [0, 1, 2])
    own_slot.bite(job, 0, 3)
    until(lambda: own_slot.words[0] == 1)
    own_slot.interrupt(1)
    found = own_slot.results()
    assert (found[0], found[2]) == (0, 2)
    assert found[1].error.why == "stopped"


# ---- contexts -------------------------------------------------------------------------------------------------------


def step(slot: RealSlot, name: bytes, function: object) -> bytes:
    blob = dump_function(function, slot.definitions)[0]  # type: ignore[arg-type]
    slot.say(Blob(digest(blob)), blob)
    return digest(blob)


def test_modules_files_and_folder_of_a_context(own_slot: RealSlot, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "beside.txt").write_text("beside")
    own_slot.say(Blob(b"m"), b"VALUE = 42\n")
    own_slot.say(Blob(b"f"), b"uploaded")
    context = Context(
        b"c", b"b", str(folder), modules=[Module("lab_helper", "lab_helper.py", b"m")], files=[File("up.txt", b"f")]
    )

    def look(x: int) -> str:
        import pathlib

        import lab_helper

        return f"{lab_helper.VALUE} {pathlib.Path('up.txt').read_text()} {pathlib.Path('beside.txt').read_text()}"

    job = own_slot.job(look, context=context)
    own_slot.page(job, [1])
    own_slot.bite(job, 0, 1)
    assert own_slot.results() == {0: "42 uploaded beside"}


def test_steps_run_once_and_define_names(own_slot: RealSlot) -> None:
    import types

    notebook = types.ModuleType("__main__")
    source = "def setup():\n    global model\n    model = [0]\n    return model\ndef use(x):\n    model[0] += x\n    return model[0]"
    exec(source, notebook.__dict__)
    name = step(own_slot, b"s", notebook.setup)
    context = Context(b"c2", b"base", "", steps=[name])
    own_slot.say(context)
    own_slot.say(Step(7, b"c2", name))
    message, buffers = own_slot.next()
    assert message == StepDone(7, "") and buffers
    job = own_slot.job(notebook.use, context=context)
    own_slot.page(job, [1, 2])
    own_slot.bite(job, 0, 2)
    assert own_slot.results() == {0: 1, 1: 3}


def test_a_step_that_fails_fails_the_items_of_its_context(own_slot: RealSlot) -> None:
    name = step(own_slot, b"s", lambda: 1 / 0)
    context = Context(b"c3", b"base", "", steps=[name])
    job = own_slot.job(abs, context=context)
    own_slot.page(job, [1, 2])
    own_slot.bite(job, 0, 2)
    found = own_slot.results()
    assert {(f.error.why, f.error.type) for f in found.values()} == {("context", "ZeroDivisionError")}
    own_slot.say(Step(8, b"c3", name))
    message, _ = own_slot.next()
    assert message.error.type == "ZeroDivisionError" and message.error.why == "raised"
    assert own_slot.map(abs, [-1]) == {0: 1}


def test_a_step_of_now_only(own_slot: RealSlot) -> None:
    name = step(own_slot, b"s", os.getpid)
    own_slot.say(own_slot.context)
    own_slot.say(Step(9, own_slot.context.digest, name, once=True))
    message, _ = own_slot.next()
    assert message.error is None
    name = step(own_slot, b"s", lambda: sys.stdout)
    own_slot.say(Step(10, own_slot.context.digest, name, once=True))
    assert own_slot.next()[0].error.why == "result"


# ---- its life -------------------------------------------------------------------------------------------------------


def test_it_dies_with_its_worker_even_in_code_that_never_returns(own_slot: RealSlot) -> None:
    job = own_slot.job(lambda x: sum(range(10**15)))  # holds the GIL in C for hours
    own_slot.page(job, [1])
    own_slot.bite(job, 0, 1)
    until(lambda: own_slot.words[0] == 0)
    os.close(own_slot.life)
    own_slot.life = os.open(os.devnull, os.O_RDONLY)
    assert own_slot.process.wait(60) == -signal.SIGKILL


def test_its_children_die_with_it_when_the_worker_goes(own_slot: RealSlot) -> None:
    def start(x: int) -> int:
        import subprocess

        return subprocess.Popen(["sleep", "100"]).pid

    job = own_slot.job(start)
    own_slot.page(job, [1])
    own_slot.bite(job, 0, 1)
    child = own_slot.results()[0]
    os.close(own_slot.life)
    own_slot.life = os.open(os.devnull, os.O_RDONLY)
    own_slot.process.wait(60)
    status = pathlib.Path(f"/proc/{child}/stat")
    until(lambda: not status.exists() or ") Z " in status.read_text())


def test_it_ends_with_its_link(own_slot: RealSlot) -> None:
    own_slot.link.close()
    assert own_slot.process.wait(60) == 0


@pytest.mark.parametrize("way", ["returns", "raises", "returns a list", "returns much"])
def test_a_forked_child_that_comes_out_of_its_item_ends(own_slot: RealSlot, tmp_path: pathlib.Path, way: str) -> None:
    log = str(tmp_path / "log")

    def fork(x: int) -> object:
        if x == 1:
            child = os.fork()
            if child == 0 and way == "raises":
                sys.exit(0)
            if child == 0:
                return {"returns": "child", "returns a list": ["child"], "returns much": bytearray(1 << 20)}[way]
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with pathlib.Path(log).open("a") as ran:
            ran.write(f"{x} ")
        return x

    assert own_slot.map(fork, [0, 1, 2, 3]) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert pathlib.Path(log).read_text() == "0 2 3 "
    assert own_slot.map(lambda x: [x], [1, 2]) == {0: [1], 1: [2]}


def test_forked_children_print_to_the_log_and_work_in_peace(own_slot: RealSlot) -> None:
    def pool(x: int) -> list[int]:
        import multiprocessing

        def child(queue, value):
            print("a child prints", flush=True)
            queue.put(value * 2)

        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        for value in range(x):
            context.Process(target=child, args=(queue, value)).start()
        return sorted(queue.get() for _ in range(x))

    assert own_slot.map(pool, [2, 3]) == {0: [0, 2], 1: [0, 2, 4]}


def test_surroundings(own_slot: RealSlot) -> None:
    job = own_slot.job(lambda x: [os.getsid(0) == os.getpid(), sys.stdin.read(), __import__("__main__").__name__])
    own_slot.page(job, [1])
    own_slot.bite(job, 0, 1)
    assert own_slot.results() == {0: [True, "", "__main__"]}


def test_it_starts_without_heavy_libraries() -> None:
    code = "import twistcluster.nodes.slot, sys; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"twisted", "asyncio", "numpy", "IPython", "matplotlib", "ctypes", "socket"} & set(names)
