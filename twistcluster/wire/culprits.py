"""Which part of a value can't be pickled, and what to do about it, in words.

Owns: the search and the advice. Must not know: how values are pickled (it is given a test).
"""

import types
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

__all__ = ["advice", "explain", "type_name"]

TRIES: Final = 300
"""Parts that are tried: the search costs at most so many picklings."""
PARTS: Final = 100
"""Parts of one container that are looked at."""
DEPTH: Final = 8
PATH: Final = "\0"

ADVICE: Final = (
    (("_thread.", "threading.", "multiprocessing.", "asyncio."), "make it inside the function that needs it"),
    (("_io.", "io.", "tempfile."), "pass the path, and open the file inside the function"),
    (("generator", "async_generator", "zip", "map", "filter", "itertools."), "pass a list of its values"),
    (("coroutine",), "await it first, and pass what it gives"),
    (
        ("sqlite3.", "_socket.", "socket.", "ssl.", "psycopg", "sqlalchemy.", "requests.", "httpx."),
        "open it inside the function, or once in every slot with cluster.everywhere",
    ),
    (("matplotlib.",), "make the figure inside the function, or pass the data that it shows"),
    (("twistcluster.",), "a cluster stays in the notebook; pass its jobs, futures and references as arguments"),
    (("frame", "traceback"), "pass its text, as traceback.format_exc() makes it"),
)

WHOLE: Final = ("twistcluster.cluster.", "twistcluster.client.", "matplotlib.", "_io.")
"""These are named themselves, whichever of their parts can't be pickled."""


def explain(value: object, name: str, error: BaseException, picklable: Callable[[object], bool]) -> str:
    """Return what can't be pickled, as a path into the value ("item['lock'] is a _thread.lock"), why, and what to do."""
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return f"{name} is nested too deeply to be sent to a worker: flatten it, or pass it as bytes."
    path, culprit = _search(value, name, picklable)
    what = f"{path} is {_a(type_name(culprit))}"
    if path != name:
        what = f"{name} can't be sent to a worker: {what}, which can't be pickled"
    else:
        what += ", which can't be pickled and sent to a worker"
    return f"{what} ({type(error).__name__}: {str(error)[:200]}). What to do: {advice(culprit)}."


def advice(culprit: object) -> str:
    """Return what to do about a value that can't travel."""
    name = type_name(culprit)
    for prefixes, text in ADVICE:
        if name.startswith(prefixes):
            return text
    return "make it inside the function that needs it, pass what it is made from, or give its class a __reduce__"


def type_name(value: object) -> str:
    """Return the name of a value's type, with its module unless that is builtins or the notebook."""
    cls = type(value)
    module = cls.__module__
    return cls.__qualname__ if module in {"builtins", "__main__"} else f"{module}.{cls.__qualname__}"


def _a(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"


def _search(value: object, path: str, picklable: Callable[[object], bool]) -> tuple[str, object]:
    tries = TRIES
    seen = {id(value)}
    for _ in range(DEPTH):
        if type_name(value).startswith(WHOLE):
            return path, value
        for step, part in islice(_parts(value), PARTS):
            if id(part) in seen or isinstance(part, (str, bytes, int, float, type(None))):
                continue
            seen.add(id(part))
            tries -= 1
            if tries < 0:
                return path, value
            if not picklable(part):
                path, value = step.replace(PATH, path), part
                break
        else:
            return path, value
    return path, value


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value, each with the path to it, in which `PATH` stands for the path to the value."""
    if isinstance(value, dict):
        for key, part in islice(value.items(), PARTS):
            yield f"{PATH}[{_short(key)}]", part
            yield f"the key {_short(key)} of {PATH}", key
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield f"{PATH}[{index}]", part
    elif isinstance(value, (set, frozenset)):
        for part in value:
            yield f"an element of {PATH}", part
    elif isinstance(value, types.MethodType):
        yield f"{PATH}.__self__", value.__self__
        yield PATH, value.__func__
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    if not isinstance(value, (type, types.ModuleType, types.FunctionType)):
        for key, part in _attributes(value).items():
            yield f"{PATH}.{key}", part
        if isinstance(value, BaseException):
            yield f"{PATH}.args", value.args


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    label = function.__name__
    names = _global_names(function.__code__)
    for name in names & function.__globals__.keys():
        yield f"{name}, a global that {label} uses,", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            part = cell.cell_contents
        except ValueError:
            continue
        yield f"{name}, a variable that {label} captures,", part
    for part in function.__defaults__ or ():
        yield f"a default argument of {label}", part


def _global_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            names |= _global_names(const)
    return names


def _attributes(value: object) -> dict[str, Any]:
    try:
        return dict(vars(value))
    except Exception:
        return {}


def _short(key: object) -> str:
    try:
        text = repr(key)
    except Exception:
        return f"<{type(key).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."
