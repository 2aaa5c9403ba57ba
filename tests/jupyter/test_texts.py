from twistcluster.jupyter.texts import count_of, shortened


def test_words_for_numbers():
    assert [count_of(n, "slot") for n in (0, 1, 2, 1234)] == ["0 slots", "1 slot", "2 slots", "1,234 slots"]


def test_long_texts_become_one_line():
    assert shortened("a\nb") == "a"
    assert shortened("x" * 200, 10) == "xxxxxxxxx…"
