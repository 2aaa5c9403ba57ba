"""`twistcluster ask`. Owns: that command, and how an answer is written. Must not know: what servers do."""

import json
from typing import Any

import click

from twistcluster.cli.common import DURATION, cluster_option, example
from twistcluster.cli.reaching import reached
from twistcluster.errors import RemoteTraceback

__all__ = ["command"]


@click.command(
    "ask", epilog=example("twistcluster ask labels photo.jpg", "cat photo.jpg | twistcluster ask labels - --json")
)
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.option("--timeout", type=DURATION, help='How long to wait for it: seconds, or "5s".')
def command(name: str, file: str, target: str | None, as_json: bool, timeout: float | None) -> None:
    """Send the bytes of FILE (- is standard input) to the server NAME, and print its answer.

    The answer of a recogniser is a line for each label, with its score, and its box where it has one.
    """
    with click.open_file(file, "rb") as opened:
        value = opened.read()
    with reached(target) as cluster:
        try:
            answer = cluster.ask(name, value, timeout)
        except Exception as error:
            if not isinstance(error.__cause__, RemoteTraceback):
                raise
            # Its own, not ours: where it was there is what helps.
            raise click.ClickException(f"the server {name!r} raised:\n{error.__cause__.text.rstrip()}") from None
    click.echo(as_text(answer, as_json=as_json))


def as_text(answer: Any, *, as_json: bool) -> str:
    """An answer for a shell.

    Raises:
        click.ClickException: it can't be said in JSON.
    """
    found = fields(answer)
    if as_json:
        try:
            return json.dumps(found or answer, default=plain)
        except (TypeError, ValueError) as error:
            raise click.ClickException(
                f"the answer can't be said in JSON: {error}. Without --json it is printed"
            ) from None
    if not found:
        return answer if isinstance(answer, str) else repr(answer)
    boxes = found["boxes"] or [()] * len(found["labels"])
    return "\n".join(
        " ".join([label, f"{score:.4f}", *(f"{edge:g}" for edge in box)])
        for label, score, box in zip(found["labels"], found["scores"], boxes, strict=True)
    )


def fields(answer: Any) -> dict[str, Any]:
    """What was recognised, if that is the answer: labels, scores, boxes, the picture's size. Empty: it is another."""
    labels, scores = getattr(answer, "labels", None), getattr(answer, "scores", None)
    if not isinstance(labels, tuple) or not isinstance(scores, tuple):
        return {}
    return {
        "labels": labels,
        "scores": scores,
        "boxes": getattr(answer, "boxes", None),
        "size": getattr(answer, "size", None),
    }


def plain(value: Any) -> Any:
    """Numbers and arrays of other libraries, as JSON knows them."""
    if callable(listed := getattr(value, "tolist", None)):
        return listed()
    raise TypeError(f"{type(value).__name__} has no form there")
