from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistcluster.errors import PictureNameRefused
from twistcluster.images.names import Pattern

NASTY = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="./\\~\0\n a…é\udc80", max_size=20),
    st.sampled_from(
        ["..", "../..", "/etc/passwd", ".twistcluster/made.sqlite", "~root", "a" * 999, "é" * 200, ".", ""]
    ),
)


@given(NASTY, NASTY, st.sampled_from(["{stem}", "{folder}/{name}", "{folder}{stem}.{ext}", "a/{folder}/{stem}-{hash}"]))
def test_no_value_leads_out_of_the_folder(source, folder, pattern):
    try:
        path = Pattern(pattern).path("png", source=source, index=3, folder=folder, stamp="../x")
    except PictureNameRefused:
        return
    parts = path.split("/")
    assert not path.startswith("/") and ".." not in parts and "." not in parts and "" not in parts
    assert "\0" not in path and "\n" not in path and "\\" not in path
    assert not parts[0].startswith(".twistcluster")
    assert all(len(part.encode("utf-8", "surrogateescape")) <= 255 for part in parts)


def test_fields():
    path = Pattern("{folder}/{stem}_{index:03d}_{hash}.{ext}").path(
        "jpeg", source="holiday/cat.tar.png", index=7, folder="2026/may", stamp="abc"
    )
    assert path == "2026/may/cat.tar_007_abc.jpg"
    assert Pattern("{name}").path("webp", source="https://example.org/a/b.jpg", index=0) == "b.jpg.webp"
    assert Pattern().path("png", source=None, index=12) == "picture-12.png"
    assert Pattern("all").path("tiff", source="x", index=0) == "all.tif"
    assert Pattern("{stem}.jpeg").path("jpg", source="x.png", index=0) == "x.jpeg"
    assert Pattern("{folder}/{stem}").path("png", source="x", index=0) == "x.png"


def test_hidden_names_are_not_hidden():
    assert Pattern().path("png", source=".profile.png", index=0) == "_profile.png"


def test_long_names_are_cut_and_stay_different():
    one, two = (Pattern().path("png", source="é" * 400 + end + ".jpg", index=0) for end in "ab")
    assert one != two and len(one.encode()) < 255


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("{stm}", r"\{stm\} is no field; there are stem, name"),
        ("{stem.__class__}", "no field"),
        ("{index[0]}", "no field"),
        ("{}", "no field"),
        ("{stem!r}", "no field"),
        ("{index:{stem}}", "no field"),
        ("{stem:>9}", "only the index"),
        ("{index:zz}", "can't be taken"),
        ("{stem", "can't be read"),
        ("/tmp/{stem}", "stay in the folder"),
        ("../{stem}", "stay in the folder"),
        ("a/../../{stem}", "stay in the folder"),
        ("a\0{stem}", "stay in the folder"),
        ("{stem}/", "end with a name"),
        ("", "end with a name"),
        (".twistcluster/{stem}", "records"),
        (5, "can't be read"),
    ],
)
def test_patterns_are_checked_when_they_are_made(pattern, says):
    with pytest.raises(PictureNameRefused, match=says):
        Pattern(pattern)


def test_an_ending_of_another_format():
    with pytest.raises(PictureNameRefused, match="ends with .jpg, but the format is webp; write {ext}"):
        Pattern("{stem}.jpg").path("webp", source="a", index=0)


def test_a_name_that_is_too_long_by_its_pattern():
    with pytest.raises(PictureNameRefused, match="no name of a file"):
        Pattern("x" * 250 + "{stem}").path("png", source="abcdefg", index=0)
    assert PurePosixPath(Pattern("{stem}").path("png", source="a", index=0)).suffix == ".png"


def test_a_folder_alone_may_be_no_name():
    for folder in ("", ".", "./"):
        with pytest.raises(PictureNameRefused, match=r"it gives picture 3 no name; add \{stem\}"):
            Pattern("{folder}").path("png", source="a.png", index=3, folder=folder)
    assert Pattern("{folder}").path("png", source="a.png", index=3, folder="cats") == "cats.png"


def test_a_hash_that_there_is_not():
    with pytest.raises(PictureNameRefused, match="picture 3 has no {hash}"):
        Pattern("{hash}.png").path("png", source="a.png", index=3)
    with pytest.raises(PictureNameRefused, match="a function of yours.*can't be compared; take {index}"):
        Pattern("{hash}.png").check("png", compared=False)
    Pattern("{index}.png").check("png", compared=False)
    assert Pattern("{{hash}}.png").path("png", source="a.png", index=3) == "{hash}.png"


def test_what_is_wrong_with_all_names_is_said_at_once():
    with pytest.raises(PictureNameRefused, match="ends with .png, but the format is jpeg; write {ext}"):
        Pattern("{stem}.png").check("jpeg")
    with pytest.raises(PictureNameRefused, match="is no name of a file"):
        Pattern("x" * 300 + "{index}.png")
    for good in ("{stem}.jpg", "{stem}.{ext}", "{stem}", "a.b/{stem}-small"):
        Pattern(good).check("jpeg")
