"""A small table: what is known about pictures, a row each.

Owns: its columns, how it looks, and its ways into pandas and Polars. Must not know: where its rows come from.
"""

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from twistcluster.client.tables import table
from twistcluster.errors import TwistclusterError

__all__ = ["Table"]

SHOWN: Final = 20
CELL_CHARACTERS: Final = 40
ERROR_CHARACTERS: Final = 120


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
        """A Polars DataFrame; columns of which the values have several types are text.

        Raises:
            TwistclusterError: Polars isn't installed.
        """
        try:
            import polars as pl
        except ImportError:
            raise TwistclusterError("to_polars needs Polars: pip install polars, or take to_pandas()") from None
        made = []
        for name, values in self._columns.items():
            try:
                made.append(pl.Series(name, values, strict=True))
            except (TypeError, pl.exceptions.PolarsError):
                made.append(pl.Series(name, [None if value is None else str(value) for value in values]))
        return pl.DataFrame(made)

    def __repr__(self) -> str:
        if not self._count:
            return "no pictures"
        return table(self.columns, self._cells()) + self._more()

    def _repr_html_(self) -> str:
        if not self._count:
            return "<p>no pictures</p>"
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self._cells()
        )
        more = html.escape(self._more().strip())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" + (
            f"<p>{more}</p>" if more else ""
        )

    def _cells(self) -> list[list[str]]:
        return [
            [_cell(value, ERROR_CHARACTERS if name == "error" else CELL_CHARACTERS) for name, value in row.items()]
            for row in map(self._row, range(min(self._count, SHOWN)))
        ]

    def _more(self) -> str:
        return f"\n... and {self._count - SHOWN:,} more" if self._count > SHOWN else ""


def _cell(value: Any, characters: int = CELL_CHARACTERS) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        inner = ", ".join(_cell(one) if not isinstance(one, list | tuple) else f"({_cell(one)})" for one in value)
        text = inner
    else:
        text = str(value)
    text = " ".join(text.split())
    if len(text) <= characters:
        return text
    # The end of a path says more than its beginning.
    return "…" + text[1 - characters :] if "/" in text and " " not in text else text[: characters - 1] + "…"
