"""Floats: which of them is white, and when that is asked."""

import numpy as np
import pytest
from PIL import Image

from tests.images.pictures import decoded
from twistcluster.images.encoding import Encoding, encode
from twistcluster.images.opening import opened
from twistcluster.images.plan import Plan
from twistcluster.images.shown import shown
from twistcluster.images.steps import Autocontrast, Brightness, Convert, Filter, Map, Resize, Sharpen, Transpose

RAMP = np.tile(np.linspace(0, 1, 60), (40, 1))


def eight_bits(plan, source):
    """What becomes of it in a PNG: the least and the greatest value."""
    return decoded(encode(plan.run(source), Encoding("png"))).getextrema()


@pytest.mark.parametrize(
    "steps",
    [(), (Resize(20), Sharpen(percent=300)), (Brightness(3),), (Convert("RGB"), Convert("L"))],
    ids=lambda steps: "-".join(step.name for step in steps) or "none",
)
def test_floats_from_0_to_1_are_not_black(steps):
    for source in (RAMP, RAMP * 255, Image.fromarray(RAMP.astype("f4")), encode(RAMP, Encoding("tiff"))):
        assert eight_bits(Plan(steps), source) == (0, 255)
    coloured = np.repeat(RAMP[..., None], 3, 2)
    for source in (coloured, coloured * 255, coloured * 1.1 - 0.05):
        assert np.array(eight_bits(Plan(steps), source)).min() == 0
        assert np.array(eight_bits(Plan(steps), source)).max() == 255


def test_floats_in_other_modes():
    assert Plan((Convert("I;16"),)).run(RAMP).getextrema() == (0, 65535)
    assert Plan((Convert("I;16"),)).run(RAMP * 255).getextrema() == (0, 255)
    dark = Image.new("L", (4, 4), 2)
    assert eight_bits(Plan((Convert("F"),)), dark) == (2, 2)
    assert eight_bits(Plan((Convert("F"),)), Image.new("I;16", (4, 4), 2)) == (2, 2)
    assert eight_bits(Plan((Autocontrast(), Brightness(0.004))), RAMP) == (0, 1)  # 0 to 255, by then


def test_a_screen_shows_any_range():
    for source in (RAMP, RAMP * 16, RAMP * 9000 - 400, (RAMP * 4095).astype("u2"), (RAMP * 1e6).astype("i4")):
        assert shown(opened(source).picture()).getextrema() == (0, 255)
    assert shown(opened(np.full((2, 2), 0.5)).picture()).getextrema() == (128, 128)


def test_floats_keep_their_numbers_until_then():
    for source in (RAMP, encode(RAMP, Encoding("tiff"))):
        found = Plan((Transpose("rotate_180"),)).run(source)
        assert np.allclose(found, RAMP[:, ::-1])
        assert np.allclose(decoded(encode(found, Encoding("tiff"))), RAMP[:, ::-1])


def test_what_a_function_makes_of_floats_is_looked_at_anew():
    for function in (lambda image: image.point(lambda value: value * 255), lambda image: image):
        assert eight_bits(Plan((Map(function),)), RAMP) == (0, 255)
        assert eight_bits(Plan((Map(function), Resize(20))), RAMP)[1] >= 250
    assert eight_bits(Plan((Filter(lambda image: True), Brightness(3))), RAMP) == (0, 255)
    made = Plan().run(RAMP).point(lambda value: value * 255)  # it says still what it was
    assert eight_bits(Plan(), made) == (0, 255) and opened(made).picture().info["white"] == 255


def test_floats_that_are_no_numbers_are_not_looked_at():
    holed = RAMP.copy()
    holed[0, :3] = np.nan, np.inf, -np.inf
    assert eight_bits(Plan(), holed) == (0, 255)
    assert eight_bits(Plan(), np.full((2, 2), np.nan)) == (0, 0)
