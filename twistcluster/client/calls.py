"""What is said of a function that is to be called: its name, its options, the message that opens a job of it.

Owns: that. Must not know: how it is pickled, when it is sent.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from twistcluster.client.options import OPTIONS, JobOptions
from twistcluster.client.outbox import Parts
from twistcluster.client.texts import spelled_out
from twistcluster.wire.messages import OpenJob

__all__ = ["function_name", "opening_message", "reject_options"]


class Rest(TypedDict, total=False):
    """Of `OpenJob`: what no option says."""

    named: bool
    count: int | None
    source: int
    together: int
    definitions: list[bytes]


def opening_message(
    number: int, digest: bytes, parts: Parts, label: str, options: JobOptions, **what: Unpack[Rest]
) -> OpenJob:
    """A job of one function, with options."""
    return OpenJob(
        job=number,
        functions=[digest],
        context=parts.context.digest,
        label=label,
        priority=options.priority,
        resources=options.resources,
        retries=options.retries,
        time_limit=options.time_limit,
        max_crashes=options.max_crashes,
        **what,
    )


def function_name(function: Callable[..., Any]) -> str:
    """What people call a function."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return spelled_out(str(name).strip("<>"))


def reject_options(function: Callable[..., Any], kwargs: dict[str, Any], method: str) -> None:
    """Raise TypeError if a keyword is an option's name and the function doesn't take it."""
    misplaced = [name for name in OPTIONS if name in kwargs]
    if not misplaced:
        return
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return  # a builtin that doesn't say: it will see for itself
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    wrong = [name for name in misplaced if name not in parameters and not takes_any]
    if wrong:
        options = ", ".join(f"{name}={kwargs[name]!r}" for name in wrong)
        raise TypeError(
            f"{function_name(function)} takes no keyword {wrong[0]!r}; "
            f"for the cluster's option write cluster.options({options}).{method}(…)"
        )
