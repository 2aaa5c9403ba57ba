"""Text that can be sent and shown anywhere.

Owns: what becomes of characters that UTF-8 doesn't have: names of files are of any bytes. Must not know: what is told.
"""

__all__ = ["spelled_out"]


def spelled_out(text: str) -> str:
    r"""Text that UTF-8 has.

    >>> spelled_out("caf\udce9")
    'caf\\udce9'
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
