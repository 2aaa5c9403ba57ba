"""What files are taken for, by the ends of their names: pictures of a folder or an archive, and archives.

Owns: these names. Must not know: what is in files.
"""

from typing import Final

__all__ = ["ENDINGS", "TARS", "ZIPS", "is_archive", "is_inner_picture", "is_picture"]

ENDINGS: Final = frozenset(
    [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "apng",
        "gif",
        "webp",
        "avif",
        "avifs",
        "tif",
        "tiff",
        "bmp",
        "dib",
        "ico",
        "icns",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "pfm",
        "jp2",
        "j2k",
        "jpx",
        "tga",
        "dds",
        "psd",
        "pcx",
        "sgi",
        "rgb",
        "qoi",
        "mpo",
        "heic",
        "heif",
        "jxl",
    ]  # those that this Pillow can't read fail, with what to do
)
"""Files of a folder or an archive that are taken for pictures."""
ZIPS: Final = (".zip", ".cbz")
TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_picture(name: str) -> bool:
    """Whether a file of a folder is taken for a picture, by its ending; hidden ones never are."""
    return name.rpartition(".")[2].lower() in ENDINGS and not name.startswith(".")


def is_archive(path: str) -> bool:
    """Whether a file is taken for an archive of pictures."""
    return path.lower().endswith((*ZIPS, *TARS))


def is_inner_picture(name: str) -> bool:
    """Whether a member of an archive is taken for a picture."""
    return is_picture(name.rpartition("/")[2]) and not name.startswith("__MACOSX/") and "\0" not in name
