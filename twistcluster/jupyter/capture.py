"""The values that a typed expression or cell takes along: looked up in the notebook, when its line runs.

Owns: the lookup, and what is said of a name that isn't there. Must not know: IPython, clusters.
"""

import builtins
import difflib
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from twistcluster.jupyter.code import Code, build

__all__ = ["Call", "MissingName", "capture", "missing"]


class MissingName(NameError):  # noqa: N818 (shown as the NameError that it is)
    """A name that was typed has no value."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function, and the arguments that it needs beside an item."""

    function: types.FunctionType
    arguments: tuple[object, ...]


def capture(code: Code, names: Mapping[str, object], elsewhere: Collection[str] = ()) -> Call:
    """Give the code the values that its names have now.

    Args:
        code: what was typed.
        names: the notebook's variables.
        elsewhere: names that `everywhere` defined on the workers: they may be missing here.

    Raises:
        MissingName: if a name is neither here nor a builtin nor elsewhere.
    """
    values: dict[str, object] = {}
    for name in sorted(code.free):
        if name in names:
            values[name] = names[name]
        elif not hasattr(builtins, name) and name not in elsewhere:
            raise missing(name, names)
    values.update((name, names[name]) for name in code.early if name in names)
    arguments = tuple(values.get(name) for name in code.parameters(values))
    return Call(build(code, values), arguments)


def missing(name: str, names: Mapping[str, object]) -> MissingName:
    """The error of a name that has no value, with the name of the notebook's that is most like it."""
    own = [known for known in names if not known.startswith("_") and not hasattr(builtins, known)]
    near = difflib.get_close_matches(name, own, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    what = f"name {name!r} is not defined in this notebook.{meant}"
    return MissingName(f"{what}\nNothing was sent. Define {name}, then run this cell again.", name=name)
