"""What a file's first bytes say it is, and what to do about a kind that Pillow can't read.

Owns: the signatures. A name's ending is never looked at: content decides. Must not know: Pillow's decoders.
"""

from typing import Final

__all__ = ["HEAD_BYTES", "SHRINKABLE", "advice", "kind_of"]

HEAD_BYTES: Final = 512
"""As many bytes of a file tell its kind."""

SHRINKABLE: Final = frozenset({"JPEG", "MPO"})
"""The formats that Pillow decodes at 1/2, 1/4 or 1/8 of their size at less cost (`Image.draft`)."""

_STARTS: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1aE\xdf\xa3", "video"),
)

_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
}
"""Of files in boxes (ISO/IEC 14496-12), by their major brand; any other is taken for a video."""

_ADVICE: Final = {
    "HEIC": "install pillow-heif on the workers and call pillow_heif.register_heif_opener() in cluster.everywhere(…)",
    "JPEG XL": "install pillow-jxl-plugin on the workers and import it in cluster.everywhere(…)",
    "AVIF": "this Pillow was built without AVIF: install Pillow 11.3 or newer from its wheels",
    "WEBP": "this Pillow was built without WebP: install Pillow from its wheels",
    "JPEG2000": "this Pillow was built without OpenJPEG: install Pillow from its wheels",
    "TIFF": "its header breaks off, or its pixels lie as Pillow can't read them (16-bit colour, for example): "
    "convert it to PNG first, or read it with tifffile and give the array",
    "SVG": "a drawing, not a picture of pixels: render it first (with cairosvg, for example)",
    "PDF": "a document: render its pages first (with pypdfium2, for example)",
    "EPS": "a program for Ghostscript, which is not run here: convert it to PNG first",
    "ZIP": "an archive: name the archive as the source, not as a picture",
    "HTML": "a web page, perhaps an error page that was saved instead of the picture: fetch it again",
    "video": "a video: cut single frames out first (with ffmpeg, for example)",
}


def kind_of(head: bytes) -> str | None:
    r"""The name of the format that begins with `head` (`HEAD_BYTES` of a file, or all of it), None if unknown.

    Names are Pillow's where Pillow has one.

    >>> kind_of(b"\xff\xd8\xff\xe0 and so on"), kind_of(b"<html>"), kind_of(b"hello")
    ('JPEG', 'HTML', None)
    """
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "SVG"
    return "HTML" if text.startswith((b"<!doctype html", b"<html")) else None


def advice(kind: str | None) -> str:
    """What to do about a file of `kind` that no decoder took.

    >>> advice("SVG")
    'it is SVG: a drawing, not a picture of pixels: render it first (with cairosvg, for example)'
    """
    if kind is None:
        return "its first bytes are those of no known picture; leave it out, or convert it to PNG first"
    return f"it is {kind}: {_ADVICE.get(kind, 'this Pillow has no decoder for it; convert it to PNG first')}"
