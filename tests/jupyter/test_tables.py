from twistcluster.jupyter.tables import count_of, shortened, table, time_text


def test_columns_are_as_wide_as_what_stands_in_them():
    text = table(["name", "slots"], [["default", 2], ["lab", 16]])
    assert text == "name     slots\ndefault      2\nlab         16"


def test_a_table_without_rows_is_its_headers():
    assert table(["name", "slots"], []) == "name  slots"


def test_words_for_numbers():
    assert [count_of(n, "slot") for n in (0, 1, 2, 1234)] == ["0 slots", "1 slot", "2 slots", "1,234 slots"]
    assert [time_text(s) for s in (0.42, 12, 200, 7500)] == ["0.4 s", "12 s", "3 min", "2 h 5 min"]


def test_long_texts_become_one_line():
    assert shortened("a\nb") == "a"
    assert shortened("x" * 200, 10) == "xxxxxxxxx…"
