"""A small table: what is known about pictures, a row each.

Owns: its columns, how it looks, and its ways into pandas and Polars. Must not know: where its rows come from.
"""

import html
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from twistcluster.client.tables import table
from twistcluster.client.texts import spelled_out
from twistcluster.errors import TwistclusterError
from twistcluster.images.columns import column

__all__ = ["Table"]

SHOWN: Final = 20
CELL_CHARACTERS: Final = 40
ERROR_CHARACTERS: Final = 120
TITLE_CHARACTERS: Final = 1000
PATHS: Final = ("source", "path")
"""Columns of which the ends of values say more than their beginnings."""

_LEFT: Final = ' style="text-align: left"'
_LEFT_WHOLE: Final = ' style="text-align: left; white-space: nowrap"'
_SWATCH: Final = "display: inline-block; width: 2em; height: 1em; margin: 0 2px; vertical-align: middle; background: "


class Table(Sequence[dict[str, Any]]):
    """Rows of columns: iterate over it, index it, or take it to pandas or Polars.

    Args:
        rows: Dicts; a column that a row hasn't is None there.

    >>> cats = Table([{"source": "a.jpg", "label": "cat"}, {"source": "b.jpg", "label": "dog"}])
    >>> cats
    source  label
    a.jpg   cat
    b.jpg   dog
    >>> cats.column("label"), cats[1]["source"], len(cats)
    (['cat', 'dog'], 'b.jpg', 2)
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._columns: dict[str, list[Any]] = {}
        self._count = 0
        for row in rows:
            for name, value in row.items():
                column = self._columns.get(name)
                if column is None:
                    column = self._columns[name] = [None] * self._count
                column.append(value)
            self._count += 1
            for column in self._columns.values():
                if len(column) < self._count:
                    column.append(None)
        if "error" in self._columns:  # of a few: it stands behind what all have
            self._columns["error"] = self._columns.pop("error")

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return list(self._columns)

    def column(self, name: str) -> list[Any]:
        """The values of one column.

        Raises:
            KeyError: There is none of this name; it says which there are.
        """
        try:
            return list(self._columns[name])
        except KeyError:
            raise KeyError(f"there is no column {name!r}; there are {', '.join(self._columns) or 'none'}") from None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._row(index) for index in range(self._count))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Table(self._row(each) for each in range(self._count)[index])
        return self._row(range(self._count)[index])

    def _row(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self._columns.items()}

    def to_pandas(self) -> Any:
        """A pandas DataFrame.

        Raises:
            TwistclusterError: pandas isn't installed.
        """
        try:
            import pandas as pd  # type: ignore[import-untyped,import-not-found,unused-ignore]
        except ImportError:
            raise TwistclusterError("to_pandas needs pandas: pip install pandas, or take to_polars()") from None
        return pd.DataFrame(self._columns)

    def to_polars(self) -> Any:
        """A Polars DataFrame.

        Columns of dicts, such as EXIF data, are structs with the keys of all rows. Columns of which the values have no
        common type are text, dicts and lists in them as JSON. What UTF-8 doesn't have in names of files is spelled out.

        Raises:
            TwistclusterError: Polars isn't installed.
        """
        try:
            import polars as pl
        except ImportError:
            raise TwistclusterError("to_polars needs Polars: pip install polars, or take to_pandas()") from None
        return pl.DataFrame([column(name, values) for name, values in self._columns.items()])

    def __repr__(self) -> str:
        if not self._count:
            return "no pictures"
        rows = [[cell.text if cell.number is None else cell.number for cell in row] for row in self._cells()]
        return spelled_out(table(self.columns, rows) + self._more())

    def _repr_html_(self) -> str:
        if not self._count:
            return "<p>no pictures</p>"
        head = "".join(f"<th{_LEFT}>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{''.join(cell.html() for cell in row)}</tr>" for row in self._cells())
        more = html.escape(self._more().strip())
        return spelled_out(
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" + (f"<p>{more}</p>" if more else "")
        )

    def _cells(self) -> list[list["_Cell"]]:
        rows = [self._row(index) for index in range(min(self._count, SHOWN))]
        folders = {name: _common_folder([row.get(name) for row in rows]) for name in PATHS}
        return [
            [_cell(name, value, folders.get(name, ""), row.get("source")) for name, value in row.items()]
            for row in rows
        ]

    def _more(self) -> str:
        return f"\n... and {self._count - SHOWN:,} more" if self._count > SHOWN else ""


class _Cell(NamedTuple):
    """How a value looks."""

    text: str
    number: int | None = None
    """Right-aligned, with its thousands parted."""
    full: str = ""
    """What a pointer that rests on it is told, if that is more."""
    colours: tuple[str, ...] = ()
    path: bool = False

    def html(self) -> str:
        """As a table's cell."""
        text = html.escape(self.text if self.number is None else f"{self.number:,}")
        if self.colours:
            text = "".join(f'<span title="{colour}" style="{_SWATCH}{colour}"></span>' for colour in self.colours)
        style = "" if self.number is not None else _LEFT_WHOLE if self.path else _LEFT
        title = f' title="{html.escape(self.full)}"' if self.full and self.full != self.text else ""
        return f"<td{style}{title}>{text}</td>"


def _cell(name: str, value: Any, folder: str, source: Any) -> _Cell:
    if name in PATHS and isinstance(value, str):
        text = "…" + value[len(folder) :] if folder else value
        return _Cell(text if len(text) <= CELL_CHARACTERS else "…" + text[1 - CELL_CHARACTERS :], full=value, path=True)
    if name == "error" and isinstance(value, str):
        short = value.replace(source, source.rpartition("/")[2]) if isinstance(source, str) and source else value
        return _Cell(_cut(short, ERROR_CHARACTERS), full=value)
    if name == "colours" and isinstance(value, list):
        codes = tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour, _ in value)
        shares = [f"{code} {share:.0%}" for code, (_, share) in zip(codes, value, strict=True)]
        return _Cell(_cut(", ".join(shares)), colours=codes)
    if type(value) is int:
        return _Cell(str(value), number=value)
    text = _text(value)
    return _Cell(_cut(text), full=text if len(text) <= TITLE_CHARACTERS else "")


def _common_folder(paths: list[Any]) -> str:
    """What all of these begin with, up to a "/" (which isn't part of it); "" if that is nothing, or they are no paths."""
    known = [path for path in paths if path is not None]
    if not known or not all(isinstance(path, str) for path in known):
        return ""
    shared: str = os.path.commonprefix(known)  # noqa: RUF071 (cut at a "/" here)
    return shared.rpartition("/")[0]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_inner(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_inner, value))
    return " ".join(str(value).split())


def _inner(value: Any) -> str:
    return f"({_text(value)})" if isinstance(value, dict | list | tuple) else _text(value)


def _cut(text: str, characters: int = CELL_CHARACTERS) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
