import io
import sys

import pytest

from twistcluster.nodes.slot_output import HEAD_BYTES, TAIL_BYTES, Capture, CaughtStream


@pytest.fixture
def running() -> list[int | None]:
    return [None]


@pytest.fixture
def capture(running: list[int | None]) -> Capture:
    return Capture(lambda: running[0])


def test_between_items_nothing_is_caught(capture: Capture) -> None:
    behind = io.StringIO()
    stream = CaughtStream(capture, behind)
    print("hello", file=stream)
    assert behind.getvalue() == "hello\n"
    assert not capture.waiting


def test_each_item_has_its_own(capture: Capture, running: list[int | None]) -> None:
    stream = CaughtStream(capture, io.StringIO())
    running[0] = 3
    stream.write("a")
    stream.write("b")
    running[0] = 5
    stream.write("c")
    assert capture.waiting
    assert capture.take(ended=True) == [(3, "ab", 0), (5, "c", 0)]
    assert not capture.waiting and capture.take(ended=True) == []


def test_the_head_leaves_while_the_item_runs(capture: Capture, running: list[int | None]) -> None:
    running[0] = 1
    capture.write("early ")
    assert capture.take(ended=False) == [(1, "early ", 0)]
    capture.write("late")
    assert capture.take(ended=True) == [(1, "late", 0)]


@pytest.mark.parametrize("piece", ["x" * 10, "ü" * 7, "x" * 200_000, "日本" * 50_000])
def test_bounds(capture: Capture, running: list[int | None], piece: str) -> None:
    running[0] = 1
    total = 0
    texts = []
    dropped = 0
    while total < 3 * (HEAD_BYTES + TAIL_BYTES):
        capture.write(piece)
        total += len(piece.encode())
        texts += [caught.text for caught in capture.take(ended=False)]
    for caught in capture.take(ended=True):
        texts.append(caught.text)
        dropped += caught.dropped_bytes
    kept = len("".join(texts).encode())
    assert kept <= HEAD_BYTES + TAIL_BYTES
    assert kept > HEAD_BYTES + TAIL_BYTES - 2 * len(piece.encode()) - 8 or kept > HEAD_BYTES
    assert kept + dropped == total


def test_a_stream_that_behaves_as_one(capture: Capture, running: list[int | None]) -> None:
    stream = CaughtStream(capture, sys.__stderr__)
    running[0] = 0
    assert stream.writable() and not stream.isatty() and not stream.closed
    assert (stream.encoding, stream.errors) == ("utf-8", "replace")
    stream.close()
    stream.flush()
    stream.writelines(["a", "b"])
    stream.buffer.write(b"\xff")
    with pytest.raises(TypeError):
        stream.write(b"bytes")
    assert capture.take(ended=True) == [(0, "ab�", 0)]
