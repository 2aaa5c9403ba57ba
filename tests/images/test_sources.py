"""Single sources: what can't be read or sent fails alone, what was touched is read afresh, and no pipe is waited for."""

import contextlib
import gzip
import io
import os
import socket
import tarfile
import tempfile
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.images.pictures import encoded, photo
from twistcluster import errors
from twistcluster.images import source as source_module
from twistcluster.images.listing import listed_there, packed_listing
from twistcluster.images.source import File, Given, Member, Unfit, proof_of
from twistcluster.images.sources import Options, Sources
from twistcluster.images.stamps import facts_stamp


def sources(*given, **options):
    return Sources(given, Options(**options), lambda _: iter([]))


def listed(*given, **options):
    return [item.source for item in sources(*given, **options).items()]


def cut_image():
    return Image.open(io.BytesIO(encoded(photo(0))[:2000]))


@pytest.mark.parametrize("form", [list, iter])
def test_an_image_that_was_cut_off_fails_alone(form):
    first, cut, last = listed(form([b"a", cut_image(), b"b"]))
    assert (first, last) == (Given(b"a"), Given(b"b"))
    assert isinstance(cut, Unfit) and isinstance(cut.error, errors.PictureDamaged)
    held = sources([cut_image()])
    assert all(isinstance(item.source, Unfit) for _ in range(2) for item in held.items())


def test_images_are_read_when_they_are_listed(tmp_path):
    photo(0).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        (item,) = listed(image)
    assert item.value.getpixel((0, 0)) == photo(0).getpixel((0, 0)) and item.stamp()


def test_an_image_with_what_can_t_be_sent_beside_it_fails_alone():
    fine, wrong = photo(0).copy(), photo(0).copy()
    fine.info["by"] = {"who": lambda: "me"}
    wrong.info["lock"] = threading.Lock()
    first, second = listed([fine, wrong])
    assert first.value is fine and "info['lock'] is a _thread.lock" in str(second.error)
    assert "delete that" in str(second.error)


@pytest.mark.parametrize("form", [list, iter])
def test_an_array_of_objects_fails_alone(form):
    objects = np.array([[object()]])
    found = listed(form([b"a", objects, np.full((2, 2, 2, 3), None)]))
    assert [type(each) for each in found] == [Given, Unfit, Unfit, Unfit]
    assert all(isinstance(each.error, errors.PictureUnknown) for each in found[1:])
    with pytest.raises(errors.PictureUnknown, match="give numbers"):
        Given(objects).stamp()


def test_open_files_are_one_picture_each(tmp_path):
    (tmp_path / "a.png").write_bytes(b"line\nline")
    written = io.BytesIO()
    written.write(b"of\nmemory")
    with (tmp_path / "a.png").open("rb") as file, tempfile.TemporaryFile() as temporary:
        temporary.write(b"x\ny")
        given = sources(written, [file, temporary])
        late = listed(iter([file, written]))
    assert given.held == 3
    for _ in range(2):  # the files are closed
        assert [item.source.value for item in given.items()] == [b"of\nmemory", b"line\nline", b"x\ny"]
    assert given.named(str(tmp_path / "a.png"), 0).name
    assert [each.value for each in late] == [b"line\nline", b"of\nmemory"]


def test_an_open_file_that_gives_no_bytes(tmp_path):
    (tmp_path / "a.png").write_text("x")
    closed = io.BytesIO(b"x")
    closed.close()
    with (tmp_path / "a.png").open() as text:
        found = listed(text, closed)
    assert "open it with 'rb'" in str(found[0].error) and "open it again" in str(found[1].error)


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path / "pipe.png"


@pytest.mark.timeout(20)
def test_a_pipe_or_socket_isn_t_opened(tmp_path, pipe, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        for path in (str(pipe), "socket.png", "/dev/zero"):
            (wrong,) = listed(path)
            assert "no file but a pipe, a socket or a device" in str(wrong.error)
            with pytest.raises(errors.PictureUnreadable, match="a pipe"):
                File(path).opened_here()
    (tmp_path / "a.png").touch()
    was = File(str(pipe), proof_of(str(tmp_path / "a.png")))
    with pytest.raises(errors.PictureElsewhere):
        was.opened_here()
    with pytest.raises(errors.PictureUnreadable, match="a pipe"):
        was.sent()
    pipe.rename(tmp_path / "pipe.zip")
    assert "a pipe" in str(listed(tmp_path / "pipe.zip")[0].error)


def test_a_path_that_no_file_can_have():
    for path in ("a\0.png", "\ud800.png", "a\0*.png"):
        (wrong,) = listed(iter([path]))
        assert isinstance(wrong.error, errors.PictureUnreadable)


def test_what_can_t_be_read_says_what_to_do(tmp_path):
    gone = File(str(tmp_path / "a.png"))
    for call in (gone.opened_here, gone.sent):
        with pytest.raises(errors.PictureUnreadable, match="No such file or directory; check the path"):
            call()
    (tmp_path / "bad.zip").write_bytes(b"nothing")
    assert "fetch or copy the archive again" in str(listed(tmp_path / "bad.zip")[0].error)


def test_a_folder_of_the_workers_without_its_slash(tmp_path):
    with pytest.raises(errors.PictureUnreadable, match='it is a folder; if its pictures are meant, .* "/" at its end'):
        File(str(tmp_path)).opened_here()


def test_a_path_of_the_workers_has_the_stamp_of_the_file_that_is_seen(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"one")
    one, member = File(str(path)), Member(File(str(path)), "a")
    first = one.stamp(), member.stamp(), Member(one, "b").stamp()
    assert first == (one.stamp(), member.stamp(), Member(one, "b").stamp()) and len(set(first)) == 3
    path.write_bytes(b"other")
    assert not {one.stamp(), member.stamp()} & set(first)
    path.unlink()
    for gone in (one, member):
        with pytest.raises(errors.PictureUnreadable, match=r"a\.zip can't be read"):
            gone.stamp()


def archives(folder, names=("a.png", "b.png")):
    """A zip and a tar of members that hold their names."""
    with zipfile.ZipFile(folder / "all.zip", "w") as made:
        for name in names:
            made.writestr(name, name)
    with tarfile.open(folder / "all.tar", "w") as made:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            made.addfile(info, io.BytesIO(name.encode()))
    return [folder / "all.zip", folder / "all.tar"]


def test_an_archive_that_was_touched_is_read_afresh(tmp_path):
    for path in archives(tmp_path):
        members = listed(path)
        os.utime(path, ns=(1, 1))
        with pytest.raises(errors.PictureElsewhere):
            members[0].opened_here()
        assert [each.sent().value for each in members] == [b"a.png", b"b.png"]


def test_an_archive_that_was_written_anew(tmp_path):
    _, tar = archives(tmp_path)
    members = listed(tar)
    archives(tmp_path, ("b.png", "a.png"))
    os.utime(tar, ns=(1, 1))
    with pytest.raises(errors.PictureUnreadable, match="written anew: run this again"):
        members[0].sent()
    tar.unlink()
    with pytest.raises(errors.PictureUnreadable, match="check the path"):
        members[0].sent()


@pytest.mark.parametrize("packed", ["", ":gz"])
@pytest.mark.parametrize("size", [512, 1024, 1024 + 300, 1024 + 512, 2048])
def test_a_tar_that_was_cut_off_says_so_after_what_is_good(tmp_path, size, packed):
    _, tar = archives(tmp_path)
    data = tar.read_bytes()[:size]
    if packed:
        data = gzip.compress(data)
    tar.write_bytes(data)
    *good, last = listed(tar)
    assert isinstance(last, Unfit) and "fetch or copy the archive again" in str(last.error)
    assert [each.inner if isinstance(each, Member) else each.value.decode() for each in good] == ["a.png", "b.png"][
        : len(good)
    ]
    assert len(good) == (2 if size >= 1536 + (512 if packed else 0) else 1 if not packed or size > 512 else 0)


def test_a_tar_with_garbage_behind_a_member(tmp_path):
    _, tar = archives(tmp_path)
    data = bytearray(tar.read_bytes())
    data[1024:1536] = b"x" * 512
    tar.write_bytes(data)
    good, last = listed(tar)
    assert good.inner == "a.png" and isinstance(last, Unfit)


def test_several_threads_read_several_archives(tmp_path, monkeypatch):
    """One at `getinfo`, while another has its own archive read."""
    members = []
    for name in "ab":
        (tmp_path / name).mkdir()
        members += listed(archives(tmp_path / name)[0])[:1]
    reached, go_on, getinfo = threading.Event(), threading.Event(), zipfile.ZipFile.getinfo

    def slow(archive, name):
        if threading.current_thread() is not threading.main_thread():
            reached.set()
            go_on.wait(10)
        return getinfo(archive, name)

    monkeypatch.setattr(zipfile.ZipFile, "getinfo", slow)
    found = []
    thread = threading.Thread(target=lambda: found.append(members[0].opened_here()))
    thread.start()
    assert reached.wait(10)
    try:
        assert members[1].opened_here() == b"a.png"
    finally:
        go_on.set()
        thread.join()
        source_module._zips.clear()
    assert found == [b"a.png"]


def test_members_of_one_name_are_two_pictures(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("a.png", b"two")
    here = listed(path)
    there = [listed_there(str(path), *told) for told in told_of(path)]
    for found in (here, there):
        assert [one.opened_here() for one in found] == [b"one", b"two"] and found[0].stamp() != found[1].stamp()
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("b.png", b"first")
        made.writestr("a.png", b"anew")
    assert here[1].sent().value == b"anew"


def test_members_of_other_names_have_the_stamps_that_they_always_had(tmp_path):
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        path = tmp_path / name
        with archive_writer(path) as add:
            add("x/a.png", b"one")
            add("b.png", b"two")
        proof = path.stat()
        stamps = [facts_stamp(f"{path}/{inner}", proof.st_size, proof.st_mtime_ns) for inner in ("x/a.png", "b.png")]
        assert [one.stamp() for one in listed(path)] == stamps
        if name != "a.tar.gz":
            theirs = [listed_there(str(path), *told) for told in told_of(path)]
            assert [one.stamp() for one in theirs] == [
                File(str(path)).stamp() + inner for inner in (b"x/a.png", b"b.png")
            ]


@pytest.mark.parametrize("name", ["twice.tar", "twice.tar.gz"])
def test_members_of_one_name_in_a_tar_have_stamps_of_their_own(tmp_path, name):
    path = tmp_path / name
    with archive_writer(path) as add:
        for content in (b"one", b"two", b"three"):
            add("a.png", content)
    found = [listed(path)]
    if name == "twice.tar":
        found.append([listed_there(str(path), *told) for told in told_of(path)])
    for members in found:
        assert [one.opened_here() for one in members] == [b"one", b"two", b"three"]
        assert len({one.stamp() for one in members}) == 3


@contextlib.contextmanager
def archive_writer(path):
    """A function that adds a member of a name and content to a new archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as made:
            yield made.writestr
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as made:

        def add(name, content):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))

        yield add


def told_of(path):
    """What a worker tells of an archive on its disk."""
    told = (one.partition("\1") for one in packed_listing(str(path)).decode().split("\0")[:-1])
    return [(facts, text) for facts, _, text in told]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_in_a_tar_are_what_they_lead_to(tmp_path, mode):
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "data").write_bytes(b"the picture")
    (tree / "a.png").write_bytes(b"another")
    os.link(tree / "a.png", tree / "hard.png")
    for link, target in {
        "b.png": "data", "deep/c.png": "../b.png", "deep/d.png": "./../deep/e", "deep/e": "../a.png", "f.txt": "a.png",
        "out.png": "/etc/passwd", "up.png": "../../x.png", "gone.png": "none.png", "round.png": "round.png",
    }.items():  # fmt: skip
        os.symlink(target, tree / link)
    path = tmp_path / ("links.tar" if mode == "w" else "links.tar.gz")
    with tarfile.open(path, mode) as made:
        made.add(tree, ".")
    found = {one.name.removeprefix(f"{path}/"): one for one in listed(path)}
    good = {name.removeprefix("./"): one.opened_here() for name, one in found.items() if not isinstance(one, Unfit)}
    assert good == {
        "a.png": b"another", "hard.png": b"another", "b.png": b"the picture", "deep/c.png": b"the picture",
        "deep/d.png": b"another",
    }  # fmt: skip
    assert len({one.stamp() for one in found.values() if not isinstance(one, Unfit)}) == 5
    bad = {name.removeprefix("./"): str(one.error) for name, one in found.items() if isinstance(one, Unfit)}
    assert sorted(bad) == ["gone.png", "out.png", "round.png", "up.png"]
    assert "out.png is a link to /etc/passwd, which is no file of the archive: pack what it leads to" in bad["out.png"]
    if mode == "w":
        theirs = [listed_there(str(path), *told) for told in told_of(path)]
        assert sorted(one.opened_here() for one in theirs if not isinstance(one, Unfit)) == sorted(good.values())
