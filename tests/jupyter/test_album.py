"""Galleries in the render process's machine, called directly: no process, no link."""

import io
import itertools
import math
import time
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.jupyter.fakes import Found, found, pack, photo
from twistcluster.images.plan import Dropped
from twistcluster.jupyter.album import label_color
from twistcluster.jupyter.render import Render
from twistcluster.jupyter.render_messages import (
    DROPPED,
    PICTURE,
    SHEET,
    WORDS,
    AlbumTile,
    AlbumTiles,
    Card,
    Draw,
    FailedItem,
    OpenAlbum,
    Picture,
    Results,
    Snapshot,
)

requests = itertools.count(1)


def album(*values: Any) -> Render:
    render = Render()
    render.received(OpenAlbum(1), [])
    for index, value in enumerate(values):
        give(render, index, value)
    return render


def give(render: Render, index: int, value: Any) -> None:
    packed = pack([value])
    render.received(Results(1, index, 1, packed.kind, packed.definitions), packed.buffers)


def drawn(render: Render, edge: int = 176) -> list[tuple[AlbumTile, bytes]]:
    """All tiles that come until nothing waits."""
    made: list[tuple[AlbumTile, bytes]] = []
    while True:
        answer = render.received(Draw(1, next(requests), edge=edge), [])
        assert answer is not None
        message, buffers = answer
        assert isinstance(message, AlbumTiles)
        made += zip(message.tiles, map(bytes, buffers), strict=True)
        if not message.more:
            return made


def sheet(render: Render, **fields: Any) -> Image.Image:
    card = Card("birds-3", "done", "9 of 10 done", "1.2 s", [1.0, 0.0, 0.0], [], [], **fields)
    answer = render.received(Snapshot(1, next(requests), card, "light", 1), [])
    assert answer is not None and isinstance(answer[0], Picture)
    return Image.open(io.BytesIO(answer[1][0]))


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (Image.new("RGB", (900, 600), "red"), (900, 600)),
        (Image.new("I;16", (300, 400)), (300, 400)),
        (Image.new("RGBA", (500, 20)), (500, 20)),
        (photo(1, 640, 480), (640, 480)),
        (np.zeros((480, 640, 3), "u1"), (640, 480)),
        (np.linspace(0, 1, 300 * 200).reshape(200, 300), (300, 200)),
        (np.zeros((100, 120, 4), "u1"), (120, 100)),
        ((Image.new("RGB", (400, 300)), Image.new("RGB", (1, 1))), (400, 300)),
    ],
)
def test_pictures_of_all_kinds_become_thumbnails(value, size):
    [(tile, data)] = drawn(album(value))
    assert (tile.kind, tile.width, tile.height) == (PICTURE, *size)
    with Image.open(io.BytesIO(data)) as made:
        assert max(made.size) <= 176
        assert abs(made.width / made.height - size[0] / size[1]) < 0.1 * size[0] / size[1]


def test_a_turned_picture_has_the_size_that_it_is_shown_in():
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200)).save(out, "JPEG", exif=exif)
    [(tile, data)] = drawn(album(out.getvalue()))
    assert (tile.width, tile.height) == (200, 300)
    assert Image.open(io.BytesIO(data)).size == (88, 132)


def test_thumbnails_are_as_wide_as_the_tiles():
    for edge in (176, 352):
        [(_, data)] = drawn(album(Image.new("RGB", (4000, 1000))), edge)
        assert Image.open(io.BytesIO(data)).width == edge


def test_a_preview_is_taken_as_it_is():
    value = found(1)
    [(tile, data)] = drawn(album(value))
    assert data == value.preview
    assert (tile.width, tile.height) == value.size
    assert [label for label, _, _ in tile.labels] == ["ridge", "sky"] and tile.labels[0][2] == value.labels[0][2]


def test_a_large_preview_is_made_smaller():
    [(_, data)] = drawn(album(Found(photo(1, 2000, 1500), (2000, 1500), [])))
    assert Image.open(io.BytesIO(data)).width == 176


def test_without_a_preview_its_labels_are_told():
    [(tile, data)] = drawn(album(Found(b"", (8, 8), [("seven", 0.51, None), ("one", None, None)])))
    assert (tile.kind, tile.text, data) == (WORDS, "seven 0.51  one", b"")


def test_what_no_screen_can_show_is_left_away():
    odd = [("<b>cat</b>" * 50, math.nan, None), (7, 0.5, (1, 2, math.inf, 4))]
    [(tile, _)] = drawn(album(Found(photo(1), (320, 240), odd)))
    assert [(len(label), score, box) for label, score, box in tile.labels] == [(80, None, None), (1, 0.5, None)]


class Surrogate:
    def __repr__(self):
        return "caf\udce9"


def test_text_that_is_no_utf_8_is_spelled_out():
    render = album(Surrogate(), Found(photo(1), (320, 240), [("\udce9", 0.5, None)]))
    made = [tile for tile, _ in drawn(render)]
    assert msgspec.msgpack.encode(made)
    assert made[0].text == "caf\\udce9" and made[1].labels[0][0] == "\\udce9"


class Rude:
    def __tile__(self):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\xff\xd8\xff but no more", "can't be shown: UnidentifiedImageError: "),
        (Rude(), "can't be shown: RuntimeError: not today"),
        (Found(b"\xff\xd8\xff broken", (1, 1), []), "can't be shown: UnidentifiedImageError"),
        (np.zeros((2, 2, 9)), "can't be shown: PictureUnknown: "),
        ({"width": 12}, "{'width': 12}"),
        (None, "None"),
    ],
)
def test_what_is_no_picture_is_words_and_the_others_are_shown(value, text):
    (first, _), (second, _) = drawn(album(value, photo(1)))
    assert first.kind == WORDS and first.text.startswith(text)
    assert second.kind == PICTURE


def test_what_a_filter_left_out_has_no_tile():
    render = album(photo(1), Dropped.DROPPED)
    assert [(tile.kind, bool(data)) for tile, data in drawn(render)] == [(PICTURE, True), (DROPPED, False)]
    assert list(render.views[1].sheet) == [0]


def test_the_first_tile_is_not_waited_for_by_the_others():
    render = album(*[photo(number, 1200, 900) for number in range(60)])
    begun = time.monotonic()
    answer = render.received(Draw(1, next(requests), edge=176), [])
    assert answer is not None and answer[0].more and 1 <= len(answer[0].tiles) < 60
    assert time.monotonic() - begun < 1.0


def test_the_contact_sheet_has_the_first_tiles_whatever_the_order():
    render = album()
    for index in [*range(150, 300), *range(150)]:
        if index == 5:
            render.received(FailedItem(1, index, "OSError: gone"), [])
        else:
            give(render, index, photo(0, 160, 120))
    drawn(render)
    kept = render.views[1].sheet
    assert sorted(kept) == list(range(SHEET)) and kept[5].failed
    assert sheet(render, note="and 200 more").size[0] == 820


def test_a_contact_sheet_of_many_words_shows_them():
    sheets = []
    for value in ({"mean": 3.5}, {"name": "a cat"}):
        render = album(*[value] * SHEET)
        drawn(render)
        sheets.append(sheet(render).convert("RGB"))
    assert sheets[0].size == sheets[1].size and sheets[0] != sheets[1]


def test_a_contact_sheet_shows_boxes_in_their_labels_colours():
    white = io.BytesIO()
    Image.new("RGB", (160, 120), "white").save(white, "PNG")
    value = Found(white.getvalue(), (1600, 1200), [("cat", 0.9, (400, 300, 1200, 900))])
    with_box, without = (album(one) for one in (value, Found(white.getvalue(), (1600, 1200), [])))
    drawn(with_box), drawn(without)
    near = lambda picture: sum(
        all(abs(one - other) < 40 for one, other in zip(pixel, label_color("cat"), strict=True))
        for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()
    )
    assert near(sheet(with_box)) > 100 and near(sheet(without)) == 0


def test_where_nobody_looks_only_the_sheets_thumbnails_are_made():
    made = drawn(album(*[np.zeros((90, 90, 3), "u1")] * (SHEET + 20)), edge=0)
    assert [bool(data) for _, data in made] == [True] * SHEET + [False] * 20
