"""Names of files from patterns and folders: as `glob` finds them, one by one, in any number."""

import concurrent.futures
import errno
import functools
import glob
import io
import itertools
import os
import shutil
import tarfile
import tracemalloc
import zipfile

import pytest

from twistcluster import errors
from twistcluster.images import listing, run
from twistcluster.images.listed import Listed
from twistcluster.images.listing import in_folder, matching, packed_listing
from twistcluster.images.source import File, Given, Item, Proof, Unfit
from twistcluster.images.sources import Options, Sources

FILES = ["a.jpg", "b.PNG", "c.txt", "x/d.jpg", "x/y/e.jpg", "x/y/f.gif", "x/.h/g.jpg", ".i.jpg", "x[1]/j.jpg", "z/k"]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shut(monkeypatch):
    """Takes away the right to look into a folder, from whoever runs the tests."""
    closed, scandir, look = [], os.scandir, os.stat

    def scandir_of(path="."):
        if os.path.abspath(path) in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    def stat_of(path, **options):
        if os.path.dirname(os.path.abspath(path)) in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return look(path, **options)

    monkeypatch.setattr(os, "scandir", scandir_of)
    monkeypatch.setattr(os, "stat", stat_of)
    return lambda folder: closed.append(str(folder))


def sources(*given, **options):
    return Sources(given, Options(**options), lambda path: iter([("f4", f"deep//there/{path}")]))


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.jpg", "**/*.jpg", "x/*", "x/**", "**", "**/y/*", "*/y/*.gif", "?.*", "[ab].*", "x/*/e.jpg", "x[[]1]/*",
     "**/**/*.jpg", "**/e.jpg", "z/*", ".*", "none/*"],
)  # fmt: skip
def test_as_glob_finds_them(tree, pattern):
    wanted = sorted({path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)})
    assert sorted(path for path, _ in matching(pattern)) == wanted
    whole = os.path.join(tree, pattern)
    assert sorted(path for path, _ in matching(whole)) == [os.path.join(tree, path) for path in wanted]


@pytest.mark.parametrize("pattern", ["root/**/*.jpg", "root/**", "root/**/y/*", "r*/**/e.jpg", "**/linked/**/*.jpg"])
def test_linked_folders_are_followed_as_glob_does(tree, pattern):
    (tree / "root" / "deep").mkdir(parents=True)
    os.symlink(tree / "x", tree / "root" / "linked")
    os.symlink("../linked/y", tree / "root" / "deep" / "again")
    os.symlink("nowhere", tree / "root" / "lost")
    wanted = sorted({path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)})
    assert wanted
    assert sorted({path for path, _ in matching(pattern) if os.path.isfile(path)}) == wanted
    assert [path for path, _ in in_folder("root")] == [
        "root/deep/again/e.jpg", "root/deep/again/f.gif", "root/linked/d.jpg",
    ]  # fmt: skip


def test_folders_are_relative_to_where_the_pattern_begins(tree):
    assert dict(matching("x/**/*.jpg")) == {"x/d.jpg": "", "x/y/e.jpg": "y"}
    assert [folder for _, folder in in_folder(str(tree))] == ["", "", "x", "x/y", "x/y", "x[1]"]


def test_links_that_go_in_circles(tree):
    os.symlink(tree, tree / "x" / "around")
    os.symlink("../y", tree / "x" / "y" / "here")
    assert len(list(matching("**/*.jpg"))) == 4
    assert len(list(in_folder(str(tree)))) == 6
    assert len(list(in_folder("x/around"))) == 6
    # From below the link leads to what lies above, once.
    assert sum(path.endswith("e.jpg") for path, _ in matching("x/**/*.jpg")) == 1
    assert sum(path.endswith("a.jpg") for path, _ in matching("x/**/*.jpg")) == 1


def test_folders_whose_links_all_lead_to_each_other(tree):
    names = [f"d{number}" for number in range(8)]
    for name in names:
        (tree / "all" / name).mkdir(parents=True)
        (tree / "all" / name / "a.jpg").touch()
        for other in names:
            os.symlink(f"../{other}", tree / "all" / name / f"to-{other}")
    assert [path for path, _ in in_folder("all")] == [f"all/{name}/a.jpg" for name in names]
    assert len({os.path.realpath(path) for path, _ in in_folder("all/d3")}) == len(list(in_folder("all/d3"))) == 8
    for pattern in ("all/**/*.jpg", "all/**", "all/**/a.jpg"):
        found = [path for path, _ in matching(pattern)]
        assert len(set(found)) == len(found) <= 8 + 8 * 7 + 8
        assert {f"all/{one}/a.jpg" for one in names} < set(found)
        assert {f"all/{one}/to-{other}/a.jpg" for one in names for other in names if one != other} < set(found)


def test_a_linked_folder_is_listed_once_and_as_itself_where_it_can_be(tree):
    (tree / "r" / "in").mkdir(parents=True)
    (tree / "r" / ".hidden" / "deep").mkdir(parents=True)
    for file in ("r/a.jpg", "r/in/b.jpg", "r/.hidden/deep/c.jpg"):
        (tree / file).touch()
    for link, target in {
        "album": "in",
        "best": "in",
        "c": ".hidden/deep",
        "d": ".hidden",
        "o1": "../x",
        "o2": "../x",
    }.items():
        os.symlink(target, tree / "r" / link)
    os.symlink("..", tree / "r" / "up")
    found = list(in_folder("r"))
    assert found[:5] == [
        ("r/a.jpg", ""), ("r/c/c.jpg", "c"), ("r/in/b.jpg", "in"), ("r/o1/d.jpg", "o1"), ("r/o1/y/e.jpg", "o1/y"),
    ]  # fmt: skip
    assert all(path.startswith(("r/o1/", "r/up/")) for path, _ in found[5:])
    assert len({os.path.realpath(path) for path, _ in found}) == len(found)


def test_a_large_folder_isn_t_sorted(tree, monkeypatch):
    monkeypatch.setattr(listing, "SORTED_UP_TO", 3)
    for n in range(20):
        (tree / "z" / f"{n}.jpg").touch()
    assert sorted(path for path, _ in in_folder(str(tree / "z"))) == sorted(
        str(tree / "z" / f"{n}.jpg") for n in range(20)
    )


def test_a_folder_that_can_t_be_read_has_nothing(tree):
    assert list(in_folder(str(tree / "gone"))) == []
    with pytest.raises(errors.PictureUnreadable, match="no picture matches"):
        packed_listing(str(tree / "gone" / "*"))


SHUT_PATTERNS = ["{}", "{}/**/*.jpg", "{}/*/*.jpg", "{}/**/d.jpg", "{}/**", "{}/*/d.jpg"]


@pytest.mark.parametrize("pattern", SHUT_PATTERNS)
def test_a_folder_in_it_that_can_t_be_read_is_one_error(tree, shut, pattern):
    shut(tree / "x")
    found = [item.source for item in sources(pattern.format(tree)).items()]
    (wrong,) = [source for source in found if isinstance(source, Unfit)]
    assert wrong.name.startswith(str(tree / "x")) and "Permission denied; give this user" in str(wrong.error)


def test_a_folder_given_that_can_t_be_read(tree, shut):
    shut(tree / "x")
    for each in (tree / "x", f"{tree}/x/*.jpg"):
        with pytest.raises(errors.PictureUnreadable, match="x can't be read: Permission denied; give this user"):
            sources(each)
    (item,) = sources(iter([tree / "x"])).items()
    assert "Permission denied" in str(item.source.error)


def test_what_gives_nothing_later_is_an_error_in_its_place(tree):
    (item,) = sources(iter(["/none/*.jpg"])).items()
    assert "no file matches" in str(item.source.error)
    pipeline = sources(b"a", tree / "x", f"{tree}/x/*.jpg", b"b")
    shutil.rmtree(tree / "x")
    (tree / "x").mkdir()
    _, folder, pattern, _ = pipeline.items()
    assert "has no pictures" in str(folder.source.error) and "no file matches" in str(pattern.source.error)


@pytest.fixture
def there(tree):
    """Sources of paths as a worker's, which here is this process."""

    class Link:
        opener = None

        def submit(self, function, arguments, _):
            made = concurrent.futures.Future()
            try:
                made.set_result(function(*arguments))
            except errors.PictureError as error:
                made.set_exception(error)
            return made

    link = Link()
    link.opener = link

    def listed(*given):
        found = Sources(given, Options("workers"), functools.partial(run.there, lambda: link))
        return [item.source for item in found.items()]

    return listed


def test_a_worker_s_names_of_any_bytes(tree, there):
    odd = os.fsdecode(b"a\1b\n\xff.jpg")
    (tree / "x" / "\1\xe9").mkdir()
    for path in (tree / "x" / odd, tree / "x" / "\1\xe9" / odd):
        path.touch()
    found = there(f"{tree}/x/**/*.jpg")
    assert sorted(found) == sorted(File(path, None, folder) for path, folder in matching(f"{tree}/x/**/*.jpg"))
    assert File(f"{tree}/x/\1\xe9/{odd}", None, "\1\xe9") in found


def test_a_worker_s_file_whose_name_looks_like_a_pattern(tree, there):
    (tree / "a[1].png").touch()
    assert there("a[1].png") == [File("a[1].png")]
    (none,) = there("b[1].png")
    assert "no picture matches" in str(none.error)


def test_a_worker_s_archives(tree, there):
    with zipfile.ZipFile("a.zip", "w") as made:
        made.writestr("x/a.png", b"one")
    for ending, mode in (("tar", "w"), ("tgz", "w:gz")):
        with tarfile.open(f"a.{ending}", mode) as made:
            info = tarfile.TarInfo("x/b.png")
            info.size = 3
            made.addfile(info, io.BytesIO(b"two"))
    zipped, tar, packed, gone = there("a.zip", "a.tar", "a.tgz", "b.zip")
    assert (zipped.opened_here(), tar.opened_here()) == (b"one", b"two")
    assert zipped.folder == tar.folder == "x" and zipped.sent() is zipped
    assert "unpack it there" in str(packed.error) and packed.name == "a.tgz"
    assert "b.zip can't be read: No such file" in str(gone.error)


def test_a_worker_s_folder_that_can_t_be_read(tree, there, shut):
    shut(tree / "x")
    (wrong,) = [source for source in there(f"{tree}/") if source.path == f"{tree}/x"]
    with pytest.raises(errors.PictureUnreadable, match="Permission denied; give this user"):
        wrong.opened_here()


def test_what_was_listed_is_kept_in_blocks():
    listed = Listed()
    proof = Proof(1, 2, 3, 4)
    tracemalloc.start()
    for n in range(50_000):
        listed.add(Item(n, File(f"/photos/{n:012}.jpg", proof, "a" if n % 2 else "b")))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert listed.name(12_345) == "/photos/000000012345.jpg" and len(listed) == 50_000
    assert listed.folder(12_345) == "a" and len(listed.stamp(12_345)) == 16
    assert kept < 50_000 * 96  # the names take 24, the stamps 16, numbers 25; a str alone takes 70


def test_names_of_any_bytes():
    listed = Listed()
    listed.add(Item(0, File(os.fsdecode(b"/\xff\xfe.jpg"), Proof(1, 2, 3, 4))))
    listed.add(Item(1, Unfit("\ud800.jpg", errors.PictureUnreadable("no file has such a name"))))
    assert os.fsencode(listed.name(0)) == b"/\xff\xfe.jpg" and "d800" in listed.name(1) and listed.name(2) == ""


def test_what_was_listed_is_known_again_with_its_bytes(tree):
    listed = Listed()
    (tree / "a.jpg").write_bytes(b"one")
    for item in sources("a.jpg", b"two").items():
        listed.add(item)
    again = listed.sent(0)
    assert again.value == b"one" and again.stamp() == listed.stamp(0)
    with pytest.raises(LookupError):
        listed.sent(1)
    (tree / "a.jpg").unlink()
    with pytest.raises(errors.PictureUnreadable):
        listed.sent(0)


def test_sources_are_listed_one_by_one():
    pulled = itertools.count()
    listed = sources(f"/none/{next(pulled)}.jpg" for _ in range(10**9)).items()
    first = [next(listed) for _ in range(3)]
    assert [item.number for item in first] == [0, 1, 2] and next(pulled) == 3
    assert all(isinstance(item.source, Unfit) for item in first)


def test_items_are_what_was_given(tree):
    listed = [*sources("a.jpg", [b"bytes"], tree / "x").items()]
    assert [type(item.source) for item in listed] == [File, Given, File, File, File]
    assert listed[0].source.path == str(tree / "a.jpg") and listed[0].source.proof.size == 0
    assert [item.source.folder for item in listed[2:]] == ["", "y", "y"]
    assert listed[1].name == "picture 1"


def test_a_file_is_opened_where_it_is_the_same(tree):
    (item,) = sources("a.jpg").items()
    assert item.source.opened_here() == str(tree / "a.jpg")
    (tree / "a.jpg").write_bytes(b"other")
    with pytest.raises(errors.PictureElsewhere, match="where='workers'"):
        item.source.opened_here()
    assert item.source.sent().value == b"other"
    (tree / "a.jpg").unlink()
    with pytest.raises(errors.PictureUnreadable):
        item.source.sent()


def test_paths_of_the_workers_are_not_looked_at(tree):
    listed = [*sources("a.jpg", "/there/*.jpg", "/folder/", where="workers").items()]
    assert listed == [
        Item(0, File("a.jpg")),
        Item(1, File("/there//there/*.jpg", None, "deep")),
        Item(2, File("/there//folder/", None, "deep")),
    ]


def test_how_many_are_held():
    import numpy as np

    assert sources(b"a", [b"b", np.zeros((3, 4, 4, 3), "u1")]).held == 5
    assert sources(b"a", "b.jpg").held is None
    assert sources(iter([b"a"])).held is None


def test_one_of_them_again(tree):
    every = sources("a.jpg", tree / "x", b"c")
    assert [every.named(item.source.name, 0) for item in every.items()] == [item.source for item in every.items()]
    assert sources(b"a", "a.jpg", b"b").named("", 1) == Given(b"b")
    with pytest.raises(errors.PictureUnreadable, match="this picture isn't there any more"):
        sources(b"a", "a.jpg", b"b").named("", 2)
    with pytest.raises(ValueError, match="iterator"):
        sources(iter([b"a"])).named("", 0)
