"""The render process's machine, called directly: no process, no link."""

import io
import itertools
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.jupyter.fakes import pack, photo
from twistcluster.jupyter.pictures import THUMB_HEIGHT, THUMB_WIDTH, is_picture, thumbnail
from twistcluster.jupyter.render import Render
from twistcluster.jupyter.render_messages import (
    MAX_TILES,
    Card,
    Definition,
    Draw,
    FailedItem,
    Frame,
    OpenGallery,
    OpenPlot,
    Picture,
    Results,
    Snapshot,
    Tile,
    Tiles,
)
from twistcluster.jupyter.reprs import in_words
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.functions import dump_function

requests = itertools.count(1)


def card(**fields: Any) -> Card:
    words: dict[str, Any] = {
        "label": "make_thumb-3",
        "state": "done",
        "summary": "9 of 10 done, 1 failed",
        "detail": "1.2 s",
        "parts": [0.9, 0.1, 0.0],
        "errors": [],
        "lines": [],
    }
    return Card(**(words | fields))


def give(render: Render, first: int, values: list[Any], view: int = 1) -> None:
    packed = pack(values)
    render.received(Results(view, first, packed.count, packed.kind, packed.definitions), packed.buffers)


def drawn(render: Render, view: int = 1) -> tuple[list[Tile], list[Any], bool | None]:
    """All tiles that come until nothing waits."""
    tiles: list[Tile] = []
    buffers: list[Any] = []
    while True:
        answer = render.received(Draw(view, next(requests)), [])
        assert answer is not None
        message, more = answer
        assert isinstance(message, Tiles)
        tiles.extend(message.tiles)
        buffers.extend(more)
        if not message.more:
            return tiles, buffers, message.pictures


def gallery() -> Render:
    render = Render()
    render.received(OpenGallery(1), [])
    return render


def plot(draw_fn: Any) -> Render:
    render = Render()
    blob, _ = dump_function(draw_fn, Definitions())
    render.received(OpenPlot(1), [blob])
    return render


def frame(render: Render) -> tuple[Frame, bytes]:
    answer = render.received(Draw(1, next(requests)), [])
    assert answer is not None
    message, buffers = answer
    assert isinstance(message, Frame)
    return message, bytes(buffers[0]) if buffers else b""


def still(render: Render, **fields: Any) -> Image.Image:
    answer = render.received(Snapshot(1, next(requests), card(**fields), "light", 2), [])
    assert answer is not None
    message, buffers = answer
    assert isinstance(message, Picture)
    image = Image.open(io.BytesIO(buffers[0]))
    assert image.size == (message.width * 2, message.height * 2)
    return image


# ---- what is a picture ------------------------------------------------------------------------------------------------


def encoded(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(out, kind)
    return out.getvalue()


PICTURES = {
    **{mode: Image.new(mode, (300, 200)) for mode in ("RGB", "RGBA", "P", "CMYK", "I;16", "1")},
    **{kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP")},
    "bytearray": bytearray(encoded("PNG")),
    "grey array": np.zeros((200, 300), np.uint8),
    "array": np.zeros((200, 300, 3), np.uint8),
}


@pytest.mark.parametrize("value", PICTURES.values(), ids=PICTURES)
def test_pictures_have_thumbnails(value: Any) -> None:
    assert is_picture(value)
    thumb = thumbnail(value)
    assert thumb.image.width <= THUMB_WIDTH and thumb.image.height <= THUMB_HEIGHT
    assert Image.open(io.BytesIO(thumb.data)).size == thumb.image.size


@pytest.mark.parametrize(
    "value",
    [7, "text", b"", b"GIF89a", None, np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8), [1]],
    ids=str,
)
def test_other_values_are_no_pictures(value: Any) -> None:
    assert not is_picture(value)


def test_a_thumbnail_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    out = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(out, "JPEG", exif=exif)
    image = thumbnail(out.getvalue()).image
    assert image.height > image.width


def test_small_pictures_are_kept_exactly() -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(thumbnail(digit).data))), digit)


def test_a_picture_that_was_handed_in_is_not_changed() -> None:
    image = Image.new("RGB", (900, 600))
    thumbnail(image)
    assert image.size == (900, 600)


# ---- galleries --------------------------------------------------------------------------------------------------------


def test_pictures_become_tiles() -> None:
    render = gallery()
    give(render, 0, [photo(0)])
    give(render, 1, [photo(1), photo(2)])
    tiles, buffers, pictures = drawn(render)
    assert pictures is True
    assert [tile.index for tile in tiles] == [0, 1, 2]
    assert all(bytes(data).startswith(b"\xff\xd8\xff") for data in buffers)


def test_numbers_are_no_gallery_and_the_rest_is_not_decoded() -> None:
    render = gallery()
    give(render, 0, [*range(100)])
    assert drawn(render) == ([], [], False)
    give(render, 100, [photo(1)])
    assert drawn(render) == ([], [], False)


def test_a_few_results_leave_it_open() -> None:
    render = gallery()
    give(render, 0, [1, 2, 3])
    assert drawn(render)[2] is None
    give(render, 3, [photo(3)])
    tiles, _, pictures = drawn(render)
    assert pictures is True
    assert [(tile.index, tile.text) for tile in tiles] == [(0, "1"), (1, "2"), (2, "3"), (3, "")]


def test_a_broken_picture_is_a_tile_that_says_so() -> None:
    render = gallery()
    give(render, 0, [photo(0), photo(1)[:400], b"\xff\xd8\xffnonsense"])
    tiles, _, _ = drawn(render)
    assert [bool(tile.width) for tile in tiles] == [True, False, False]
    assert all("broken picture" in tile.text for tile in tiles[1:])


class Spiteful:
    def __reduce__(self) -> Any:
        return (int, ("no number",))


def test_a_result_that_can_not_be_decoded_is_a_tile_that_says_so() -> None:
    render = gallery()
    give(render, 0, [photo(0)])
    give(render, 1, [Spiteful()])
    give(render, 2, [photo(2)])
    tiles, _, _ = drawn(render)
    assert "could not be decoded: ValueError" in tiles[1].text
    assert tiles[2].width


def test_a_gallery_is_bounded() -> None:
    render = gallery()
    tiny = np.zeros((2, 2), np.uint8)
    give(render, 0, [tiny] * (MAX_TILES + 50))
    give(render, MAX_TILES + 50, [tiny])
    assert len(drawn(render)[0]) == MAX_TILES


def test_results_may_be_of_a_notebooks_class() -> None:
    class Wrapped:
        def __repr__(self) -> str:
            return "<wrapped>"

    Wrapped.__module__ = "__main__"
    book = Definitions()
    packed = pack([photo(0), Wrapped()], book)
    assert packed.definitions
    render = gallery()
    for digest in packed.definitions:
        render.received(Definition(digest), [book.blob(digest)])
    render.received(Results(1, 0, packed.count, packed.kind, packed.definitions), packed.buffers)
    assert [tile.text for tile in drawn(render)[0]] == ["", "<wrapped>"]


@pytest.mark.parametrize("count", [1, 18, 100, 500])
def test_the_contact_sheet_stays_a_page(count: int) -> None:
    render = gallery()
    give(render, 0, [np.full((30, 40, 3), index % 250, np.uint8) for index in range(count)])
    drawn(render)
    render.received(FailedItem(1, 0, "ValueError: " + "long " * 50), [])
    image = still(render, errors=["item 0  ValueError"], lines=["0: hello"] * 8, note="a note")
    assert image.height < 2 * 1800


def test_the_still_picture_takes_any_text() -> None:
    render = gallery()
    still(render, label="x" * 500, summary="日本 \x00 \n <b>", errors=["e" * 5000], lines=["\t\x1b[31m"], parts=[])


# ---- the one result of a job of one item ------------------------------------------------------------------------------


def only_result(value: Any) -> str:
    render = gallery()
    give(render, 0, [value])
    answer = render.received(Draw(1, next(requests), single=True), [])
    assert answer is not None and isinstance(answer[0], Tiles)
    return answer[0].result


class Writes:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        if not self.text:
            raise ValueError
        return self.text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (42, "42"),
        (None, "None"),
        ("<b>\n\x1b", "'<b>\\n\\x1b'"),
        ({"b": [1], "a": (2,)}, "{'b': [1], 'a': (2,)}"),
        (Writes("a\nb"), "a\nb"),
        (Writes("a\nb\nc"), "a\nb …"),
        (Writes("\x1b[31m\ud800"), "\\x1b[31m\\ud800"),
        (Writes(""), "a Writes"),
        ("x" * 300, "'" + "x" * 198 + "…"),
        ([0] * 300, "[" + "0, " * 66 + "…"),
        (np.arange(3), "array([0, 1, 2])"),
        (photo(0), ""),
        (np.zeros((4, 4), np.uint8), ""),
    ],
)
def test_the_only_result_is_told_in_words_unless_it_is_a_picture(value: Any, told: str) -> None:
    assert only_result(value) == told


def test_a_huge_result_is_told_at_once() -> None:
    begun = time.process_time()
    huge = [list(range(2_000_000))] * 2, {"key": "x" * 10**8}
    assert in_words(huge).startswith("([[0, 1, 2, ")
    assert in_words(huge[1]).startswith("{'key': 'xxx")
    assert in_words(set(range(2_000_000))).endswith("…")
    assert time.process_time() - begun < 2


def test_an_only_result_that_can_not_be_decoded_says_so() -> None:
    assert only_result(Spiteful()).startswith("could not be decoded: ValueError")


def test_results_of_longer_jobs_are_not_told() -> None:
    render = gallery()
    give(render, 0, [42])
    answer = render.received(Draw(1, next(requests)), [])
    assert answer is not None and isinstance(answer[0], Tiles) and answer[0].result == ""


def test_the_still_picture_has_the_whole_result() -> None:
    render = gallery()
    without, short, wide = (still(render, result=text).height for text in ("", "42", "x" * 200))
    assert without < short < wide
    still(render, result="日本 \x00 <b>\n" + "W" * 190)


# ---- plots ------------------------------------------------------------------------------------------------------------


def test_a_plot_gets_new_results_and_keeps_its_state() -> None:
    def draw(ax: Any, new: list[int], state: dict[str, Any]) -> None:
        state.setdefault("all", []).extend(new)
        ax.clear()
        ax.set_title(f"{len(new)} new, {len(state['all'])} in all")
        ax.plot(state["all"])
        assert state["all"] == list(range(len(state["all"])))

    render = plot(draw)
    give(render, 0, [0, 1, 2])
    first, picture = frame(render)
    assert first.error == "" and picture.startswith(b"\x89PNG")
    give(render, 3, [3, 4])
    second, other = frame(render)
    assert second.error == "" and other != picture


def test_a_plot_that_raises_goes_on() -> None:
    def draw(ax: Any, new: list[int], state: dict[str, Any]) -> None:
        if 1 in new:
            raise ValueError("oops")
        ax.plot(new)

    render = plot(draw)
    give(render, 0, [1])
    message, picture = frame(render)
    assert message.error.startswith("ValueError: oops\nline ") and " of draw" in message.error
    assert picture
    give(render, 1, [2])
    assert frame(render)[0].error == ""


def test_a_mistake_that_shows_only_while_drawing_is_told() -> None:
    def draw(ax: Any, new: list[int], state: dict[str, Any]) -> None:
        ax.set_title("$\\nosuchcommand{x$")

    render = plot(draw)
    give(render, 0, [1])
    assert frame(render)[0].error.startswith("while drawing: ParseFatalException")


def test_a_function_that_can_not_be_loaded_is_told() -> None:
    render = Render()
    render.received(OpenPlot(1), [b"no pickle"])
    give(render, 0, [1])
    message, picture = frame(render)
    assert "could not be loaded" in message.error and picture == b""
    still(render)


def test_requests_for_a_closed_view_have_no_answer() -> None:
    assert Render().received(Draw(9, 1), []) is None
