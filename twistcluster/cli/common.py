"""What several commands share: which cluster is meant, durations, examples.

Owns: that. Must not know: any one command.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from twistcluster.client.launch import Connection, running_clusters
from twistcluster.client.quantities import memory_limit_bytes, seconds
from twistcluster.errors import ClusterUnreachable
from twistcluster.net.addresses import SCHEME, parse_address
from twistcluster.net.token import VARIABLE, Token, take_token

__all__ = [
    "DEFAULT_NAME",
    "DURATION",
    "LISTEN",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MEMORY",
    "STORE",
    "announce",
    "cluster_option",
    "example",
    "meant",
    "option_or_variable",
    "store_of",
    "title",
    "token_option",
    "token_read",
]

DEFAULT_NAME = "default"
TOKEN_CHARACTERS: Final = 1000
"""Nobody types more than that into one line."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class _Duration(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4, and not before
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()

STORE = click.option(
    "--store",
    metavar="PATH",
    default="",
    help="Folder for its journal, or none to keep nothing; the state folder if not given.",
)
""""none" is nothing; empty: the usual place."""

LISTEN = click.option(
    "--listen",
    metavar="tls:HOST:PORT",
    default="",
    help="Where members on other machines reach it, as tls:0.0.0.0:8930; nowhere if not given, or where it listened "
    "when it died.",
)


def option_or_variable(*names: str, **how: Any) -> Callable[[FunctionT], FunctionT]:
    """An option that is also a variable in the environment: `--log-level` is TWISTCLUSTER_LOG_LEVEL."""
    variable = f"TWISTCLUSTER_{names[-1].removeprefix('--').replace('-', '_').upper()}"
    return click.option(*names, envvar=variable, show_envvar=True, **how)


LOG_LEVEL = option_or_variable(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of the lines on standard error.",
)

LOG_FORMAT = option_or_variable(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Of these lines: json is one object a line, and nothing else is written.",
)


def store_of(text: str) -> str | None:
    """What `--store` says, as `start_local` takes it."""
    return None if text == "none" else text


class _MemoryLimit(click.ParamType):  # type: ignore[type-arg]
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return memory_limit_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


MEMORY = _MemoryLimit()


def token_option(function: FunctionT) -> FunctionT:
    """The option `--token-stdin`."""
    return click.option(
        "--token-stdin",
        is_flag=True,
        help=f"Read the token from standard input, in place of {VARIABLE} in the environment.",
    )(function)


def token_read(*, from_stdin: bool) -> Token | None:
    """The token that joins a cluster on another machine: never an argument, for all users can read those.

    Raises:
        AccessDenied: it is none.
    """
    token = take_token()
    return Token.parse(sys.stdin.readline(TOKEN_CHARACTERS)) if from_stdin else token


def announce(text: str) -> None:
    """Say a line of a node's, which goes on where that can't be written: on a full disk, to a reader that has left."""
    with contextlib.suppress(OSError):
        os.write(1, f"{text}\n".encode())  # past sys.stdout, which would fail again at the process's end


def example(*lines: str) -> str:
    """The end of a command's help; click leaves the lines as they are."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


def cluster_option(function: FunctionT) -> FunctionT:
    """The option `--cluster`, for commands whose argument is a job."""
    return click.option(
        "-c", "--cluster", "target", metavar="NAME", help="Which cluster; needed only where several run."
    )(function)


def meant(target: str | None) -> str:
    """The cluster that is asked for: the one named, else the only one that has a name, else the one named "default"."""
    if target is not None:
        if target.startswith(SCHEME):
            try:
                parse_address(target)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
        return target
    named = [each for each in running_clusters() if each.name]
    if len(named) == 1:
        return named[0].name
    if not named:
        raise ClusterUnreachable("you run no named cluster on this machine: `twistcluster start` starts one")
    if any(each.name == DEFAULT_NAME for each in named):
        return DEFAULT_NAME
    names = ", ".join(each.name for each in named)
    raise click.UsageError(f"several clusters run, say which: {names}")


def title(connection: Connection) -> str:
    """A cluster, as a line begins with it."""
    return f"Cluster {connection.name!r}" if connection.name else f"Cluster {connection.id} (owned)"
