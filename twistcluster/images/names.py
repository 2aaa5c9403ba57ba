"""What a saved picture is called: patterns with fields, of which no value can lead out of the folder.

Owns: patterns, and which characters a name may have. Must not know: the disk (`saving` looks for links there).
"""

import hashlib
import os
import string
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from twistcluster.errors import PictureNameRefused
from twistcluster.images.encoding import FORMATS

__all__ = ["FIELDS", "RECORDS", "Pattern"]

FIELDS: Final = ("stem", "name", "folder", "ext", "index", "hash")
"""What may stand in braces."""

RECORDS: Final = ".twistcluster"
"""The folder inside of a target folder where `saving` keeps its records: no picture's."""

_LONGEST: Final = 180
"""Bytes of a value; longer ones are cut, and told apart by a digest. Linux takes 255 for each part of a path."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern for names, such as "{folder}/{stem}-{index:04d}.{ext}".

    - stem, name: the source's name without and with its ending ("picture-12" for one without a name);
    - folder: the source's folder, as the source of pictures gives it, relative;
    - ext: the format's ending; it is appended where the pattern ends with no known one;
    - index: the picture's number in its pipeline, from 0;
    - hash: 32 digits that stand for the source, the steps and the options: other for each.

    In a value, separators and control characters become "_", and so does a "." at its beginning.

    >>> Pattern("{stem}").path("png", source="../../etc/passwd.jpg", index=3)
    'passwd.png'
    >>> Pattern("{folder}/{stem}-{index:03d}").path("webp", source="a.jpg", folder="../x", index=3)
    '_./x/a-003.webp'

    Raises:
        PictureNameRefused: An unknown field, an absolute path, "..", or an ending of another format.
    """

    pattern: str = "{stem}.{ext}"

    def __post_init__(self) -> None:
        try:
            parts = list(string.Formatter().parse(self.pattern))
        except (TypeError, ValueError) as error:
            raise self._refused(f"it can't be read ({error})") from None
        for _, field, spec, conversion in parts:
            if field is not None and (field not in FIELDS or conversion or "{" in (spec or "")):
                raise self._refused(f"{{{field}}} is no field; there are {', '.join(FIELDS)}")
            if spec and field != "index":
                raise self._refused(f"{{{field}:{spec}}}: only the index takes a format, such as {{index:04d}}")
        literal = "".join(text for text, *_ in parts)
        if self.pattern.startswith("/") or ".." in self.pattern.split("/") or not literal.isprintable():
            raise self._refused("it must stay in the folder: no / at its beginning, no .., no control characters")
        if self.pattern.endswith("/") or not self.pattern:
            raise self._refused("it must end with a name")
        if self.pattern.split("/")[0] == RECORDS:
            raise self._refused(f"{RECORDS} is where the records are kept")
        try:
            least = self.pattern.format(stem="_", name="_", folder="_", ext="_", index=0, hash="_")
        except ValueError as error:
            raise self._refused(str(error)) from None
        self._check_parts(least.split("/"))

    def check(self, format: str, *, compared: bool = True) -> None:  # noqa: A002
        """Whether pictures of a format can have names by this pattern: what is wrong with all of them is said at once.

        Args:
            format: One of `FORMATS`.
            compared: Whether the steps can be told from others: without, no picture has a {hash}.

        Raises:
            PictureNameRefused: The ending is another format's, or there is no {hash}.
        """
        ending = self.format
        if ending is not None and FORMATS[ending] is not FORMATS[format]:
            raise self._refused(f"it ends with .{ending}, but the format is {format}; write {{ext}}")
        if not compared and self._has_hash:
            raise self._refused(
                "there is no {hash}, because a function of yours, or a value that it uses, can't be compared; "
                "take {index}"
            )

    @property
    def format(self) -> str | None:
        """The format that it ends with; None if it ends with {ext}, or with none."""
        ending = PurePosixPath(self.pattern).suffix.removeprefix(".").lower()
        return ending if ending in FORMATS else None

    def path(
        self,
        format: str,  # noqa: A002
        *,
        source: str | None,
        index: int,
        folder: str = "",
        stamp: str | None = None,
    ) -> str:
        """The path of a picture, relative to the folder, with "/".

        Args:
            format: One of `FORMATS`.
            source: The source's name, a path or URL without its query, of which the last part counts; or None.
            index: Its number.
            folder: The source's folder, relative.
            stamp: What {hash} is; None if what it stands for can't be told.

        Raises:
            PictureNameRefused: The ending is another format's, there is no {hash}, there is no name, or a part of the path is
                too long.
        """
        self.check(format)
        if stamp is None and self._has_hash:
            raise self._refused(
                f"picture {index} has no {{hash}}: what it is made from, or a function of yours, can't be compared; "
                "take {index}"
            )
        ending = FORMATS[format].ending
        whole = PurePosixPath(source or "").name
        values = {
            "stem": _safe(PurePosixPath(whole).stem or f"picture-{index}"),
            "name": _safe(whole or f"picture-{index}"),
            "folder": "/".join(_safe(part) for part in folder.split("/") if part not in {"", "."}),
            "ext": ending,
            "index": index,
            "hash": _safe(stamp or ""),
        }
        parts = [part for part in self.pattern.format(**values).split("/") if part]
        if not parts:  # of {folder} alone, which may be empty
            raise self._refused(f"it gives picture {index} no name; add {{stem}}")
        if self.format is None and not self.pattern.endswith("{ext}"):
            parts[-1] += f".{ending}"
        self._check_parts(parts)
        return "/".join(parts)

    @property
    def _has_hash(self) -> bool:
        return any(field == "hash" for _, field, *_ in string.Formatter().parse(self.pattern))

    def _check_parts(self, parts: list[str]) -> None:
        for part in parts:
            if part in {".", ".."} or len(os.fsencode(part)) > 255:
                raise self._refused(f"{part[:40]!r} is no name of a file")

    def _refused(self, why: str) -> PictureNameRefused:
        return PictureNameRefused(f"the pattern {self.pattern!r} can't be taken: {why}")


def _safe(value: str) -> str:
    """A value that is one part of a path, or less."""
    made = "".join("_" if one in "/\\" or ord(one) < 32 or ord(one) == 127 else one for one in value)
    made = "_" + made[1:] if made.startswith(".") or not made else made
    data = os.fsencode(made) if made.isascii() else made.encode("utf-8", "surrogateescape")
    if len(data) <= _LONGEST:
        return made
    return f"{data[:_LONGEST].decode('utf-8', 'ignore')}~{hashlib.blake2b(data, digest_size=4).hexdigest()}"
