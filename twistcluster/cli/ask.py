"""`twistcluster ask`. Owns: that command, and how an answer is printed or written. Must not know: what servers do."""

import json
import os
from typing import Any

import click

from twistcluster.cli.common import DURATION, cluster_option, example
from twistcluster.cli.reaching import reached
from twistcluster.errors import RemoteTraceback, TwistclusterError

__all__ = ["command"]


@click.command(
    "ask",
    epilog=example(
        "twistcluster ask labels photo.jpg",
        "cat photo.jpg | twistcluster ask labels - --json",
        "twistcluster ask small photo.jpg -o small.png",
    ),
)
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@cluster_option
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="Where to put an answer that is a picture, or bytes."
)
@click.option("--overwrite", is_flag=True, help="That file may be replaced.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.option("--timeout", type=DURATION, help='How long to wait for it: seconds, or "5s".')
def command(
    name: str,
    file: str,
    target: str | None,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    timeout: float | None,
) -> None:
    """Send the bytes of FILE (- is standard input) to the server NAME, and print its answer.

    The answer of a recogniser is a line for each label, with its score, and its box where it has one. A picture is
    written to a file, in the format of its ending (png, jpg, webp and others): -o small.png.
    """
    if output is not None:
        check_output(output, overwrite=overwrite, as_json=as_json)
    with click.open_file(file, "rb") as opened:
        value = opened.read()
    with reached(target) as cluster:
        try:
            answer = cluster.ask(name, value, timeout)
        except Exception as error:
            if isinstance(error, TwistclusterError) or not isinstance(error.__cause__, RemoteTraceback):
                raise  # it says what is wrong, with the picture too, and what to do
            # Its own, not ours: where it was there is what helps.
            raise click.ClickException(f"the server {name!r} raised:\n{error.__cause__.text.rstrip()}") from None
    if output is None:
        click.echo(as_text(answer, as_json=as_json))
        return
    data = as_file(answer, output)
    with open(output, "wb" if overwrite else "xb") as opened:  # noqa: PTH123 (open() says of whom it is no file)
        opened.write(data)
    click.echo(output)


def check_output(output: str, *, overwrite: bool, as_json: bool) -> None:
    """Before anything is asked.

    Raises:
        click.UsageError: there is no use in asking.
    """
    if as_json:
        raise click.UsageError("-o puts the answer into a file, --json prints it: take one of them")
    if os.path.lexists(output) and not overwrite:
        raise click.UsageError(f"{output} is there already: take another name, or add --overwrite")
    folder = os.path.dirname(output)  # noqa: PTH120 (as it was typed)
    if folder and not os.path.isdir(folder):  # noqa: PTH112
        raise click.UsageError(f"there is no folder {folder}: make it, or take another")
    from twistcluster.images.encoding import FORMATS
    from twistcluster.images.endings import ENDINGS

    if ending_of(output) in ENDINGS.difference(FORMATS):  # of other names an answer may be that is bytes
        raise click.UsageError(no_format(output))


def as_file(answer: Any, output: str) -> bytes:
    """An answer as the bytes of a file of this name.

    Raises:
        click.ClickException: it is no picture and no bytes, or the name has no ending of a format.
    """
    if isinstance(answer, bytes):
        return answer
    if not is_picture(answer):
        raise click.ClickException(f"the answer is a {type(answer).__name__}, no picture: without -o it is printed")
    from twistcluster.images.encoding import FORMATS, Encoding, encode

    if ending_of(output) not in FORMATS:
        raise click.ClickException(no_format(output))
    return encode(answer, Encoding(ending_of(output)))


def ending_of(output: str) -> str:
    """What may name a format."""
    return os.path.splitext(output)[1].lower().removeprefix(".")  # noqa: PTH122


def no_format(output: str) -> str:
    """What is told of a name with another ending."""
    from twistcluster.images.encoding import FORMATS

    return f"{output} names no format that can be written: let it end with .{', .'.join(FORMATS)}"


def is_picture(answer: Any) -> bool:
    """A PIL image, an array that could be one, or the frames of an animation."""
    frames = answer if isinstance(answer, tuple | list) else (answer,)
    return bool(frames) and all(
        hasattr(frame, "getbands") or len(getattr(frame, "shape", ())) in {2, 3} for frame in frames
    )


def as_text(answer: Any, *, as_json: bool) -> str:
    """An answer for a shell.

    Raises:
        click.ClickException: it can't be said in JSON.
    """
    found = fields(answer)
    first = answer[0] if isinstance(answer, tuple | list) and answer else answer
    if hasattr(first, "getbands") and is_picture(answer):
        raise click.ClickException(
            f"the answer is a picture ({first.mode}, {first.width} x {first.height} pixels): say where to put it, "
            "-o small.png"
        )
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
