import linecache
from types import SimpleNamespace

from twistcluster.client.tracebacks import with_source_lines

REMOTE = """Traceback (most recent call last):
  File "<cell 1>", line 2, in outer
  File "/usr/lib/python3/there.py", line 7, in there
    return call(x)
           ^^^^^^^
  File "<cell 1>", line 4, in inner
  File "/nowhere/on/this/machine.py", line 3, in lost
ZeroDivisionError: division by zero
"""


def test_frames_without_a_line_get_the_one_that_is_known_here(monkeypatch):
    lines = ["def outer():\n", "    return there()\n", "def inner():\n", "    1 / 0\n"]
    monkeypatch.setitem(linecache.cache, "<cell 1>", (0, None, lines, "<cell 1>"))
    assert with_source_lines(REMOTE) == (
        """Traceback (most recent call last):
  File "<cell 1>", line 2, in outer
    return there()
  File "/usr/lib/python3/there.py", line 7, in there
    return call(x)
           ^^^^^^^
  File "<cell 1>", line 4, in inner
    1 / 0
  File "/nowhere/on/this/machine.py", line 3, in lost
ZeroDivisionError: division by zero
"""
    )


def test_cells_are_called_by_their_numbers(monkeypatch):
    def format_code_name(name):
        return ("Cell", "In[3]") if name == "<cell 1>" else None

    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=format_code_name))
    monkeypatch.setattr("twistcluster.client.views.shell", lambda: shell)
    text = with_source_lines(REMOTE)
    assert "  Cell In[3], line 4, in inner\n" in text
    assert '  File "/usr/lib/python3/there.py", line 7, in there\n' in text


def test_a_text_that_is_no_traceback_stays():
    assert with_source_lines("killed by signal 9") == "killed by signal 9"
    assert with_source_lines("") == ""
