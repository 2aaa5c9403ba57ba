"""Pipelines of pictures on a real cluster: sources, results, saving, what is wrong with single pictures."""

import http.server
import io
import signal
import tarfile
import threading
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import twistcluster as tc
from tests.images.pictures import PHOTOS, encoded, photo
from twistcluster.client import views
from twistcluster.images import writing
from twistcluster.images.plan import Plan
from twistcluster.images.steps import Grayscale, Resize
from twistcluster.images.work import Encoded, Saved


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=2) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six pictures in three folders, and what is none."""
    root = tmp_path_factory.mktemp("photos")
    (root / "2024" / "may").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for index, name in enumerate(["a.jpg", "b.png", "2024/c.jpg", "2024/d.webp", "2024/may/e.jpg", "2024/may/f.JPG"]):
        tile = photo(index % len(PHOTOS)).resize((120 + index, 90))
        tile.save(root / name, "JPEG" if name.lower().endswith("jpg") else None)
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden" / "g.jpg").write_bytes(b"none")
    return root


def names(table):
    return [Path(row["source"]).name for row in table]


def widths(job_or_pipeline):
    return [image.width for image in job_or_pipeline.results()]


def size_of(path):
    with Image.open(path) as image:
        return image.size


# ---- sources ---------------------------------------------------------------------------------------------------------


def test_patterns_folders_and_lists_of_paths(cluster, folder):
    assert names(cluster.images(f"{folder}/*.jpg").table()) == ["a.jpg"]
    assert names(cluster.images(f"{folder}/**/*.[jJ][pP][gG]").table()) == ["a.jpg", "c.jpg", "e.jpg", "f.JPG"]
    everything = ["c.jpg", "d.webp", "e.jpg", "f.JPG", "a.jpg", "b.png"]
    assert names(cluster.images(folder).table()) == everything
    assert sorted(names(cluster.images([folder / "b.png", [f"{folder}/2024/*"]]).table())) == [
        "b.png",
        "c.jpg",
        "d.webp",
    ]
    assert names(cluster.images(folder / each for each in ("b.png", "a.jpg")).table()) == ["b.png", "a.jpg"]


def test_bytes_images_arrays_and_stacks(cluster):
    one = photo(0).resize((40, 30))
    array = np.asarray(one)
    given = [encoded(one, "PNG"), bytearray(encoded(one, "PNG")), one, array, np.stack([array, array])]
    found = cluster.images(*given, array[:, :, 0]).results()
    assert [image.size for image in found] == [(40, 30)] * 7
    assert all(np.array_equal(np.asarray(image), array) for image in found[:6])
    assert found[6].mode == "L"


def archives(folder, tmp_path):
    files = ["a.jpg", "b.png", "2024/c.jpg"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as made:
        for name in files:
            made.write(folder / name, name)
        made.write(folder / "notes.txt", "notes.txt")
    for ending, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tar.xz", "w:xz")):
        with tarfile.open(tmp_path / f"all{ending}", mode) as made:
            for name in files:
                made.add(folder / name, name)
    return [tmp_path / f"all{ending}" for ending in (".zip", ".tar", ".tar.gz", ".tar.xz")]


def test_archives(cluster, folder, tmp_path):
    for archive in archives(folder, tmp_path):
        table = cluster.images(archive).table()
        assert table.column("width") == [120, 121, 122], archive
        assert table.column("source") == [f"{archive}/{name}" for name in ("a.jpg", "b.png", "2024/c.jpg")]


def test_a_damaged_archive_is_an_error_in_its_place(cluster, folder, tmp_path):
    good, *_ = archives(folder, tmp_path)
    for name in ("bad.zip", "bad.tar.gz"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and nothing")
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "all.tar.gz").read_bytes()[:-5000])
    pipeline = cluster.images(tmp_path / "bad.zip", tmp_path / "bad.tar.gz", good, tmp_path / "cut.tar.gz")
    found = pipeline.options(errors="return").results()
    assert [isinstance(each, tc.PictureUnreadable) for each in found[:5]] == [True, True, False, False, False]
    assert "can't be unpacked" in str(found[0]) and isinstance(found[-1], tc.PictureUnreadable)


def test_a_member_that_holds_more_than_its_archive_says(cluster, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.png", bytes(1_000_000))
    data = (tmp_path / "bomb.zip").read_bytes()
    # The sizes in both heads say ten bytes.
    (tmp_path / "bomb.zip").write_bytes(data.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    (error,) = cluster.images(tmp_path / "bomb.zip").results(errors="return")
    assert isinstance(error, tc.PictureError)


class Server(http.server.ThreadingHTTPServer):
    """On loopback: pictures, and what goes wrong with addresses."""

    daemon_threads = True
    block_on_close = False

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            picture = encoded(photo(0).resize((50, 40)))
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("location", "/picture.jpg")
                self.end_headers()
            elif self.path == "/round":
                self.send_response(302)
                self.send_header("location", "/round")
                self.end_headers()
            elif self.path == "/slow":
                time.sleep(30)
            elif self.path.startswith("/picture"):
                self.answer(picture)
            elif self.path == "/cut":
                self.answer(picture, len(picture) + 100)
            elif self.path == "/long":
                self.answer(bytes(200_000))
            elif self.path == "/endless":
                self.send_response(200)
                self.end_headers()
                for _ in range(1000):
                    self.wfile.write(bytes(1000))
            else:
                self.send_error(404)

        def answer(self, data, length=None):
            self.send_response(200)
            self.send_header("content-length", str(length or len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    def handle_error(self, *_):
        pass


@pytest.fixture(scope="module")
def web():
    server = Server(("127.0.0.1", 0), Server.Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_addresses_with_limits(cluster, web):
    paths = ["/picture.jpg?token=secret", "/moved", "/nothing", "/round", "/slow", "/cut", "/long", "/endless"]
    addresses = [web + path for path in paths] + ["http://127.0.0.1:9/x.jpg"]
    found = cluster.images(addresses, timeout=1, max_bytes=100_000).results(errors="return")
    assert [image.size for image in found[:2]] == [(50, 40)] * 2
    wrong = [type(error) for error in found[2:]]
    unreadable, large = tc.PictureUnreadable, tc.PictureTooLarge
    assert wrong == [unreadable, unreadable, unreadable, unreadable, large, large, unreadable]
    assert "404" in str(found[2]) and "timed out" in str(found[4]).lower() and "max_bytes" in str(found[6])
    assert not any("secret" in str(error) for error in found[2:])


def test_a_server_that_holds_a_secret_in_its_address_is_called_without_it(cluster, web):
    (row,) = cluster.images(f"{web}/picture.jpg?token=secret").table()
    assert row["source"] == f"{web}/picture.jpg"


def test_what_is_no_source(cluster, tmp_path):
    with pytest.raises(TypeError, match="images of what"):
        cluster.images()
    with pytest.raises(TypeError, match="a int is no picture"):
        cluster.images([1])
    with pytest.raises(tc.PictureUnreadable, match="no file matches"):
        cluster.images(f"{tmp_path}/*.jpg")
    with pytest.raises(tc.PictureUnreadable, match="has no pictures"):
        cluster.images(tmp_path)
    with pytest.raises(ValueError, match="where"):
        cluster.images(tmp_path, where="here")
    (error,) = cluster.images(tmp_path / "gone.jpg").results(errors="return")
    assert isinstance(error, tc.PictureUnreadable) and "gone.jpg" in str(error)


def test_an_iterator_can_be_gone_through_once(cluster, folder):
    pipeline = cluster.images(iter([folder / "a.jpg", 7]))
    first, second = pipeline.results(errors="return")
    assert first.width == 120 and isinstance(second, tc.PictureUnknown)
    with pytest.raises(ValueError, match="give a list"):
        pipeline.run().results()


def test_paths_of_the_workers(cluster, folder):
    found = cluster.images([f"{folder}/2024/may/*", f"{folder}/2024/", folder / "a.jpg"], where="workers").table()
    assert names(found) == ["e.jpg", "f.JPG", "c.jpg", "d.webp", "e.jpg", "f.JPG", "a.jpg"]
    with pytest.raises(tc.PictureUnreadable, match="no picture matches"):
        cluster.images(f"{folder}/*.gif", where="workers").results()


def test_archives_of_the_workers(cluster, folder, tmp_path):
    zipped, tar, packed, _ = archives(folder, tmp_path)
    found = cluster.images(zipped, tar, packed, where="workers").table("return")
    assert found.column("width") == [120, 121, 122] * 2 + [None]
    assert "unpack it there" in found[6]["error"]


def test_what_can_t_be_sent_fails_alone(cluster, tmp_path):
    good, cut = encoded(photo(0)), Image.open(io.BytesIO(encoded(photo(0))[:2000]))
    given = [good, cut, np.array([[object()]]), io.BytesIO(good)]
    wrong = [None, "PictureDamaged", "PictureUnknown", None]
    for form in (list, iter):
        table = cluster.images(form(given)).resize(8).table("return")
        assert [error and error.partition(":")[0] for error in table.column("error")] == wrong
        saved = cluster.images(form(given)).resize(8).save(tmp_path / form.__name__, errors="return")
        assert [error and error.partition(":")[0] for error in saved.column("error")] == wrong


# ---- steps and results -----------------------------------------------------------------------------------------------


def test_results_are_as_a_plan_s_run_here(cluster, folder):
    paths = sorted(str(path) for path in folder.rglob("*.jpg") if ".hidden" not in str(path))
    plan = Plan((Resize(32), Grayscale()))
    found = cluster.images(paths).resize(32).grayscale().results()
    for image, path in zip(found, paths, strict=True):
        here = plan.run(path)
        assert image.mode == "L" and np.array_equal(np.asarray(image), np.asarray(here))


def test_a_function_of_one_s_own_and_a_filter(cluster, folder):
    threshold = 121
    wide = cluster.images(folder).filter(lambda image: image.width > threshold)
    assert widths(wide) == [122, 123, 124, 125]
    assert [index for index, _ in wide.run().as_completed()] != [] and len(wide.table()) == 4
    means = wide.map(lambda array: float(array.mean()), "array").table()
    assert means.columns == ["index", "source", "value"] and all(0 < mean < 255 for mean in means.column("value"))


def test_a_dict_s_keys_are_columns_beside_ours(cluster, folder):
    odd = {"index": 99, "source": "mine", "error": "none", 3: 4, "3": 5, "map.index": 6, None: 7, (1, 2): 8}
    table = cluster.images(folder / "a.jpg").map(lambda _: odd).table()
    assert table[0] == {
        "index": 0, "source": str(folder / "a.jpg"), "map.map.index": 99, "map.source": "mine", "map.error": "none",
        "map.3": 4, "3": 5, "map.index": 6, "None": 7, "(1, 2)": 8,
    }  # fmt: skip
    assert "map.source" in repr(table) and "map.source" in table._repr_html_() and table.to_polars()["3"][0] == 5


def test_metadata_is_a_table(cluster, folder):
    table = cluster.images(folder).metadata().table()
    assert table.column("format") == ["JPEG", "WEBP", "JPEG", "JPEG", "JPEG", "PNG"]
    assert table.to_polars().shape[0] == 6


def test_errors_are_those_of_single_pictures(cluster, folder):
    sources = [folder / "a.jpg", b"no picture", encoded(photo(1))[:2000], folder / "b.png"]
    pipeline = cluster.images(sources).resize(32)
    with pytest.raises(tc.PictureUnknown):
        pipeline.results()
    assert [type(each).__name__ for each in pipeline.results(errors="return")][1:3] == [
        "PictureUnknown",
        "PictureDamaged",
    ]
    assert len(pipeline.options(errors="skip").results()) == 2
    table = pipeline.options(errors="return").table()
    assert table.columns[-1] == "error" and [bool(error) for error in table.column("error")] == [0, 1, 1, 0]
    assert "picture 1" in table[1]["source"] and "PictureUnknown" in repr(table)


def test_the_first_that_is_asked_for_opens_the_job_and_others_use_it(cluster, folder):
    pipeline = cluster.images(folder).resize(20)
    assert pipeline.job is None
    pipeline.table()
    job = pipeline.job
    pipeline.results(), pipeline.stack
    assert pipeline.job is job
    assert pipeline.run() is pipeline.job is not job


def test_options(cluster, folder):
    job = cluster.images(folder).resize(20).options(name="thumbs", retries=2).run()
    job.wait()
    assert job.name == "thumbs" and len(cluster.job("thumbs").results()) == 6
    with pytest.raises(TypeError, match="no option 'retry'"):
        cluster.images(folder).options(retry=2)
    with pytest.raises(ValueError, match="errors is"):
        cluster.images(folder).options(errors="no")


def test_pictures_of_one_size_in_one_array(cluster, folder):
    pipeline = cluster.images(folder).fit((16, 12))
    stack = pipeline.stack()
    assert stack.shape == (6, 12, 16, 3) and stack.dtype == np.uint8
    assert np.array_equal(stack[2], np.asarray(pipeline.results()[2]))
    block = pipeline.stack(shared=True)
    means = cluster.map(lambda block, i: float(block[i].mean()), [block] * 6, range(6)).results()
    assert means == [float(each.mean()) for each in stack] and block.nbytes >= stack.nbytes
    with pytest.raises(tc.PictureError, match="of one size and mode"):
        cluster.images(folder).stack()
    with pytest.raises(tc.PictureError, match="wants pictures"):
        cluster.images(folder).metadata().stack()


def test_frames(cluster):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[second])
    (frames,) = cluster.images(file.getvalue(), frames="all").resize(4).results()
    assert [frame.size for frame in frames] == [(4, 4), (4, 4)]


def test_more_than_may_be_decoded(cluster, folder):
    (error,) = cluster.images(folder / "a.jpg", max_pixels=1000).results(errors="return")
    assert isinstance(error, tc.PictureTooLarge) and "max_pixels" in str(error)


# ---- saving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["client", "workers"])
def test_saved_once_and_found_again(cluster, folder, tmp_path, where):
    out = tmp_path / "out"
    small = cluster.images(f"{folder}/**/*.jpg").resize(32)
    first = small.save(out, "{folder}/{stem}-small", format="webp", where=where)
    assert [Path(row["path"]).relative_to(out).as_posix() for row in first] == [
        "a-small.webp",
        "2024/c-small.webp",
        "2024/may/e-small.webp",
    ]
    assert first.column("made") == [True] * 3
    assert size_of(first[0]["path"]) == (32, 24)
    times = [Path(row["path"]).stat().st_mtime_ns for row in first]
    again = (
        cluster.images(f"{folder}/**/*.jpg").resize(32).save(out, "{folder}/{stem}-small", format="webp", where=where)
    )
    assert again.column("made") == [False] * 3
    assert [Path(row["path"]).stat().st_mtime_ns for row in again] == times


@pytest.mark.parametrize("where", ["client", "workers"])
def test_nothing_is_overwritten_unasked(cluster, folder, tmp_path, where):
    (tmp_path / "a.png").write_text("mine")
    small = cluster.images(folder / "a.jpg", folder / "b.png").resize(32)
    with pytest.raises(tc.PictureExists, match="overwrite=True") as raised:
        small.save(tmp_path, where=where)
    assert "others are saved" in raised.value.__notes__[0]
    assert (tmp_path / "a.png").read_text() == "mine" and (tmp_path / "b.png").exists()
    table = small.save(tmp_path, where=where, errors="return")
    assert table.column("made") == [False, False] and "PictureExists" in table[0]["error"]
    small.save(tmp_path, where=where, overwrite=True)
    assert size_of(tmp_path / "a.png") == (32, 24)


@pytest.mark.parametrize("where", ["client", "workers"])
def test_two_pictures_of_one_name(cluster, folder, tmp_path, where):
    sources = [encoded(photo(0).resize((30 + i, 30)), "PNG") for i in range(6)]
    table = cluster.images(sources).save(tmp_path, "same.png", where=where, overwrite=True, errors="return")
    assert sum(table.column("made")) == 1
    assert all("{index}" in row["error"] for row in table if not row["made"])


@pytest.mark.parametrize("first", ["table", "run", "gallery"])
def test_what_was_given_itself_is_found_again_after_other_questions(cluster, tmp_path, first):
    images = [photo(n).resize((30 + n, 30)) for n in range(3)]

    def given():
        return [encoded(images[0], "PNG"), images[1], np.asarray(images[2])]

    for n, form in enumerate((list, iter)):
        out = tmp_path / str(n)
        pipeline = cluster.images(form(given())).resize(8)
        getattr(pipeline, first)()
        assert pipeline.save(out).column("made") == [True] * 3
        if form is list:  # what the iterator gave is gone through
            assert pipeline.save(out).column("made") == [False] * 3
        assert cluster.images(given()).resize(8).save(out).column("made") == [False] * 3


def test_an_array_that_changed_after_its_picture_was_made(cluster, tmp_path):
    array = np.zeros((8, 8, 3), "u1")
    pipeline = cluster.images([array])
    pipeline.results()
    array[:] = 255
    pipeline.save(tmp_path)
    assert colour_of(tmp_path / "picture-0.png") == (0, 0, 0)
    with pytest.raises(tc.PictureExists, match="made from another picture"):
        cluster.images([array]).save(tmp_path)


def test_an_error_of_a_save_says_whose_it_is_and_stays_the_job_s(cluster, tmp_path):
    sources = [tmp_path / f"{n}.png" for n in range(4)]
    for n, source in enumerate(sources):
        coloured(source, (n, n, n))
    pipeline = cluster.images(sources).map(raising_at_two).options(errors="raise")
    pipeline.run().wait()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as raised:
            pipeline.save(tmp_path / "out")
        (note,) = [each for each in raised.value.__notes__ if "failed" in each]
        assert note == (
            f"1 of 4 pictures failed, the first is {sources[2]}; the others are saved; errors='return' gives a table"
        )
        assert raised.value.__cause__ is not None  # where it was raised
    for ask in (pipeline.table, pipeline.run().results, lambda: list(pipeline)):
        with pytest.raises(ZeroDivisionError) as raised:
            ask()
        assert not any("pictures failed" in note for note in getattr(raised.value, "__notes__", ()))
    with pytest.raises(ZeroDivisionError) as raised:
        cluster.images(sources[2]).map(raising_at_two).save(tmp_path / "none")
    assert (
        raised.value.__notes__[-1]
        == f"1 of 1 pictures failed, the first is {sources[2]}; errors='return' gives a table"
    )


class TakesTwo(Exception):
    def __init__(self, one, two):
        super().__init__(one + two)


def test_an_error_that_can_t_be_copied_is_raised_as_it_is(cluster):
    error = TakesTwo("a", "b")
    assert writing._noted(error, "note") is error and not hasattr(error, "__notes__")


def raising_at_two(image):
    return 1 / 0 if image.getpixel((0, 0))[0] == 2 else image


def test_values_that_changed_after_the_pictures_were_made(cluster, folder, tmp_path):
    def shaded(image):
        return Image.new("L", image.size, shade)

    shade = 50
    pipeline = cluster.images(folder / "a.jpg").map(shaded)
    pipeline.results()
    shade = 200
    for made in (True, False):  # what is saved is what it is known for
        assert pipeline.save(tmp_path).column("made") == [made]
        assert colour_of(tmp_path / "a.png") == (200, 200, 200)
    assert cluster.images(folder / "a.jpg").map(shaded).save(tmp_path).column("made") == [False]


class Incomparable:
    """What no stamp can be made of."""

    shade = 3


@pytest.mark.parametrize("where", ["client", "workers"])
def test_pictures_of_one_name_that_nothing_tells_apart(cluster, tmp_path, where):
    secret = Incomparable()
    paths = []
    for n, colour in enumerate(["red", "green", "blue"]):
        (tmp_path / str(n)).mkdir()
        paths.append(tmp_path / str(n) / "same.png")
        coloured(paths[-1], colour)
    out = tmp_path / "out"
    pipeline = cluster.images(paths).map(lambda image: (secret.shade, image)[1])
    table = pipeline.save(out, where=where, overwrite=True, errors="return")
    assert sum(table.column("made")) == 1 and colour_of(out / "same.png") in {(255, 0, 0), (0, 128, 0), (0, 0, 255)}
    assert all("two pictures of this run" in row["error"] for row in table if not row["made"])
    with pytest.raises(tc.PictureNameRefused, match="there is no {hash}, because a function"):
        pipeline.save(out, "{hash}.png", where=where, errors="return")
    assert pipeline.save(out, "{index}.png", where=where).column("made") == [True] * 3


def test_open_images_of_one_name_after_a_table(cluster, tmp_path):
    images = []
    for n, colour in enumerate(["red", "green", "blue"]):
        (tmp_path / str(n)).mkdir()
        coloured(tmp_path / str(n) / "same.png", colour)
        images.append(Image.open(tmp_path / str(n) / "same.png"))
    pipeline = cluster.images(images).resize(4)
    pipeline.table()
    table = pipeline.save(tmp_path / "out", overwrite=True, errors="return")
    assert sum(table.column("made")) == 1
    assert all("two pictures of this run" in row["error"] for row in table if not row["made"])


def test_saved_from_the_job_that_is_there(cluster, folder, tmp_path):
    small = cluster.images(f"{folder}/**/*.jpg").resize(32)
    job = small.run()
    saved = small.save(tmp_path, format="jpeg", quality=90)
    assert small.job is job and saved.column("made") == [True] * 3
    assert small.save(tmp_path, format="jpeg", quality=90).column("made") == [False] * 3
    assert [path.suffix for path in sorted(tmp_path.glob("*.jpg"))] == [".jpg"] * 3


def test_saved_from_an_iterator(cluster, folder, tmp_path):
    small = cluster.images(iter([folder / "a.jpg", folder / "2024" / "c.jpg"])).resize(32)
    small.run().wait()
    assert [Path(row["path"]).name for row in small.save(tmp_path)] == ["a.png", "c.png"]


def test_what_can_t_be_saved(cluster, folder, tmp_path):
    with pytest.raises(TypeError, match="no pictures that could be saved"):
        cluster.images(folder).metadata().save(tmp_path)
    with pytest.raises(ValueError, match="where"):
        cluster.images(folder).save(tmp_path, where="there")
    with pytest.raises(tc.PictureNameRefused):
        cluster.images(folder).save(tmp_path, "../{stem}")
    with pytest.raises(ValueError, match="quality"):
        cluster.images(folder).save(tmp_path, format="png", quality=3)
    for where in ("client", "workers"):
        pipeline = cluster.images(folder)
        with pytest.raises(tc.PictureNameRefused, match="ends with .png, but the format is jpeg"):
            pipeline.save(tmp_path / "none", "{stem}.png", format="jpeg", where=where, errors="return")
        assert pipeline.job is None and not (tmp_path / "none").exists()
    (row,) = cluster.images(folder / "a.jpg").map(lambda image: 7).save(tmp_path, errors="return")
    assert "can't be saved as a picture" in row["error"]


def test_a_saved_picture_is_made_again_when_its_source_changed(cluster, folder, tmp_path):
    source = tmp_path / "x.png"
    photo(0).resize((40, 30)).save(source)
    small = cluster.images(source).resize(20)
    small.save(tmp_path / "out")
    photo(1).resize((40, 30)).save(source)
    with pytest.raises(tc.PictureExists, match="another picture"):
        cluster.images(source).resize(20).save(tmp_path / "out")
    assert cluster.images(source).resize(20).save(tmp_path / "out", overwrite=True).column("made") == [True]


def test_one_that_failed_is_no_end_to_the_others(cluster, folder, tmp_path):
    good = encoded(photo(0).resize((40, 30)), "PNG")
    for errors in ("return", "skip", "raise"):
        small = cluster.images([good] * 3 + [good[:60]] + [good] * 5).resize(20).options(errors=errors)
        small.run().wait()
        out = tmp_path / errors
        if errors == "raise":
            with pytest.raises(tc.PictureDamaged):
                small.save(out, "{index}.png")
        else:
            assert len(small.save(out, "{index}.png")) == (9 if errors == "return" else 8)
            assert len(small.stack()) == 8
        assert len([*out.glob("*.png")]) == 8


def test_how_errors_are_read_makes_nothing_anew(cluster, folder):
    small = cluster.images([folder / "a.jpg", b"no picture"]).resize(20)
    job = small.run()
    assert len(small.options(errors="skip").results()) == 1 and small.options(errors="return").job is job
    assert small.options(retries=1).job is None


def test_a_pipeline_s_job_is_an_argument_as_any_job(cluster, folder):
    small = cluster.images(folder / "a.jpg", folder / "b.png").resize(20)
    assert cluster.map(lambda image: image.width, small.run()).results() == [20, 20]
    assert cluster.submit(len, small.job).result() == 2


@pytest.mark.parametrize("ask", ["results", "table", "save"])
def test_errors_that_a_call_asks_for_aren_t_shown_too(cluster, tmp_path, capfd, ask):
    pipeline = cluster.images(b"no picture", encoded(photo(0).resize((9, 9)))).resize(4)
    getattr(pipeline, ask)(*[tmp_path] * (ask == "save"), errors="return")
    pipeline.save(tmp_path, errors="return")
    cluster.status()
    assert "failed" not in capfd.readouterr().err


def test_a_save_of_a_job_that_goes_on_shows_no_errors(cluster, tmp_path, capfd):
    sources = [encoded(photo(0).resize((9, 9)), "PNG"), b"no picture"] * 2
    pipeline = cluster.images(sources).map(nap).options(errors="return")
    job = pipeline.run()
    table = pipeline.save(tmp_path)
    assert pipeline.job is job and table.column("made") == [True, False] * 2
    assert all("PictureUnknown" in row["error"] for row in [*table][1::2])
    cluster.status()
    assert "failed" not in capfd.readouterr().err


@pytest.mark.parametrize(("errors", "lines"), [("raise", 1), ("return", 0), ("skip", 0)])
def test_errors_that_are_asked_for_aren_t_shown_too(cluster, capfd, errors, lines):
    cluster.images(b"no picture").options(errors=errors).run().wait()
    cluster.status()
    assert capfd.readouterr().err.count("PictureUnknown") == lines


# ---- what a job was made of is what it saves ---------------------------------------------------------------------------


def coloured(path, colour):
    Image.new("RGB", (8, 8), colour).save(path)


def colour_of(path):
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((0, 0))


def test_a_folder_that_changed_since_its_pictures_were_made(cluster, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    coloured(root / "b.png", "red")
    coloured(root / "c.png", "blue")
    pipeline = cluster.images(root).resize(4)
    pipeline.results()
    coloured(root / "a.png", "green")
    coloured(root / "c.png", "yellow")
    assert [Path(row["path"]).name for row in pipeline.save(out)] == ["b.png", "c.png"]
    assert colour_of(out / "b.png") == (255, 0, 0) and colour_of(out / "c.png") == (0, 0, 255)
    # c.png is known to be made of what was there then.
    fresh = cluster.images(root).resize(4).save(out, overwrite=True)
    assert fresh.column("made") == [True, False, True] and colour_of(out / "c.png") == (255, 255, 0)


@pytest.mark.parametrize("shown", [True, False])
def test_a_save_again_makes_what_is_missing(cluster, tmp_path, shown):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    for n in range(4):
        coloured(root / f"{n}.png", (n * 60, 0, 0))
    whole = (root / "2.png").read_bytes()
    (root / "2.png").write_bytes(whole[:50])
    pipeline = cluster.images(root).resize(4).options(errors="return")
    if shown:
        pipeline.gallery()
        pipeline.results()
    made_first = pipeline.job
    saved = pipeline.save(out)
    assert saved.column("made") == [True, True, False, True] and "PictureDamaged" in saved[2]["error"]
    assert pipeline.save(out).column("made") == [False] * 4
    (root / "2.png").write_bytes(whole)
    coloured(root / "1.png", "white")
    coloured(root / "9.png", "green")
    again = pipeline.save(out)
    assert names(again) == ["0.png", "1.png", "2.png", "3.png", "9.png"]
    assert again.column("made") == [False, False, True, False, True] and "PictureExists" in again[1]["error"]
    assert pipeline.save(out, overwrite=True).column("made") == [False, True, False, False, False]
    assert colour_of(out / "1.png") == (255, 255, 255) and colour_of(out / "2.png") == (120, 0, 0)
    assert pipeline.save(tmp_path / "other").column("made") == [True] * 5
    if shown:
        assert pipeline.job is made_first  # what was shown stays


def test_what_a_job_made_is_taken_for_what_is_listed_anew(cluster, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    (root / "b.png").write_bytes(b"no picture")
    coloured(root / "a.png", "red")
    coloured(root / "c.png", "blue")
    pipeline = cluster.images(root).map(any_height).options(errors="return")
    first, _, third = pipeline.results()
    coloured(root / "b.png", "green")
    assert pipeline.save(tmp_path / "out").column("made") == [True] * 3
    assert size_of(tmp_path / "out" / "a.png") == first.size and size_of(tmp_path / "out" / "c.png") == third.size


@pytest.mark.parametrize("later", ["same", "fresh"])
def test_what_is_on_the_disk_is_not_encoded_again(cluster, folder, tmp_path, later):
    pipeline = cluster.images(f"{folder}/**/*.jpg").resize(32)
    pipeline.results()
    pipeline.save(tmp_path)
    (tmp_path / "c.png").unlink()
    if later == "fresh":
        pipeline = cluster.images(f"{folder}/**/*.jpg").resize(32)
        pipeline.results()
    assert pipeline.save(tmp_path).column("made") == [False, True, False]
    assert [type(found) for found in pipeline._saving.results()] == [Saved, Encoded, Saved]


def test_a_source_that_broke_off_is_said_once_it_is_saved(cluster, folder, tmp_path):
    def given():
        yield folder / "a.jpg"
        raise OSError("the list broke off")

    pipeline = cluster.images(given()).resize(8)
    pipeline.run().wait()
    with pytest.raises(tc.InputEnded, match="the list broke off") as raised:
        pipeline.save(tmp_path)
    assert str(raised.value).count("broke off") == 1
    assert [path.name for path in tmp_path.glob("*.png")] == ["a.png"]


def test_saved_after_a_filter(cluster, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        coloured(root / f"{name}.png", colour)
    pipeline = cluster.images(root).filter(lambda image: image.getpixel((0, 0))[0] == 0)
    assert len(pipeline.results()) == 2
    pipeline.save(out)
    assert sorted(path.name for path in out.glob("*.png")) == ["b.png", "c.png"]
    assert colour_of(out / "c.png") == (0, 0, 255)
    wide = cluster.images(root).filter(lambda image: image.getpixel((0, 0))[0] == 0).map(widened)
    with pytest.raises(tc.PictureError, match=r"c\.png is"):
        wide.stack()


def any_height(image):
    """Another one each time."""
    return image.resize((1, 1 + time.time_ns() % 1000))


def widened(image):
    return image.resize((image.getpixel((0, 0))[2] // 25 + 4, 4))


def test_sources_that_end_with_an_error(cluster, folder, tmp_path):
    def given():
        yield folder / "a.jpg"
        raise OSError("the list broke off")

    for where in ("client", "workers"):
        saved = cluster.images(given()).resize(8).save(tmp_path / where, where=where, errors="return")
        assert [row["made"] for row in saved] == [True, False] and "the list broke off" in saved[1]["error"]
        with pytest.raises(tc.InputEnded, match="the list broke off"):
            cluster.images(given()).resize(8).save(tmp_path / where, where=where)
        assert [path.name for path in (tmp_path / where).glob("*.png")] == ["a.png"]
    pipeline = cluster.images(given()).resize(8)
    table = pipeline.table(errors="return")
    assert len(table) == 2 and table[0]["width"] == 8
    assert table[1]["index"] == 1 and "InputEnded" in table[1]["error"] and "the list broke off" in table[1]["error"]
    assert [type(value).__name__ for value in pipeline.results(errors="return")] == ["Image", "InputEnded"]
    assert len(pipeline.table(errors="skip")) == len(pipeline.options(errors="skip").stack()) == 1
    for way in (pipeline.table, pipeline.results, pipeline.stack):
        with pytest.raises(tc.InputEnded, match="the list broke off"):
            way()


def test_iterating_treats_errors_as_the_options_say(cluster, folder):
    pipeline = cluster.images(b"no picture", folder / "a.jpg").resize(8)
    assert [image.width for image in pipeline.options(errors="skip")] == [8]
    assert isinstance(next(iter(pipeline.options(errors="return"))), tc.PictureUnknown)
    with pytest.raises(tc.PictureUnknown):
        next(iter(pipeline))


def test_folder_and_hash_of_what_came_from_an_iterator(cluster, folder, tmp_path):
    pipeline = cluster.images(iter([folder / "2024", photo(0).resize((9, 9))])).resize(8)
    pipeline.run().wait()
    table = pipeline.save(tmp_path, "{folder}/{index}.png")
    assert [Path(row["path"]).relative_to(tmp_path).as_posix() for row in table] == [
        "0.png",
        "1.png",
        "may/2.png",
        "may/3.png",
        "4.png",
    ]
    assert len({row["path"] for row in pipeline.save(tmp_path, "{hash}.png")}) == 5


def test_an_interrupted_save_goes_on(cluster, folder, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for n in range(40):
        coloured(root / f"{n:02d}.png", (n, n, n))
    pipeline = cluster.images(root).map(nap)
    threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(tc.Detached, match=r"ends it\.\nsave\(…\) again writes what isn't written yet\.$"):
        pipeline.save(tmp_path / "out")
    first = pipeline.job
    written = {path.name for path in (tmp_path / "out").glob("*.png")}
    coloured(root / "40.png", "red")
    table = pipeline.save(tmp_path / "out")
    assert {Path(row["path"]).name for row in table if not row["made"]} == written and len(table) == 41
    assert len([*(tmp_path / "out").glob("*.png")]) == 41 and len(first.errors()) == 0
    assert [n for n, found in enumerate(pipeline.job.results()) if not isinstance(found, Saved)] == [40]


def test_an_interrupted_save_that_can_t_be_compared_goes_on(cluster, tmp_path):
    root, secret = tmp_path / "in", Incomparable()
    root.mkdir()
    for n in range(20):
        coloured(root / f"{n:02d}.png", (n, n, n))
    pipeline = cluster.images(root).map(lambda image: (secret.shade, nap(image))[1])
    threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(tc.Detached):
        pipeline.save(tmp_path / "out")
    assert pipeline.save(tmp_path / "out").column("made") == [True] * 20
    assert len([*(tmp_path / "out").glob("*.png")]) == 20


def nap(image):
    time.sleep(0.05)
    return image


def test_many_saves_leave_nothing_open_in_the_slots(cluster, folder, tmp_path):
    def opened():
        return max(cluster.everywhere(lambda: len([*Path("/proc/self/fd").iterdir()]), once=True))

    def save(n):
        cluster.images(folder / "a.jpg", folder / "b.png").resize(8).save(tmp_path / str(n), where="workers")

    for n in range(4):
        save(n)
    before = opened()
    for n in range(4, 12):
        save(n)
    assert opened() <= before


def test_in_a_notebook_the_first_picture_is_near(cluster, folder, monkeypatch):
    """What draws takes a while to start: it does so while the pipeline is being typed."""
    prepared = []
    monkeypatch.setattr(views, "shell", object)
    monkeypatch.setattr(views, "backend", lambda: types.SimpleNamespace(prepare=lambda: prepared.append(1)))
    cluster.images(folder)
    assert prepared == [1]
    monkeypatch.setattr(views, "shell", lambda: None)
    cluster.images(folder)
    assert prepared == [1]
