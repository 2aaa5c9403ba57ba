import pickle

import pytest

from twistcluster.images.recognition.result import Recognition

SOFA = Recognition(
    ("cat", "dog"), (0.9, 0.1), ((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)), (640, 480), "sofa.jpg", b"P"
)


def test_the_best_is_the_first():
    assert (SOFA.label, SOFA.score) == ("cat", 0.9)
    assert (Recognition((), ()).label, Recognition((), ()).score) == (None, 0.0)


def test_it_says_itself_in_one_short_line():
    assert repr(SOFA) == "Recognition(sofa.jpg: cat 90 %, dog 10 %)"
    assert repr(Recognition((), (), size=(3, 3))) == "Recognition(nothing)"
    many = Recognition(("x" * 500,) * 900, (0.5,) * 900, source="folder/" * 500)
    assert repr(many).endswith("and 897 more)") and len(repr(many)) < 200


def test_a_tile_has_preview_size_and_what_was_found():
    assert SOFA.__tile__() == (
        b"P",
        (640, 480),
        [("cat", 0.9, (1.0, 2.0, 3.0, 4.0)), ("dog", 0.1, (5.0, 6.0, 7.0, 8.0))],
    )
    assert Recognition(("cat",), (0.9,), size=(8, 6)).__tile__() == (b"", (8, 6), [("cat", 0.9, None)])


def test_rows_of_a_table_have_the_same_keys():
    assert SOFA.row()["boxes"] == [(1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)]
    assert SOFA.row().keys() == Recognition((), ()).row().keys()
    assert Recognition(("cat",), (0.9,), size=(8, 6), source="a").row() == {
        "source": "a",
        "label": "cat",
        "score": 0.9,
        "labels": ["cat"],
        "scores": [0.9],
        "boxes": None,
        "width": 8,
        "height": 6,
    }


def test_it_pickles_small():
    assert pickle.loads(pickle.dumps(SOFA)) == SOFA
    assert len(pickle.dumps(SOFA)) < 300


@pytest.mark.parametrize(("scores", "boxes"), [((0.9,), None), ((0.9, 0.1), ()), ((0.9, 0.1), ((0, 0, 1, 1),))])
def test_each_label_has_a_score_and_a_box(scores, boxes):
    with pytest.raises(ValueError, match="one score and one box"):
        Recognition(("cat", "dog"), scores, boxes)
