"""Atomic writing of files, and errors that name the file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not a POSIX system: what is left over stays
    fcntl = None  # type: ignore[assignment]

Path = str | os.PathLike[str]


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file under a temporary name, and rename it when it is on the disk.

    Parameters
    ----------
    path : path
        The destination. A link is followed; an existing file's permissions are kept.
    *parts : bytes-like
        The content, one after the other.

    Raises
    ------
    OSError
        If the file cannot be written, or `path` is not a regular file. The temporary
        file is removed then, and `path` stays unchanged.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(os.path.join(folder, "notes"), b"one ", b"two")
    ...     os.listdir(folder)
    ['notes']
    """
    with written_atomically(path) as file:
        for part in parts:
            file.write(part)


@contextlib.contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file to write to, renamed to `path` at the end.

    Raises
    ------
    OSError
        As `write_atomically` does. If an error is raised inside, the temporary file is
        removed, and `path` stays unchanged.
    """
    # Outermost, because closing the file may also fail.
    with _named_if_nameless(path), contextlib.ExitStack() as opened:
        with named_errors(path):
            target = os.path.realpath(os.fsdecode(path))
            mode = None
            with contextlib.suppress(FileNotFoundError):
                mode = os.stat(target).st_mode
            if mode is not None:
                check_regular(path, mode)
            folder = os.path.dirname(target)
            temporary, file = _temporary(target)
            opened.enter_context(file)
        try:
            yield file
            with named_errors(path):
                if mode is not None:
                    os.chmod(temporary, stat.S_IMODE(mode))
                file.flush()
                os.fsync(file.fileno())
                file.close()
                os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    # Flush the rename itself, which some file systems cannot.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that were killed while writing `path`.

    A file that is being written is locked until its process ends, in any way; an
    unlocked one is removed. Nothing is raised: what cannot be removed stays.

    Parameters
    ----------
    path : path
        The argument of the next `written_atomically`.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "notes")
    ...     open(os.path.join(folder, ".notes.0123456789ab.tmp"), "w").close()
    ...     remove_leftovers(path)
    ...     os.listdir(folder)
    []
    """
    if fcntl is None:
        return
    folder, start = _beginning(os.path.realpath(os.fsdecode(path)))
    pattern = re.compile(re.escape(start) + r"[0-9a-f]{12}\.tmp")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if pattern.fullmatch(name):
                _remove_unless_locked(os.path.join(folder, name))


def _remove_unless_locked(path: str) -> None:
    # Follow no link, and do not wait for the other end of a pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with contextlib.suppress(OSError):
        descriptor = os.open(path, flags)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
        finally:
            os.close(descriptor)


def _beginning(target: str) -> tuple[str, str]:
    """Return the folder of a file, and the prefix of its temporary names."""
    folder, name = os.path.split(target)
    # Cut, because most file systems limit names to 255 bytes.
    return folder, f".{name[:40]}."


def _temporary(target: str) -> tuple[str, BinaryIO]:
    """Return a new file beside `target`, locked as long as it is open."""
    folder, start = _beginning(target)
    while True:
        path = os.path.join(folder, f"{start}{os.urandom(6).hex()}.tmp")
        file = open(path, "xb")  # noqa: SIM115
        try:
            # Some file systems have no locks; nothing is removed there either.
            with contextlib.suppress(OSError):
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)
            # Another process may have removed it as a left-over before it was locked.
            if os.path.lexists(path):
                return path, file
        except BaseException:
            file.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        file.close()


@contextlib.contextmanager
def _named_if_nameless(path: Path) -> Iterator[None]:
    """Add the name `path` to errors of writing that name no file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fsdecode(path)) from error


def check_apart(output: Path, *others: Path) -> None:
    """Refuse to write over another file, also through a link.

    Parameters
    ----------
    output : path
        The file to write.
    *others : path
        The files to keep. None of them need exist.

    Raises
    ------
    ValueError
        If `output` is one of them.

    Examples
    --------
    >>> check_apart("notes.txt", "./notes.txt")
    Traceback (most recent call last):
    ...
    ValueError: notes.txt: must not be written over ./notes.txt: they are one file
    """
    for other in others:
        same = os.path.realpath(output) == os.path.realpath(other)
        with contextlib.suppress(OSError):
            same = same or os.path.samefile(output, other)
        if same:
            raise ValueError(
                f"{os.fsdecode(output)}: must not be written over "
                f"{os.fsdecode(other)}: they are one file"
            )


def check_regular(path: Path, mode: int) -> None:
    """Refuse a folder, a pipe or a device: anything but a regular file.

    Parameters
    ----------
    path : path
        The path that the error names.
    mode : int
        The file's ``st_mode``.

    Raises
    ------
    IsADirectoryError
        For a folder.
    OSError
        For the others.

    Examples
    --------
    >>> import os
    >>> check_regular(os.curdir, os.stat(os.curdir).st_mode)
    Traceback (most recent call last):
    ...
    IsADirectoryError: [Errno 21] Is a directory: '.'
    """
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(
            errno.EISDIR, os.strerror(errno.EISDIR), os.fsdecode(path)
        )
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", os.fsdecode(path))


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Set the file name of file system errors to the path that the caller gave.

    Raises
    ------
    OSError
        The one from inside, with `path` as its file name.

    Examples
    --------
    >>> with named_errors("book.txt"):
    ...     raise OSError(5, "Input/output error")
    Traceback (most recent call last):
    ...
    OSError: [Errno 5] Input/output error: 'book.txt'
    """
    try:
        yield
    except OSError as error:
        name = os.fsdecode(path)
        if error.filename == name:
            raise
        raise OSError(error.errno, error.strerror, name) from error
