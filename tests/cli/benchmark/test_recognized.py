"""The bench's recognition and servers: the network is what is said, and wrong answers count for nothing."""

import io

import onnx
import pytest
from PIL import Image

from twistcluster.cli.benchmark import asking, network, recognized
from twistcluster.cli.benchmark.asking import ask, ask_together
from twistcluster.cli.benchmark.engines import HandWritten


class Here:
    """An engine in this process, whose functions say one more than they should."""

    def __init__(self, more=0):
        self.more = more

    def map(self, function, items):
        return (function(item) + self.more for item in items)


class ByHand(HandWritten):
    def map(self, function, items):
        return map(function, items)


def kinds(model):
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


def test_the_network_has_five_convolutions_and_is_always_the_same():
    assert kinds(network.model()).count("Conv") == 5
    assert kinds(network.model(64)).count("MatMul") == 3
    before = network.model()
    network.model.cache_clear()
    assert network.model() == before


def test_pictures_are_each_another_and_always_the_same():
    some = network.pictures(20)
    assert len(set(some)) == 20 and some == network.pictures(20)
    assert {(Image.open(io.BytesIO(one)).size, Image.open(io.BytesIO(one)).format) for one in some} == {
        ((64, 64), "PNG")
    }


def test_batches_say_what_single_pictures_do():
    some = network.pictures(70)
    classes = [network.alone(one) for one in some]
    assert network.together(some) == classes
    assert len(set(classes)) > 1, "else any answer would do"


@pytest.mark.parametrize("engine", [Here(), ByHand()])
def test_right_labels_count(engine):
    assert recognized.recognition(engine, 5, 2)["recognition"] > 0


def test_wrong_labels_count_for_nothing():
    with pytest.raises(ValueError, match="results"):
        recognized.recognition(Here(more=1), 5, 2)


@pytest.mark.parametrize("measure", [ask, ask_together])
def test_only_of_this_cluster(measure):
    with pytest.raises(TypeError, match="only of this cluster"):
        measure(Here(), 1, 1)


def test_one_who_asks_and_ends_is_told(monkeypatch):
    monkeypatch.setattr(asking.sys, "executable", "/bin/false")
    with asking._asker("none", 0) as one, pytest.raises(RuntimeError, match="a process that asks failed"):
        asking._wait([one], "ready\n")
