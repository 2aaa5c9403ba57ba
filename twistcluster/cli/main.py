"""The command `twistcluster`.

Owns: the list of commands and how errors look. A command's module is imported when the command is run or asked for
help, so `twistcluster --help` imports nothing but click. Must not know: what the commands do.
"""

import difflib
import importlib
from typing import Final

import click

from twistcluster.errors import Detached, TwistclusterError
from twistcluster.net.version import VERSION

__all__ = ["Commands", "group", "main"]

COMMANDS: Final = {
    "start": "Start a cluster on this machine.",
    "stop": "End a cluster.",
    "join": "Join a cluster on another machine.",
    "list": "Your clusters on this machine, and those that you joined elsewhere.",
    "status": "Workers, slots and jobs of a cluster.",
    "jobs": "The jobs of a cluster.",
    "logs": "What the items of a job printed.",
    "cancel": "Cancel a job.",
    "ask": "Ask a server that lives in a cluster.",
    "invite": "Let a worker or a client on another machine join.",
    "deny": "Shut out a member on another machine, or take a token back.",
    "scheduler": "Run a scheduler without workers of its own.",
    "worker": "Run a worker for a cluster.",
    "bench": "Measure this machine beside other libraries.",
}
"""Each is the function `command`, or that of its own name, of the module of that name here."""


class Commands(click.Group):
    """Commands that are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"twistcluster.cli.{cmd_name}")
        command: click.Command = getattr(module, "command", None) or getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A misspelt one is told with the one that is most like it."""
        near = difflib.get_close_matches(args[0], COMMANDS, n=1) if args[0] not in COMMANDS else []
        if near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error of ours is a few lines and exit code 1, never a traceback."""
        try:
            return super().invoke(ctx)
        except Detached as error:
            click.echo(str(error), err=True)
            ctx.exit(130)
        except (TwistclusterError, OSError) as error:
            click.echo(f"twistcluster: {error}", err=True)
            ctx.exit(1)


EXAMPLE: Final = """\b
Example:
  twistcluster start lab      start a cluster named "lab"
  twistcluster status lab     see what it does
  twistcluster stop lab       end it
  twistcluster start --help   more about one command
"""


@click.group(cls=Commands, epilog=EXAMPLE)
@click.version_option(VERSION, prog_name="twistcluster")
def group() -> None:
    """Clusters for notebooks, from a shell."""


def main() -> None:
    """Entry point."""
    group(prog_name="twistcluster")


if __name__ == "__main__":
    main()
