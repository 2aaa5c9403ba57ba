"""Columns of a table in Polars: of one type that holds all of their values, or text.

Owns: which type that is. Must not know: what columns are about.

Polars itself looks at a column's first values and leaves out what later ones have more: keys of dicts, and fractions.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any, Final

from twistcluster.client.texts import spelled_out

__all__ = ["column", "encodable"]

_NESTED: Final = (dict, list, tuple)
_BUILT_IN: Final = frozenset({bool, int, float, str, bytes, type(None)})


class _MixedError(Exception):
    """No type holds all of these values."""


def column(name: str, values: list[Any]) -> Any:
    """A Polars series of all values: structs have the keys of all dicts, numbers are floats where one is. What has no
    common type is text: dicts and lists as JSON, everything else by `str`.
    """
    import polars as pl

    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1 or kinds.intersection(_NESTED):  # one type of NumPy's Polars knows, such as Float32
        values = [_plain(value) for value in values]
    values = [encodable(value) for value in values]
    nested = any(isinstance(value, _NESTED) for value in values)
    try:
        kind = _kind(values)
        if kind is not None or not nested:
            return pl.Series(name, [_of_kind(value, kind) for value in values], dtype=kind)
    except (_MixedError, TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        pass
    return pl.Series(name, [None if value is None else _told(value) for value in values], dtype=pl.String)


def encodable(value: Any) -> Any:
    """Text, and text in lists and dicts, that UTF-8 has; keys of dicts are text."""
    if isinstance(value, str):
        return spelled_out(value)
    if type(value) in {list, tuple}:
        return type(value)(encodable(one) for one in value)
    if type(value) is dict:
        return {spelled_out(str(name)): encodable(one) for name, one in value.items()}
    return value


def _plain(value: Any) -> Any:
    """NumPy's scalars, also in lists and dicts, as Python's, so that both are of one type; but not its times, whose units
    Python hasn't.
    """
    kind = type(value)
    if kind in {list, tuple}:
        return kind(map(_plain, value))
    if kind is dict:
        return {name: _plain(one) for name, one in value.items()}
    if kind in _BUILT_IN or (numpy := sys.modules.get("numpy")) is None:
        return value
    return value.item() if isinstance(value, numpy.generic) and value.dtype.kind in "biufUS" else value


def _kind(values: Iterable[Any]) -> Any:
    """The Polars type of all of these; None: Polars may know, as of dates, or there is no value.

    Raises:
        _MixedError: They have none.
    """
    import polars as pl

    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if not there:
        return None
    if kinds <= {tuple, list}:
        return pl.List(_inner([one for value in there for one in value]))
    if kinds == {dict}:
        return pl.Struct({name: _inner([value.get(name) for value in there]) for name in _keys(there)})
    if kinds == {int}:
        return pl.Int64 if max(map(abs, there)) < 1 << 63 else None
    if len(kinds) == 1:
        return {bool: pl.Boolean, str: pl.String, bytes: pl.Binary, float: pl.Float64}.get(kinds.pop())
    if kinds != {int, float}:
        raise _MixedError
    return pl.Float64


def _inner(values: list[Any]) -> Any:
    """The type of what lists or dicts hold, of which none is left to Polars."""
    import polars as pl

    kind = _kind(values)
    if kind is None and any(value is not None for value in values):
        raise _MixedError
    return kind or pl.Null


def _of_kind(value: Any, kind: Any) -> Any:
    """A value with all keys, and floats for numbers, which Polars doesn't make of it everywhere by itself."""
    import polars as pl

    if value is None or kind is None:
        return value
    if isinstance(kind, pl.Struct):
        return {field.name: _of_kind(value.get(field.name), field.dtype) for field in kind.fields}
    if isinstance(kind, pl.List):
        return [_of_kind(one, kind.inner) for one in value]
    return float(value) if kind == pl.Float64 else value


def _keys(dicts: list[dict[str, Any]]) -> dict[str, None]:
    """All keys, in the order in which they come."""
    return {name: None for one in dicts for name in one}


def _told(value: Any) -> str:
    if isinstance(value, _NESTED):
        return spelled_out(json.dumps(value, ensure_ascii=False, default=str))
    return spelled_out(str(value))
