"""What a gallery shows, and what a front end gets of it."""

import errno
import tempfile

import msgspec
import pytest

from twistcluster.client.views import Progress
from twistcluster.jupyter.album_content import FACTS_A_FRAME, TILES_A_FRAME, WISHES, AlbumContent
from twistcluster.jupyter.render_messages import DROPPED, PICTURE, WORDS, AlbumTile
from twistcluster.jupyter.spool import Spool
from twistcluster.wire.messages import ErrorInfo

LABELS = (("cat", 0.91, (1.0, 2.0, 3.0, 4.0)), ("dog", 0.3, None), ("cat", 0.2, None))


def progress(count=10, **fields):
    words = {"done": 0, "failed": 0, "cancelled": 0, "running": 0, "rate": 0.0, "seconds_left": None}
    return Progress(**({"state": "running", "count": count, "elapsed": 1.0, "waiting": ""} | words | fields))


@pytest.fixture
def content():
    made = AlbumContent("birds-3", progress(), lambda index: f"IMG_{index}.jpg")
    yield made
    made.close()


def put(content, *indices, labels=()):
    for index in indices:
        content.drawn(AlbumTile(index, PICTURE, 640, 480, labels), b"jpeg %d" % index)


def tiles(content):
    frame, buffers = content.frame()
    return [tile["index"] for tile in frame.get("tiles", [])], buffers


def test_a_front_end_gets_what_it_asked_for_and_facts_of_all(content):
    content.want([4, 5])
    put(content, 4, 9, labels=LABELS)
    frame, buffers = content.frame()
    assert frame["facts"] == [[4, PICTURE, 0, 0.91, 1, 0.3], [9, PICTURE, 0, 0.91, 1, 0.3]]
    assert frame["labels"] == ["cat", "dog"] and frame["labels_from"] == 0
    [tile] = frame["tiles"]
    assert (tile["index"], tile["name"], tile["size"]) == (4, "IMG_4.jpg", [640, 480])
    assert tile["labels"][0] == ["cat", 0.91, [1.0, 2.0, 3.0, 4.0]] and buffers == [b"jpeg 4"]
    assert not content.changed


def test_what_was_asked_for_goes_out_when_it_comes(content):
    content.want([3])
    assert tiles(content) == ([], []) and not content.changed and content.looked_at == [3]
    put(content, 3)
    assert tiles(content) == ([3], [b"jpeg 3"]) and content.looked_at == []


def test_the_latest_wish_counts_and_comes_in_its_order(content):
    put(content, *range(8))
    content.want([1, 2])
    content.want([7, 6, 5])
    assert tiles(content)[0] == [7, 6, 5]


def test_before_a_front_end_speaks_it_gets_the_first(content):
    put(content, 0, 1, 500)
    assert tiles(content)[0] == [0, 1]


def test_frames_are_small():
    content = AlbumContent("birds-3", progress(10_000), str)
    content.want(range(10_000))
    put(content, *range(3 * FACTS_A_FRAME))
    frame, buffers = content.frame()
    assert len(frame["facts"]) == FACTS_A_FRAME and len(buffers) == TILES_A_FRAME
    sent = list(tiles(content)[0])
    while content.changed:
        sent += tiles(content)[0]
    assert len(sent) + len(buffers) == WISHES
    content.close()


def test_nonsense_of_a_front_end_is_no_wish(content):
    put(content, 0)
    content.want(["0", -1, None, 1e9, [0], 10**9])
    assert content.looked_at == [10**9] and tiles(content)[0] == []


def test_an_error_is_a_tile_with_its_whole_reason(content):
    reason = "no such file: " + "deep/" * 200 + "a.jpg\nsecond line"
    content.want([7])
    assert content.failed(7, ErrorInfo("raised", "FileNotFoundError", reason)) == f"FileNotFoundError: {reason}"
    frame, buffers = content.frame()
    assert frame["facts"] == [[7, 2]] and frame["tiles"][0]["text"] == f"FileNotFoundError: {reason}"
    assert buffers == [b""]
    put(content, 7)  # it was run again
    assert content.snapshot()["facts"] == [[7, PICTURE]]


def test_a_reloaded_page_starts_from_facts_and_asks_for_tiles(content):
    put(content, 2, 1, labels=LABELS)
    content.drawn(AlbumTile(5, DROPPED), b"")
    while content.changed:
        content.frame()
    snapshot = content.snapshot()
    assert snapshot["facts"] == [[1, PICTURE, 0, 0.91, 1, 0.3], [2, PICTURE, 0, 0.91, 1, 0.3], [5, DROPPED]]
    assert snapshot["labels"] == ["cat", "dog"] and "tiles" not in snapshot
    content.want([1])
    assert tiles(content)[0] == [1]


def test_a_name_that_can_not_be_told_is_a_number():
    content = AlbumContent("birds-3", progress(), lambda index: [][index])
    put(content, 3)
    assert content.frame()[0]["tiles"][0]["name"] == "picture 3"
    content.close()


def test_a_name_that_is_no_utf_8_is_spelled_out(content):
    made = AlbumContent("birds-3", progress(), lambda index: "caf\udce9.jpg")
    put(made, 0)
    made.failed(1, ErrorInfo("raised", "OSError", "caf\udce9.jpg is gone", ""))
    frame, _ = made.frame()
    assert [tile["name"] for tile in frame["tiles"]] == ["caf\\udce9.jpg"] * 2
    assert frame["tiles"][1]["text"] == "OSError: caf\\udce9.jpg is gone"
    assert msgspec.msgpack.encode(made.card("")) and made.card("").captions[0] == "caf\\udce9.jpg"
    made.close()


def test_the_contact_sheet_tells_what_is_not_on_it():
    content = AlbumContent("birds-3", progress(11_200, state="done", done=11_200), lambda index: f"IMG_{index}.jpg")
    for index in range(11_200):
        if index % 28 < 3:
            content.drawn(AlbumTile(index, DROPPED), b"")
        else:
            put(content, index, labels=LABELS if index == 3 else ())
    card = content.card("")
    assert card.note == "and 9,900 more · 1,200 left out"
    assert len(card.captions) == 100 and card.captions[3] == "cat 0.91" and card.captions[4] == "IMG_4.jpg"
    assert content.text("").splitlines()[1] == "10,000 pictures, 1,200 left out"
    content.close()


def test_a_full_disk_costs_the_tiles_and_is_told(content, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "put", full)
    put(content, 0)
    content.look(progress(done=1))
    frame, buffers = content.frame()
    assert frame["facts"] == [[0, PICTURE]] and buffers == []
    assert frame["status"]["plot_error"] == "no room for more tiles in the temporary folder: No space left on device"
    assert content.card("").captions == {0: "IMG_0.jpg"}


def test_places_of_a_job_whose_end_nobody_knows():
    content = AlbumContent("birds-3", progress(None), str)
    put(content, 41)
    content.look(progress(None, done=1))
    assert content.frame()[0]["status"]["tiles"] == 42
    content.close()


def test_words_are_tiles_too(content):
    content.drawn(AlbumTile(0, WORDS, text="{'width': 12}"), b"")
    assert content.frame()[0]["tiles"][0]["text"] == "{'width': 12}"
    assert content.text("").splitlines()[1] == "1 result"
    put(content, 1, 2)
    assert content.text("").splitlines()[1] == "2 pictures, 1 other result"


def test_frames_can_be_said_as_json(content):
    put(content, 0, labels=LABELS)
    frame, _ = content.frame()
    assert msgspec.json.decode(msgspec.json.encode(frame)) == msgspec.to_builtins(frame)


# ---- where tiles are kept ---------------------------------------------------------------------------------------------


def test_a_spool_keeps_some_in_memory_and_the_others_in_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool(memory=10)
    said = [b"12345", b"67890", b"a file's", b"", b"x" * 100_000]
    places = [spool.put(data) for data in said]
    assert [spool.get(place) for place in places] == said
    assert spool._file is not None and list(tmp_path.iterdir()) == []
    spool.close()
    spool.close()
