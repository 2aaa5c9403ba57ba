"""The values that a typed expression or cell takes along: looked up in the notebook, when its line runs.

What stands for a value that isn't here, a reference, a future or a job, is an argument of the call: so the code sees the
value. Owns: the lookup, and what is said of a name that isn't there. Must not know: IPython, how a call is sent.
"""

import builtins
import difflib
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from twistcluster.client.jobs import Job
from twistcluster.client.references import stands_for_value
from twistcluster.jupyter.code import Code, build
from twistcluster.jupyter.grammar import GrammarError
from twistcluster.jupyter.texts import kind_of

__all__ = ["Call", "MissingName", "capture", "missing"]


class MissingName(NameError):  # noqa: N818 (shown as the NameError that it is)
    """A name that was typed has no value."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function, and the arguments that it needs beside an item."""

    function: types.FunctionType
    arguments: tuple[object, ...]


def capture(code: Code, names: Mapping[str, object], elsewhere: Collection[str] = (), *, passes: bool = True) -> Call:
    """Give the code the values that its names have now.

    Args:
        code: what was typed.
        names: the notebook's variables.
        elsewhere: names that `everywhere` defined on the workers: they may be missing here.
        passes: whether what stands for a value is to be passed; else the code gets the reference, future or job itself.

    Raises:
        GrammarError: if such a name can't be passed.
        MissingName: if a name is neither here nor a builtin nor elsewhere.
    """
    values: dict[str, object] = {}
    for name in sorted(code.free):
        if name in names:
            values[name] = names[name]
        elif not hasattr(builtins, name) and name not in elsewhere:
            raise missing(name, names)
    values.update((name, names[name]) for name in code.early if name in names)
    inputs = [name for name, value in values.items() if stands_for_value(value)] if passes else []
    for name in inputs:
        _check_passed(code, name, values[name])
    arguments = tuple(values.get(name) for name in code.parameters(values, inputs))
    return Call(build(code, values, inputs), arguments)


def _check_passed(code: Code, name: str, value: object) -> None:
    """Raise if a name can't be a parameter."""
    whole = "results" if isinstance(value, Job) else "result"
    instead = f"Take its value first: {name}_value = {name}.{whole}()"
    if code.kind == "everywhere":  # there is no call that it could be an argument of
        what = f"everywhere can't wait for {name}, {kind_of(value)}: it runs in the slots to come, too."
        raise GrammarError(f"{what}\n{instead}")
    if code.declares_global(name):
        what = f"{name} is {kind_of(value)}, whose value is an argument of the code: it can't be declared global there."
        raise GrammarError(f"{what}\n{instead}     Or take out: global {name}")


def missing(name: str, names: Mapping[str, object]) -> MissingName:
    """The error of a name that has no value, with the name of the notebook's that is most like it."""
    own = [known for known in names if not known.startswith("_") and not hasattr(builtins, known)]
    near = difflib.get_close_matches(name, own, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    what = f"name {name!r} is not defined in this notebook.{meant}"
    return MissingName(f"{what}\nNothing was sent. Define {name}, then run this cell again.", name=name)
