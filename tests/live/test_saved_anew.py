"""Saving again what may have changed where this program can't see it: in slots, on the web, on the workers' disks."""

import http.server
import io
import signal
import threading

import pytest
from PIL import Image

import twistcluster as tc
from twistcluster.images import pipeline as pipeline_module
from twistcluster.images import source

WHERE = pytest.mark.parametrize("where", ["client", "workers"])


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=1) as cluster:
        yield cluster


def png(level):
    file = io.BytesIO()
    Image.new("L", (8, 8), level).save(file, "PNG")
    return file.getvalue()


NAP = """
import time
def f(image):
    time.sleep(0.04)
    return image
"""


def told(table):
    """What was made of each, and how bright it is."""
    return [(row["made"], row["path"] and Image.open(row["path"]).getpixel((0, 0)), row.get("error")) for row in table]


def notebook_s(text):
    """A function as a notebook's cell defines it."""
    space = {"__name__": "__main__"}
    exec(text, space)
    return space["f"]


@WHERE
def test_a_function_of_names_that_everywhere_defined(cluster, tmp_path, where):
    paint = notebook_s("def f(image): return image.point([SHADE] * 256)")
    for level in {"client": (10, 200), "workers": (20, 90)}[where]:
        cluster.everywhere(notebook_s(f"def f():\n    global SHADE\n    SHADE = {level}"))
        saved = cluster.images([png(0)]).map(paint).save(tmp_path, overwrite=True, where=where)
        assert told(saved) == [(True, level, None)]
    again = cluster.images([png(0)]).map(paint).save(tmp_path, where=where, errors="return")
    assert "can't be compared" in again[0]["error"]


@pytest.fixture
def web():
    """A server whose picture is as bright as its `level`."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked += 1
            data = png(self.server.level)
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.level, server.asked = 10, 0
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@WHERE
def test_an_address_stands_for_its_picture_unless_it_may_be_overwritten(cluster, tmp_path, web, where):
    def save(**options):
        address = f"http://127.0.0.1:{web.server_port}/a.png"
        return told(cluster.images(address).save(tmp_path, where=where, **options))

    assert save() == [(True, 10, None)]
    web.level = 200
    assert save() == [(False, 10, None)] and web.asked == 1
    assert save(overwrite=True) == [(True, 200, None)] and web.asked == 2
    web.level = 90
    assert save() == [(False, 200, None)] and web.asked == 2


@WHERE
def test_addresses_after_other_questions(cluster, tmp_path, web, where):
    pipeline = cluster.images(f"http://127.0.0.1:{web.server_port}/a.png").transpose("rotate_180")
    assert told(pipeline.save(tmp_path, where=where)) == [(True, 10, None)]
    web.level = 200
    pipeline = cluster.images(f"http://127.0.0.1:{web.server_port}/a.png").transpose("rotate_180")
    assert pipeline.results()[0].getpixel((0, 0)) == 200 and web.asked == 2
    assert told(pipeline.save(tmp_path, where=where)) == [(False, 10, None)]
    assert told(pipeline.save(tmp_path, where=where, overwrite=True)) == [(True, 200, None)]
    web.level = 90
    assert told(pipeline.save(tmp_path, where=where, overwrite=True)) == [(True, 90, None)]


def test_an_interrupted_save_fetches_each_address_once(cluster, tmp_path, web):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "z.png").write_bytes(png(5))
    addresses = [f"http://127.0.0.1:{web.server_port}/{number}.png" for number in range(20)]
    pipeline = cluster.images(tmp_path / "in", *addresses).map(notebook_s(NAP))
    threading.Timer(0.4, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(tc.Detached):
        pipeline.save(tmp_path / "out", overwrite=True)
    assert len(pipeline.save(tmp_path / "out", overwrite=True)) == 21 and web.asked == 20


@WHERE
def test_a_file_of_the_workers_after_other_questions(cluster, tmp_path, where):
    path, out = tmp_path / "a.png", tmp_path / "out"
    path.write_bytes(png(10))
    pipeline = cluster.images(path, where="workers").transpose("rotate_180")
    assert len(pipeline.table()) == 1
    assert told(pipeline.save(out, where=where)) == [(True, 10, None)]
    again = cluster.images(path, where="workers").transpose("rotate_180")
    assert told(again.save(out, where=where)) == [(False, 10, None)]
    path.write_bytes(png(200))
    assert told(pipeline.save(out, where=where, overwrite=True)) == [(True, 200, None)]


@WHERE
def test_a_file_of_the_workers_that_changed_is_made_again(cluster, tmp_path, where, monkeypatch):
    def hidden(*_):
        raise ValueError

    for name in ("proof_of", "source_stamp"):  # this program doesn't see the file
        monkeypatch.setattr(source, name, hidden)
    path, out = tmp_path / "a.png", tmp_path / "out"

    def save(**options):
        return told(cluster.images(path, where="workers").save(out, "{stem}.png", where=where, **options))

    path.write_bytes(png(10))
    assert save() == [(True, 10, None)]
    assert save() == [(False, 10, None)]
    path.write_bytes(png(200))
    assert "made from another picture" in save(errors="return")[0][2]
    assert save(overwrite=True) == [(True, 200, None)]
    assert save(overwrite=True) == [(False, 200, None)]
    assert len(cluster.images(path, where="workers").save(out, "{hash}.png", where=where)) == 1


@WHERE
def test_a_module_that_a_function_imports_itself_travels_as_it_is_now(cluster, tmp_path, where, monkeypatch):
    name = f"shades_{where}"
    beside = tmp_path / "beside"
    beside.mkdir()
    monkeypatch.chdir(beside)
    paint = notebook_s(f"def f(image):\n    from {name} import SHADE\n    return image.point([SHADE] * 256)")
    for number, level in enumerate((10, 200)):
        (beside / f"{name}.py").write_text(f"SHADE = {level}{' ' * number}\n")
        pipeline = cluster.images([png(0)]).map(paint)
        saved = pipeline.save(tmp_path / "out", where=where, overwrite=True)
        assert told(saved) == [(True, level, None)]
        assert told(cluster.images([png(0)]).map(paint).save(tmp_path / "out", where=where)) == [(False, level, None)]
        assert pipeline.results()[0].getpixel((0, 0)) == level


def boxed(level):
    """A function that can't be compared, and what it uses."""

    class Box:
        pass

    box = Box()
    box.level = level
    space = {"__name__": "__main__", "box": box}
    exec("def f(image): return image.point([box.level] * 256)", space)
    return space["f"], box


def test_what_cannot_be_compared_is_taken_from_a_job_once(cluster, tmp_path):
    paint, box = boxed(10)
    pipeline = cluster.images([png(0)]).map(paint)
    assert pipeline.run().results()[0].getpixel((0, 0)) == 10
    assert told(pipeline.save(tmp_path / "a", overwrite=True)) == [(True, 10, None)]
    box.level = 200
    assert told(pipeline.save(tmp_path / "a", overwrite=True)) == [(True, 200, None)]
    assert told(pipeline.save(tmp_path / "b")) == [(True, 200, None)]


def test_a_save_computes_what_stands_for_the_steps_once(cluster, tmp_path, monkeypatch):
    asked = []
    kept = pipeline_module.plan_stamp
    monkeypatch.setattr(pipeline_module, "plan_stamp", lambda *args: asked.append(1) or kept(*args))
    cluster.images([png(0)]).resize(4).save(tmp_path)
    assert len(asked) == 1
