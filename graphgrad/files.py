"""Files that are written whole or not at all."""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from pathlib import Path

from graphgrad.errors import GraphgradError

PART = ".part"  # the end of the names of temporary files


def as_path(name: str, path: str | os.PathLike[str]) -> Path:
    """The path of a file. Raises GraphgradError, with the argument's name, for what is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise GraphgradError(f"{name} is the path of a file, as text or a pathlib.Path, but {path!r} was given")
    return Path(path)


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file so that a reader, or a crash on the way, finds the old content or the new, never a part.

    The content goes to a temporary file beside `path`, which then takes its place. A link is followed: what it leads
    to is replaced. Text is written as UTF-8 with "\\n" line ends. Raises OSError as `open` does, of `path` itself, and
    GraphgradError for what is no path.
    """
    import tempfile  # 5 ms, which a program that writes nothing need not wait for

    target = Path(os.path.realpath(as_path("path", path)))
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        mode = target.stat().st_mode & 0o777
    except FileNotFoundError:
        # The umask cannot be read without being set; it is set to the strictest for a moment, never to a looser one.
        umask = os.umask(0o077)
        os.umask(umask)
        mode = 0o666 & ~umask
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=PART)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:  # the temporary file's name tells a reader nothing
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        raise


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed while they wrote `path` left beside it."""
    target = Path(os.path.realpath(path))
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*{PART}"):
        with suppress(OSError):
            leftover.unlink()
