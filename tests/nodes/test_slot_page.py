"""The page that a slot shares with its worker: what it printed last, and where it was."""

import mmap

import pytest

from twistcluster.nodes.slot_page import FILE_BYTES, TRACE_AT, PrintedTail, new_words, read_trace


@pytest.fixture
def page() -> mmap.mmap:
    return mmap.mmap(-1, FILE_BYTES)


def test_the_last_lines_of_the_item_that_printed_last(page: mmap.mmap) -> None:
    tail = PrintedTail(page)
    tail.write(3, "of three\n")
    tail.write(4, "one\n")
    tail.write(4, "two")
    tail.write(4, " and a half\n")
    other = PrintedTail(page)  # the worker's
    assert (other.lines(4), other.lines(3), other.lines(5)) == ("one\ntwo and a half", "", "")


def test_ten_lines_at_most(page: mmap.mmap) -> None:
    tail = PrintedTail(page)
    for number in range(100):
        tail.write(1, f"line {number}\n")
    assert tail.lines(1) == "\n".join(f"line {number}" for number in range(90, 100))


@pytest.mark.parametrize("piece", [1, 7, 1000, 4000, 5000, 100_000])
def test_the_ring_goes_round_in_pieces_of_any_size(page: mmap.mmap, piece: int) -> None:
    tail = PrintedTail(page)
    text = "".join(f"{number:06}\n" for number in range(20_000))
    for at in range(0, len(text), piece):
        tail.write(1, text[at : at + piece])
    assert tail.lines(1).splitlines() == [f"{number:06}" for number in range(19_990, 20_000)]


def test_one_long_line_keeps_its_end(page: mmap.mmap) -> None:
    tail = PrintedTail(page)
    tail.write(1, "x" * 10_000 + "end")
    assert tail.lines(1).endswith("xend") and len(tail.lines(1)) == PrintedTail.RING


def test_other_alphabets_may_be_cut_but_break_nothing(page: mmap.mmap) -> None:
    tail = PrintedTail(page)
    tail.write(1, "ж" * 5000 + "\ud800!")
    assert tail.lines(1).endswith("жж?!")


def test_it_touches_nothing_beside_the_ring(page: mmap.mmap) -> None:
    words = new_words(page)
    words[0] = words[3] = 77
    page[TRACE_AT : TRACE_AT + 4] = b"mine"
    PrintedTail(page).write(1, "x" * 20_000)
    assert (words[0], words[3], page[TRACE_AT : TRACE_AT + 4]) == (77, 77, b"mine")


def test_the_trace_ends_where_our_code_begins(page: mmap.mmap) -> None:
    said = (
        b"Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n"
        b'  File "/usr/lib/ctypes/__init__.py", line 519 in string_at\n  File "/home/me/x.py", line 3 in crash\n'
        b'  File "/site-packages/twistcluster/nodes/slot_loops.py", line 40 in run_ones\n'
        b'  File "/home/me/other.py", line 1 in never_told\n\nExtension modules: numpy\n'
    )
    page[TRACE_AT : TRACE_AT + len(said)] = said
    assert read_trace(page).splitlines() == [
        'File "/usr/lib/ctypes/__init__.py", line 519 in string_at',
        'File "/home/me/x.py", line 3 in crash',
    ]


def test_no_trace_is_none(page: mmap.mmap) -> None:
    assert read_trace(page) == ""
