"""The still picture of a view: what stays in the saved notebook, and what is seen where there is no widget.

Owns: its layout and colours. Drawn with Pillow, in the render process. Must not know: jobs, the link.
"""

import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from twistcluster.jupyter.render_messages import Card

__all__ = ["SHEET_TILES", "WIDTH", "CardTile", "draw_card"]

WIDTH: Final = 820
"""CSS pixels, as are all lengths here."""
PADDING: Final = 16
GAP: Final = 6
SHEET_TILES: Final = 400
"""More tiles than this are counted, not drawn."""
PALETTE_ABOVE_BYTES: Final = 1_500_000
MONO: Final = "DejaVuSansMono"
RESULT_SIZE: Final = 12
RESULT_LINE: Final = 17

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by what they are for."""

    page: Color
    card: Color
    edge: Color
    text: Color
    muted: Color
    track: Color
    done: Color
    failed: Color
    cancelled: Color
    failed_tile: Color
    box: Color


THEMES: Final = {
    "light": Theme(
        page=(255, 255, 255),
        card=(255, 255, 255),
        edge=(218, 220, 224),
        text=(32, 33, 36),
        muted=(95, 99, 104),
        track=(232, 234, 237),
        done=(25, 118, 210),
        failed=(198, 40, 40),
        cancelled=(158, 158, 158),
        failed_tile=(253, 236, 234),
        box=(246, 247, 248),
    ),
    "dark": Theme(
        page=(17, 17, 17),
        card=(17, 17, 17),
        edge=(66, 66, 70),
        text=(232, 234, 237),
        muted=(168, 172, 178),
        track=(58, 59, 63),
        done=(100, 181, 246),
        failed=(239, 118, 113),
        cancelled=(128, 128, 128),
        failed_tile=(66, 36, 36),
        box=(38, 39, 42),
    ),
}


@dataclass(frozen=True, slots=True)
class CardTile:
    """A tile of the contact sheet: a picture, or words where there is none."""

    image: Image.Image | None
    text: str = ""
    failed: bool = False


@lru_cache
def _font(size: int, name: str = "DejaVuSans") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Matplotlib ships these fonts; finding them doesn't import it.
    spec = importlib.util.find_spec("matplotlib")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
        if path.exists():
            return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


class _Pen:
    """A sheet of paper that grows downwards; lengths in CSS pixels."""

    def __init__(self, height: int, theme: Theme, scale: int) -> None:
        self.theme = theme
        self.scale = scale
        self.image = Image.new("RGB", (WIDTH * scale, height * scale), theme.page)
        self.draw = ImageDraw.Draw(self.image)

    def box(self, x: float, y: float, width: float, height: float, fill: Color, radius: float = 0) -> None:
        scale = self.scale
        corners = (x * scale, y * scale, (x + width) * scale - 1, (y + height) * scale - 1)
        if corners[2] >= corners[0]:
            self.draw.rounded_rectangle(corners, radius * scale, fill=fill)

    def text(
        self, x: float, y: float, text: str, size: int, color: Color, font: str = "DejaVuSans", width: float = 0
    ) -> float:
        """One line, cut with an ellipsis to `width`; `y` is its middle. Returns its length."""
        face = _font(size * self.scale, font)
        text = _printable(text)
        if width:
            text = _cut(text, face, width * self.scale)
        self.draw.text((x * self.scale, y * self.scale), text, font=face, fill=color, anchor="lm")
        return face.getlength(text) / self.scale

    def paste(self, image: Image.Image, x: float, y: float, width: float, height: float) -> None:
        """A picture, as large as fits, in the middle of the given box."""
        box_width, box_height = round(width * self.scale), round(height * self.scale)
        factor = min(box_width / image.width, box_height / image.height)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        sharp = factor > 2
        shown = image.resize(size, Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS)
        at = (round(x * self.scale) + (box_width - size[0]) // 2, round(y * self.scale) + (box_height - size[1]) // 2)
        self.image.paste(shown, at, shown if shown.mode == "RGBA" else None)


def draw_card(
    card: Card,
    tiles: Mapping[int, CardTile],
    plot: Image.Image | None,
    theme_name: str,
    scale: int,
) -> tuple[bytes, int, int]:
    """Draw a view as one picture; returns the PNG, and its width and height in CSS pixels."""
    theme = THEMES[theme_name]
    inner = WIDTH - 2 * PADDING
    indices = sorted(tiles)[:SHEET_TILES]
    more = f"{len(tiles) - SHEET_TILES} more tiles are not in this picture" if len(tiles) > SHEET_TILES else ""
    note = " · ".join(word for word in (more, card.note) if word)
    grid = _Grid.of(len(indices), inner)
    plot_height = round(inner * plot.height / plot.width) if plot else 0
    parts = [
        54.0,
        grid.height + 12 if indices else 0,
        plot_height + 12 if plot else 0,
        len(card.errors) * 19 + 10 if card.errors else 0,
        len(card.lines) * 16 + 26 if card.lines else 0,
        26 if note else 0,
    ]
    result = _wrapped(card.result, _font(RESULT_SIZE * scale, MONO), inner * scale)
    result_height = len(result) * RESULT_LINE + 8 if result else 0
    height = math.ceil(sum(parts) + result_height + 2 * PADDING - 8)
    pen = _Pen(height, theme, scale)
    pen.box(0, 0, WIDTH, height, theme.edge, 8)
    pen.box(1, 1, WIDTH - 2, height - 2, theme.card, 7)
    _header(pen, card, inner)
    y = PADDING + parts[0]
    for number, line in enumerate(result):
        pen.text(PADDING, y + RESULT_LINE * (number + 0.5), line, RESULT_SIZE, theme.text, MONO)
    y += result_height
    if indices:
        _sheet(pen, [(index, tiles[index]) for index in indices], grid, y, card.captions)
        y += parts[1]
    if plot:
        pen.paste(plot, PADDING, y, inner, plot_height)
        y += parts[2]
    for line in card.errors:
        pen.text(PADDING, y + 9, line, 12, theme.failed, width=inner)
        y += 19
    y += 10 if card.errors else 0
    if card.lines:
        pen.box(PADDING, y, inner, len(card.lines) * 16 + 14, theme.box, 4)
        for number, line in enumerate(card.lines):
            pen.text(PADDING + 8, y + 15 + 16 * number, line, 11, theme.text, MONO, inner - 16)
        y += parts[4]
    if note:
        pen.text(PADDING, y + 8, note, 11, theme.muted, width=inner)
    return _png(pen.image, final=scale > 1), WIDTH, height


def _header(pen: _Pen, card: Card, inner: int) -> None:
    theme = pen.theme
    detail_width = _font(12 * pen.scale).getlength(_printable(card.detail)) / pen.scale
    room = inner - detail_width - 24
    used = pen.text(PADDING, PADDING + 10, card.label, 14, theme.text, "DejaVuSans-Bold", room * 0.5)
    pen.text(PADDING + used + 12, PADDING + 10, card.summary, 13, theme.text, width=room - used)
    pen.text(WIDTH - PADDING - detail_width, PADDING + 10, card.detail, 12, theme.muted)
    _bar(pen, card.parts, PADDING, PADDING + 30, inner)


def _bar(pen: _Pen, parts: Sequence[float], x: float, y: float, width: float) -> None:
    theme = pen.theme
    fine = 4  # drawn larger and made smaller: Pillow's shapes have hard edges
    size = (round(width * pen.scale), 8 * pen.scale)
    bar = Image.new("RGB", size, theme.track)
    draw = ImageDraw.Draw(bar)
    start = 0.0
    for part, color in zip(parts, (theme.done, theme.failed, theme.cancelled), strict=False):
        if part > 0:
            # At least 2 pixels: one failure in ten thousand shows.
            left = min(start, 1 - 2 / width) * size[0]
            draw.rectangle(
                (round(left), 0, round(max(left + 2 * pen.scale, (start + part) * size[0])), size[1]), fill=color
            )
        start += part
    mask = Image.new("L", (size[0] * fine, size[1] * fine))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 4 * pen.scale * fine, fill=255)
    pen.image.paste(bar, (round(x * pen.scale), round(y * pen.scale)), mask.resize(size, Image.Resampling.BOX))


@dataclass(frozen=True, slots=True)
class _Grid:
    """Tiles of one size; the more there are, the smaller, so that the sheet stays a page."""

    columns: int
    rows: int
    width: float
    picture: float
    caption: int

    @classmethod
    def of(cls, count: int, inner: int) -> "_Grid":
        columns = next((n for n, most in ((6, 18), (8, 40), (10, 80), (12, 144)) if count <= most), 16)
        width = (inner - GAP * (columns - 1)) / columns
        return cls(columns, math.ceil(count / columns), width, round(width * 0.75), 13 if columns < 12 else 11)

    @property
    def pitch(self) -> float:
        return self.picture + self.caption + GAP

    @property
    def height(self) -> float:
        return self.rows * self.pitch - GAP


def _sheet(
    pen: _Pen, tiles: Sequence[tuple[int, CardTile]], grid: _Grid, top: float, captions: Mapping[int, str]
) -> None:
    theme = pen.theme
    size = 10 if grid.columns < 10 else 9 if grid.columns < 12 else 8
    for place, (index, tile) in enumerate(tiles):
        x = PADDING + (place % grid.columns) * (grid.width + GAP)
        y = top + (place // grid.columns) * grid.pitch
        pen.box(x, y, grid.width, grid.picture, theme.failed_tile if tile.failed else theme.box, 3)
        if tile.image is not None:
            pen.paste(tile.image, x, y, grid.width, grid.picture)
        else:
            _words(pen, tile, x, y, grid, size)
        caption = captions.get(index) or (f"{index} failed" if tile.failed else str(index))
        color = theme.failed if tile.failed else theme.muted
        pen.text(x + 1, y + grid.picture + grid.caption / 2 + 1, caption, size, color, width=grid.width - 1)


def _words(pen: _Pen, tile: CardTile, x: float, y: float, grid: _Grid, size: int) -> None:
    color = pen.theme.failed if tile.failed else pen.theme.muted
    if grid.columns > 10 and tile.failed:
        # No room for reasons: they stand in the list of errors.
        pen.text(x + grid.width / 2 - 4, y + grid.picture / 2, "✕", 12, color)
        return
    face = _font(size * pen.scale)
    room = (grid.width - 8) * pen.scale
    lines: list[str] = []
    rest = _printable(tile.text)
    most = max(1, int((grid.picture - 6) / (size + 3)))
    while rest and len(lines) < most:
        fits = len(rest)
        while fits > 1 and face.getlength(rest[:fits]) > room:
            fits -= 1
        if fits < len(rest) and (space := rest.rfind(" ", 0, fits)) > 0:
            fits = space
        lines.append(rest[:fits])
        rest = rest[fits:].lstrip()
    if rest and lines:
        lines[-1] = lines[-1][:-1] + "…"
    for number, line in enumerate(lines):
        pen.text(x + 4, y + 5 + size / 2 + number * (size + 3), line, size, color)


def _printable(text: str) -> str:
    """One line without control characters: users' text may hold anything."""
    return "".join(char if char.isprintable() else " " for char in text[:2000])


def _cut(text: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    if face.getlength(text) <= room:
        return text
    low, high = 0, min(len(text), 1000)
    while low < high:
        middle = (low + high + 1) // 2
        if face.getlength(text[:middle] + "…") <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low] + "…"


def _wrapped(text: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> list[str]:
    """Its lines, each broken where it is full. For short texts."""
    lines: list[str] = []
    for rest in map(_printable, text.splitlines()):
        start = 0
        for end in range(1, len(rest) + 1):
            if end - start > 1 and face.getlength(rest[start:end]) > room:
                lines.append(rest[start : end - 1])
                start = end - 1
        lines.append(rest[start:])
    return lines


def _png(image: Image.Image, *, final: bool) -> bytes:
    out = io.BytesIO()
    if final:
        image.save(out, "PNG", compress_level=7)
        if len(out.getvalue()) <= PALETTE_ABOVE_BYTES:
            return out.getvalue()
        out = io.BytesIO()
    # A third of the size; dithering where it stays, banding where it passes in half a second.
    image = image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG if final else Image.Dither.NONE)
    image.save(out, "PNG", compress_level=7 if final else 1)
    return out.getvalue()
