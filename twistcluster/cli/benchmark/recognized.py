"""How recognition is measured: small pictures in memory, a small network, labels back.

Owns: the measure. Must not know: rounds, how it is shown, the network.
"""

from functools import cache
from typing import Final

from twistcluster.cli.benchmark import network
from twistcluster.cli.benchmark.engines import Engine, HandWritten, Twistcluster
from twistcluster.cli.benchmark.timing import Figures, expect, timed

__all__ = ["recognition"]

CHECKED: Final = 200
"""Pictures of which the labels are compared with the network's own."""


def recognition(engine: Engine, count: int, slots: int) -> Figures:
    """All labels, in a list. Everywhere a process has one session, of one thread."""
    pictures = the_pictures(count)
    if isinstance(engine, Twistcluster):
        with timed() as took:
            found = engine.cluster.images(pictures).recognize(network.model(), top=1).results()
        classes = [int(one.label.removeprefix("class ")) for one in found]
    elif isinstance(engine, HandWritten):
        parts = [pictures[number * count // slots : (number + 1) * count // slots] for number in range(slots)]
        with timed() as took:
            classes = [each for part in engine.map(network.together, parts) for each in part]
    else:
        with timed() as took:
            classes = list(engine.map(network.alone, pictures))
    expect(len(classes) == count and classes[:CHECKED] == [network.alone(one) for one in pictures[:CHECKED]])
    return {"recognition": count / took()}


@cache
def the_pictures(count: int) -> list[bytes]:
    """Made once a process."""
    return network.pictures(count)
