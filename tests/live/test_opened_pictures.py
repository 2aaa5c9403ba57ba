"""What a click on a gallery's tile opens: that picture, or why it can't be opened."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

import twistcluster as tc
from twistcluster.client import views
from twistcluster.jupyter.pictures import thumbnail


@pytest.fixture(scope="module")
def cluster():
    with tc.Cluster(slots=1) as cluster:
        yield cluster


@pytest.fixture
def opened(monkeypatch):
    """Opens the picture of a tile."""

    class Galleries:
        def gallery(self, feed, wait):
            self.feed = feed

    backend = Galleries()
    monkeypatch.setattr(views, "backend", lambda: backend)

    def feed_of(pipeline):
        pipeline.gallery()
        backend.feed.wait()
        return lambda index: Image.open(io.BytesIO(backend.feed.full(index)[1]))

    return feed_of


def png(path, shade):
    Image.new("L", (30 + shade, 20), shade).save(path)


def test_a_tile_opens_its_own_file_whatever_became_of_others(cluster, opened, tmp_path):
    for shade in range(4):
        png(tmp_path / f"{shade}.png", shade)
    array = np.zeros((9, 77), "u1")
    pipeline = cluster.images(str(tmp_path), array).recognize(tc.models.digits)
    full = opened(pipeline)
    assert [full(index).width for index in range(5)] == [30, 31, 32, 33, 77]
    (tmp_path / "0.png").unlink()
    png(tmp_path / "2.png", 90)
    png(tmp_path / "new.png", 50)
    assert [full(index).width for index in (1, 3, 4)] == [31, 33, 77]
    with pytest.raises(tc.PictureError, match=r"0\.png can't be read: No such file"):
        full(0)
    with pytest.raises(tc.PictureError, match=r"2\.png changed since this job took it: run the pipeline again"):
        full(2)
    pipeline.run().wait()  # the gallery shows the job that it was opened for
    assert full(1).width == 31


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz"])
def test_a_tile_of_an_archive_that_was_written_anew(cluster, opened, tmp_path, name):
    def write(*shades):
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for shade in shades:
                png(tmp_path / f"{shade}.png", shade)
                archive.add(tmp_path / f"{shade}.png", f"{shade}.png")

    write(1, 2)
    full = opened(cluster.images(tmp_path / name).recognize(tc.models.digits))
    assert [full(index).width for index in range(2)] == [31, 32]
    write(2, 1, 3)
    with pytest.raises(tc.PictureError, match=r"1\.png changed since this job took it"):
        full(0)


def test_all_frames_open_as_an_animation_and_pages_as_their_first(cluster, opened):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    animation, pages = io.BytesIO(), io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:], duration=80)
    frames[0].save(pages, "TIFF", save_all=True, append_images=frames[1:])
    pipeline = cluster.images([animation.getvalue(), pages.getvalue()], frames="all").resize((40, 20))
    full = opened(pipeline)
    shown = full(0)
    assert (shown.format, shown.n_frames, shown.size) == ("WEBP", 3, (40, 20))
    shown.seek(1)
    assert shown.convert("RGB").getpixel((5, 5))[2] > 240
    assert full(1).size == (40, 20) and full(1).format == "JPEG"
    with pytest.raises(tc.PictureError, match="leave out frames='all', or take results"):
        pipeline.stack()


@pytest.mark.parametrize("kind", ["f4", "i4", "u2", "f8", "dark"])
def test_a_deep_picture_opens_as_its_tile_looks(cluster, opened, kind):
    unit = np.mgrid[0:60, 0:80][1] / 79
    array = {"f4": unit.astype("f4"), "i4": (unit * 10**6).astype("i4"), "u2": (unit * 65535).astype("u2"),
             "f8": unit * 255, "dark": (unit * 900).astype("u2")}[kind]  # fmt: skip
    pipeline = cluster.images(array)
    full = opened(pipeline)(0)
    tile = thumbnail(pipeline.results()[0], (80, 60)).image
    assert full.size == tile.size == (80, 60)
    assert np.abs(np.asarray(full.convert("L"), "f4") - np.asarray(tile.convert("L"), "f4")).max() < 12
    assert full.convert("L").getextrema()[0] < 12 and full.convert("L").getextrema()[1] > 243
