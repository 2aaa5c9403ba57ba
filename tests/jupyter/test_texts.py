from twistcluster.jupyter.texts import count_of, kind_of, open_jobs, shortened


def test_words_for_numbers():
    assert [count_of(n, "slot") for n in (0, 1, 2, 1234)] == ["0 slots", "1 slot", "2 slots", "1,234 slots"]


def test_words_for_what_a_value_is_and_what_is_to_do():
    assert [kind_of(value) for value in (3, [])] == ["an int", "a list"]
    assert open_jobs(0, 0) == "no open jobs"
    assert open_jobs(1, 1200) == "1 open job with 1,200 items to do"


def test_long_texts_become_one_line():
    assert shortened("a\nb") == "a"
    assert shortened("x" * 200, 10) == "xxxxxxxxx…"
