"""How tables of pictures look: paths, errors, facts, colours."""

import json

import numpy as np

from twistcluster.images.table import Table

FOLDER = "/srv/a folder with a name that is longer than any column is wide/photos"


def shown(*rows):
    return repr(Table(rows)).splitlines()


def test_paths_are_told_from_the_folder_on_that_they_share():
    rows = [{"source": f"{FOLDER}/{name}"} for name in ("cat.jpg", "cat 2.jpg", "dogs/rex.jpg")]
    assert shown(*rows) == ["source", "…/cat.jpg", "…/cat 2.jpg", "…/dogs/rex.jpg"]
    assert [row["source"] for row in Table(rows)] == [row["source"] for row in rows]
    assert f'title="{FOLDER}/cat.jpg"' in Table(rows)._repr_html_()


def test_paths_that_share_nothing_are_cut_in_front():
    rows = [{"source": f"{FOLDER}/cat.jpg"}, {"source": "/mnt/b.jpg"}]
    head, first, second = shown(*rows)
    assert (head, second) == ("source", "/mnt/b.jpg")
    assert first.startswith("…") and first.endswith("/photos/cat.jpg") and len(first) == 40


def test_what_is_no_path_stays():
    assert shown({"source": "picture 0"}, {"source": "picture 1"}) == ["source", "picture 0", "picture 1"]
    assert shown({"path": None, "made": False}) == ["path  made", "      False"]


def test_an_error_names_its_picture_without_the_folder():
    source = f"{FOLDER}/cat.jpg"
    table = Table([{"source": source, "error": f"PictureDamaged: {source} is damaged: fetch it again"}])
    assert repr(table).endswith("PictureDamaged: cat.jpg is damaged: fetch it again")
    assert table[0]["error"].startswith(f"PictureDamaged: {FOLDER}")


def test_facts_are_told_by_name_and_none_are_none():
    gps = {"Make": "Canon", "GPSInfo": {"GPSAltitude": 12.5}}
    rows = shown(*({"exif": exif, "is": "x"} for exif in (gps, {}, None)))
    assert [row.split() for row in rows[2:]] == [["x"], ["x"]]
    assert rows[1] == "Make: Canon, GPSInfo: (GPSAltitude: 12.…  x"


def test_colours_are_painted():
    table = Table([{"colours": [((1, 2, 255), 0.75), ((200, 100, 3), 0.25)]}])
    assert repr(table).splitlines()[1] == "#0102ff 75%, #c86403 25%"
    assert table._repr_html_().count("background: #") == 2


def test_numbers_stand_right_and_markup_is_text():
    assert shown({"width": 1200}, {"width": 8}) == ["width", "1,200", "    8"]
    page = Table([{"label": "<b>", "width": 1200}])._repr_html_()
    assert "&lt;b&gt;" in page and "<td>1,200</td>" in page


def test_names_that_are_no_utf_8_in_polars():
    rows = [
        {"source": "caf\udce9.jpg", "labels": ["a\udce9"], "facts": {"by": "\udce9"}, "mixed": "\udce9", "é": 1},
        {"source": "café.jpg", "labels": ["b"], "facts": {"by": "é"}, "mixed": 1, "é": 2},
    ]
    found = Table(rows).to_polars()
    assert found["source"].to_list() == ["caf\\udce9.jpg", "café.jpg"]
    assert found["labels"].to_list() == [["a\\udce9"], ["b"]] and found["facts"][0] == {"by": "\\udce9"}
    assert found["mixed"].to_list() == ["\\udce9", "1"] and found["é"].to_list() == [1, 2]


def test_polars_gets_the_keys_of_all_rows():
    rows = [{}, None, *[{"Make": "Acme"}] * 150, {"Model": "X", "At": {"lat": 1.5}, "Sizes": [1, 2.5], 3: 4}]
    found = Table({"exif": row} for row in rows).to_polars()["exif"].to_list()
    assert found[-1] == {"Make": None, "Model": "X", "At": {"lat": 1.5}, "Sizes": [1.0, 2.5], "3": 4}
    assert found[1] is None and found[2]["Make"] == "Acme" and found[0]["Make"] is None
    floats = Table([{"v": [1]}, {"v": [1.5]}, {"v": []}]).to_polars()["v"].to_list()
    assert floats == [[1.0], [1.5], []]


def test_dicts_without_a_common_type_are_json_in_polars():
    odd = object()
    rows = [{"by": 1, "é": "\udce9"}, {"by": "me"}, {"by": odd}, None]
    found = Table({"exif": row, "colours": [((1, 2, 3), 0.5)], "huge": 2**70} for row in rows).to_polars()
    assert [value and json.loads(value) for value in found["exif"]] == [
        {"by": 1, "é": "\\udce9"},
        {"by": "me"},
        {"by": str(odd)},
        None,
    ]
    assert json.loads(found["colours"][0]) == [[[1, 2, 3], 0.5]] and found["huge"][0] == 2**70
    assert Table([{"v": 1}, {"v": 1.5}]).to_polars()["v"].to_list() == [1.0, 1.5]
    assert Table([{"v": None}, {"v": {}}]).to_polars()["v"].to_list() == [None, {}]


def test_numbers_of_numpy_and_of_python_are_of_one_type_in_polars():
    half, two = np.float32(0.5), np.int64(2)
    rows = [
        {
            "float": np.float64(1.5),
            "int": 1,
            "both": two,
            "bool": True,
            "in": {"a": half, "b": [1, half]},
            "only": half,
        },
        {"float": 2.0, "int": two, "both": half, "bool": np.True_, "in": {"a": 2}, "only": None},
    ]
    found = Table(rows).to_polars()
    assert {name: str(kind) for name, kind in found.schema.items()} == {
        "float": "Float64",
        "int": "Int64",
        "both": "Float64",
        "bool": "Boolean",
        "in": "Struct({'a': Float64, 'b': List(Float64)})",
        "only": "Float32",
    }
    assert found["in"].to_list() == [{"a": 0.5, "b": [1.0, 0.5]}, {"a": 2.0, "b": None}]
    days = Table([{"when": np.datetime64("2026-01-02")}, {"when": None}, {"when": "soon"}]).to_polars()["when"]
    assert days.to_list() == ["2026-01-02", None, "soon"]
    assert Table([{"t": [np.timedelta64(5, "ns"), 5]}]).to_polars()["t"].to_list() == ['["5 nanoseconds", 5]']


def test_names_that_are_no_utf_8_are_spelled_out():
    named = Table([{"source": "caf\udce9.jpg"}])
    assert "caf\\udce9.jpg" in repr(named) and "caf\\udce9.jpg" in named._repr_html_()
