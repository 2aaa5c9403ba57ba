import pytest

from twistcluster.storage import layout

ID = bytes(range(16))


def file_of(parts) -> bytearray:
    laid = layout.lay_out(ID, parts)
    memory = bytearray(laid.end)
    for offset, piece in laid.pieces:
        memory[offset : offset + piece.nbytes] = piece
    return memory


@pytest.mark.parametrize(
    "parts", [[], [b""], [b"", b"", b"x"], [b"x", b""], [b"pickle", bytearray(b"y" * 1000), memoryview(b"z" * 65)]]
)
def test_parts_come_back(parts):
    found = layout.parts_in(ID, memoryview(file_of(parts)))
    assert [bytes(part) for part in found] == [bytes(part) for part in parts]


def test_parts_lie_at_multiples_of_64_bytes():
    laid = layout.lay_out(ID, [b"a" * 3, b"", b"b" * 100, b"c"])
    assert [offset % 64 for offset, _ in laid.pieces] == [0, 0, 0, 0]
    assert laid.nbytes == 104


def test_what_segments_leave_unused_is_bounded():
    sizes = sorted({2**power + more for power in range(10, 34) for more in (-1, 0, 1, 300, 5000)})
    for size in sizes:
        segment = layout.segment_bytes(size)
        assert segment >= size
        if size > 20_000:
            assert segment - size <= 0.25 * size
    assert len({layout.segment_bytes(size) for size in range(10**6, 2 * 10**6, 1000)}) <= 6


def test_an_array_of_8_mib_needs_no_segment_of_10():
    assert layout.segment_bytes(8 * 2**20 + 500) == 8 * 2**20 + 4096


def test_a_file_cut_short_is_damaged():
    whole = file_of([b"pickle", b"y" * 1000])
    for size in range(len(whole)):
        with pytest.raises(layout.ObjectDamaged, match="damaged"):
            layout.parts_in(ID, memoryview(whole)[:size])


@pytest.mark.parametrize("at", [0, 8, 24, 31, 32, 39])
def test_a_wrong_header_is_damaged(at):
    memory = file_of([b"pickle", b"y" * 1000])
    memory[at] ^= 0xFF
    with pytest.raises(layout.ObjectDamaged, match="damaged"):
        layout.parts_in(ID, memoryview(memory))


def test_names():
    assert layout.is_object(ID.hex())
    assert not layout.is_object("lock")
    assert not layout.is_object(layout.FREE + ID.hex())
    assert not layout.is_object(layout.NEW + ID.hex())
