"""What a function captures: globals by name, closure cells, defaults, and the same of the functions that it refers to.

Owns: finding it, whether it is still the same, and what must not be captured. Must not know: pickling.
"""

import datetime as dt
import decimal
import dis
import enum
import fractions
import functools
import io
import pathlib
import re
import sys
import types
import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from twistcluster.wire.culprits import advice
from twistcluster.wire.pages import PLAIN_TYPES

__all__ = ["Captures", "Variable", "by_reference", "captures_of", "forbidden", "global_names", "imports_of"]

IMMUTABLE: Final = PLAIN_TYPES | {
    complex, range, slice, type(Ellipsis), type(NotImplemented), re.Pattern, decimal.Decimal, fractions.Fraction, uuid.UUID,
    dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, types.GenericAlias,
    types.UnionType, pathlib.PurePosixPath, pathlib.PosixPath, pathlib.PureWindowsPath, types.ModuleType,
    types.MethodDescriptorType, types.WrapperDescriptorType,
}  # fmt: skip
ELEMENTS: Final = 64
"""Longer tuples are taken for changeable: looking through them would cost more than pickling."""
CODES: Final = 4096
OWN: Final = "twistcluster"
MISSING: Final = object()
MARKS: Final = frozenset({"__isabstractmethod__", "__wrapped__"})
"""Attributes of functions that decorators leave, and nobody changes."""
MADE: Final = frozenset({"_abc_impl", "_field_defaults"})
"""Attributes that abstract classes and named tuples are given."""
GLOBAL_OPS: Final = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"})


class Variable(NamedTuple):
    """Something that a function captures under a name."""

    label: str
    """As people know it: "model, a global that predict uses,"."""
    value: Any


DESCRIPTORS: Final = frozenset(
    {types.MemberDescriptorType, types.GetSetDescriptorType, type(vars(Variable)["label"])}  # the last: a named tuple's
)


class Captures:
    """What a function captured when it was looked at."""

    __slots__ = ("_cells", "_classes", "_functions", "_globals", "fixed", "variables", "with_classes")

    def __init__(self) -> None:
        self.fixed = True
        """Nothing of it can change in place."""
        self.with_classes = False
        """Classes of the notebook are among it, or what refers to them."""
        self.variables: list[Variable] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._cells: list[tuple[types.CellType, Any]] = []
        self._functions: list[tuple[types.FunctionType, types.CodeType, Any]] = []
        self._classes: dict[int, tuple[type, tuple[tuple[str, Any], ...]]] = {}  # by id: some are unhashable

    def same(self) -> bool:
        """Whether pickling now would give the same: all names still stand for the same unchangeable objects."""
        if not self.fixed:
            return False
        for names, name, value in self._globals:
            if names.get(name, MISSING) is not value:
                return False
        for cell, value in self._cells:
            if _content(cell) is not value:
                return False
        for function, code, defaults in self._functions:
            if function.__code__ is not code or function.__defaults__ is not defaults or _has_attributes(function):
                return False
        for cls, members in self._classes.values():
            there = vars(cls)
            if len(there) != len(members) or any(there.get(name, MISSING) is not value for name, value in members):
                return False
        return True

    def _look_at(self, function: types.FunctionType, pending: list[types.FunctionType]) -> None:
        label = function.__name__
        self._functions.append((function, function.__code__, function.__defaults__))
        if _has_attributes(function) or function.__kwdefaults__:
            self.fixed = False
        names = function.__globals__
        for name in global_names(function.__code__):
            value = names.get(name, MISSING)
            self._globals.append((names, name, value))
            if value is not MISSING:
                self._take(f"{name}, a global that {label} uses,", value, pending)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            value = _content(cell)
            self._cells.append((cell, value))
            if value is not MISSING:
                self._take(f"{name}, a variable that {label} captures,", value, pending)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._take(f"a default argument of {label}", value, pending)

    def _take(self, label: str, value: Any, pending: list[types.FunctionType]) -> None:
        kind = type(value)
        if kind is functools._lru_cache_wrapper:  # noqa: SLF001 (what functools.lru_cache makes)
            self.fixed = False
            self._take(label, value.__wrapped__, pending)
            return
        if kind is types.FunctionType:
            if not by_reference(value):
                pending.append(value)
            return
        if kind is types.BuiltinFunctionType and isinstance(value.__self__, types.ModuleType | type | types.NoneType):
            return
        if issubclass(kind, enum.Enum):
            value = kind
        if isinstance(value, type):
            if value.__module__ == "__main__":
                self.with_classes = True
                self._look_at_class(value, pending)
            return
        if kind not in PLAIN_TYPES or kind in {str, bytes}:
            self.variables.append(Variable(label, value))
        self.fixed &= _immutable(value)

    def _look_at_class(self, cls: type, pending: list[types.FunctionType]) -> None:
        """What its attributes are; what Python itself made of its definition doesn't change in place."""
        for one in cls.__mro__:
            if one.__module__ != "__main__" or id(one) in self._classes:
                continue
            members = tuple(vars(one).items())
            self._classes[id(one)] = one, members
            for name, value in members:
                for part in _parts_of_member(value):
                    if _is_users(name, part, one):
                        self._take(f"{name}, an attribute of the class {one.__name__},", part, pending)


def _has_attributes(function: types.FunctionType) -> bool:
    return bool(function.__dict__) and not MARKS.issuperset(function.__dict__)


def _is_users(name: str, part: Any, cls: type) -> bool:
    """Whether an attribute of a class is what its author wrote; else Python made it, and nobody changes it in place."""
    if type(part) is types.FunctionType:
        return part.__globals__.get("__name__") == "__main__"
    return not (name.startswith("__") or name in MADE or type(part) in DESCRIPTORS or isinstance(cls, enum.EnumMeta))


def _parts_of_member(value: Any) -> tuple[Any, ...]:
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    return (value,)


def captures_of(function: object) -> Captures:
    """Look at what a function, or what calls one (a partial, a bound method), captures."""
    captures = Captures()
    pending: list[types.FunctionType] = []
    for part in _functions_in(function, captures):
        captures._take("the function", part, pending)  # noqa: SLF001 (one class in two halves)
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if id(one) not in seen:
            seen.add(id(one))
            captures._look_at(one, pending)  # noqa: SLF001
    return captures


def forbidden(value: object) -> str:
    """Return what a value is and what to do, if a function must not capture it; else an empty text."""
    what = ""
    if (
        isinstance(value, io.IOBase)
        and not isinstance(value, io.BytesIO | io.StringIO)
        and all(value is not standard for standard in (sys.stdin, sys.stdout, sys.stderr))
    ):
        what = "an open file"
    for cls in type(value).__mro__:
        if cls.__module__.startswith(("twistcluster.cluster", "twistcluster.client.", "twistcluster.jupyter.")):
            what = f"a twistcluster {type(value).__name__}"
        elif cls.__module__ == "matplotlib.artist" and cls.__name__ == "Artist":
            what = f"a matplotlib {type(value).__name__}"
    return what and f"{what}, which can't go to a worker. What to do: {advice(value)}"


def by_reference(function: types.FunctionType) -> bool:
    """Whether a function travels as the name of its module and its own."""
    if function.__module__ == "__main__" or "<" in function.__qualname__:
        return False
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


_names: dict[int, tuple[types.CodeType, tuple[str, ...], frozenset[str]]] = {}


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """The globals that a code, and the codes of functions inside it, read or set."""
    return _look(code)[1]


def imports_of(function: object) -> frozenset[str]:
    """The modules that a function imports when it runs."""
    captures = captures_of(function)
    return frozenset(name for one, code, _ in captures._functions for name in _look(code)[2])  # noqa: SLF001


def _look(code: types.CodeType) -> tuple[types.CodeType, tuple[str, ...], frozenset[str]]:
    known = _names.get(id(code))
    if known is not None and known[0] is code:
        return known
    if len(_names) >= CODES:
        _names.clear()
    names: dict[str, None] = {}
    imports: dict[str, None] = {}
    for one in _codes(code):
        for instruction in dis.get_instructions(one):
            if instruction.opname in GLOBAL_OPS:
                names[instruction.argval] = None
            elif instruction.opname == "IMPORT_NAME":
                imports[instruction.argval] = None
    found = _names[id(code)] = code, tuple(names), frozenset(name for name in imports if name)
    return found


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _functions_in(function: object, captures: Captures) -> Iterator[object]:
    """A function as it is; of what calls one, its parts."""
    if isinstance(function, types.FunctionType | types.BuiltinFunctionType | functools._lru_cache_wrapper | type):  # noqa: SLF001
        yield function
        return
    captures.fixed = False
    if isinstance(function, types.MethodType):
        captures.variables.append(Variable("the object whose method is to be called", function.__self__))
        yield function.__func__
    elif hasattr(function, "func") and hasattr(function, "args") and hasattr(function, "keywords"):  # a partial
        captures.variables += [
            Variable("an argument of the partial function", part)
            for part in (*function.args, *function.keywords.values())
        ]
        yield from _functions_in(function.func, captures)
    else:
        captures.variables.append(Variable("the function", function))
        if type(function).__module__.partition(".")[0] == OWN:  # such as a pipeline's steps
            for one in getattr(function, "users_functions", ()):
                yield from _functions_in(one, captures)


def _immutable(value: Any) -> bool:
    kind = type(value)
    if kind in IMMUTABLE:
        return True
    if kind is tuple or kind is frozenset:
        return len(value) <= ELEMENTS and all(map(_immutable, value))
    if kind is types.FunctionType:
        return by_reference(value)
    return isinstance(value, type) and value.__module__ != "__main__"


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
