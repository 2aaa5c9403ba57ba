import numpy as np
import pytest

from twistcluster.images.recognition.boxes import from_middle, nms, unplaced


def overlap(one, two):
    across = min(one[2], two[2]) - max(one[0], two[0])
    down = min(one[3], two[3]) - max(one[1], two[1])
    if across <= 0 or down <= 0:
        return 0.0
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return across * down / (area - across * down)


def plain_nms(boxes, scores, classes, iou, most):
    """As the books have it: the best first, each compared with those that stay."""
    stay = []
    for index in sorted(range(len(scores)), key=lambda one: (-scores[one], one)):
        if all(classes[index] != classes[one] or overlap(boxes[index], boxes[one]) <= iou for one in stay):
            stay.append(index)
    return stay[:most]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 0.9])
def test_it_is_the_plain_loop(seed, iou):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 120))
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 40, (count, 2))], axis=1)
    scores = rng.choice(np.linspace(0, 1, 30), count)  # with equal ones
    classes = rng.integers(0, 3, count)
    most = int(rng.choice([3, 1000]))
    assert nms(boxes, scores, classes, iou, most).tolist() == plain_nms(boxes, scores, classes, iou, most)


def test_boxes_without_an_area_stay():
    boxes = np.array([[5.0, 5, 5, 5], [5, 5, 5, 5], [7, 7, 3, 3]])
    assert nms(boxes, np.array([0.9, 0.8, 0.7]), np.zeros(3), 0.5, 10).tolist() == [0, 1, 2]


def test_thousands_are_quick():
    import time

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 600, (3000, 2))
    boxes = np.concatenate([corners, corners + 40], axis=1)
    began = time.perf_counter()
    nms(boxes, rng.uniform(size=3000), rng.integers(0, 80, 3000), 0.5, 100)
    assert time.perf_counter() - began < 0.5


def test_middles_become_corners():
    assert from_middle(np.array([[10.0, 20, 4, 6]])).tolist() == [[8, 17, 12, 23]]


def test_back_in_the_picture_and_cut_at_its_edges():
    boxes = np.array([[8.0, 16, 40, 48], [-100, -100, 1000, 1000]])
    # The picture of 640 x 320 lies in the frame of 64 x 64 at half its height.
    assert unplaced(boxes, (0, 16, 64, 32), (640, 320)).tolist() == [[80, 0, 400, 320], [0, 0, 640, 320]]
