"""Writes files that appear whole or not at all; what a killed process left of one is cleared by the next that writes it.

A file is written beside its target and renamed. Meanwhile its process holds a lock on it (flock), which ends with the process,
however that ends. The number of a process would say nothing in another container, or on another machine that shares the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME_SHOWN = 50  # characters of the target's name in that of a temporary file: file systems take 255 bytes


def write_whole(path: str | os.PathLike, payload: bytes) -> None:
    """Put `payload` at `path` in one step, with the permissions that a new file gets; a failure leaves no trace."""
    with whole(path) as file:
        file.write(payload)


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file to write to, which gets its name when all of it is on disk; an OSError names `path`."""
    with _naming(path):
        target = _regular(path)
        _clear(target)
        temporary = _beside(target)
        try:  # begins before there is a file: Ctrl-C may come in between
            with _new(temporary) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                file.close()  # Windows renames no open file
                os.replace(temporary, target)
        except BaseException:  # Ctrl-C included
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)


def check_writable(name: str, path: str | os.PathLike) -> None:
    """Raise, with the argument's name, the OSError that writing the file would end in; called before long work."""
    with _refusing(name, path, "a file in a folder that exists and can be written to"):
        _try(_beside(_regular(path)))


def check_folder(name: str, path: str | os.PathLike) -> None:
    """Raise the same for a folder that is made if it is not there."""
    with _refusing(name, path, "a folder that can be made and written to"):
        folder = Path(os.path.realpath(path))
        while not folder.exists():
            folder = folder.parent
        _try(_beside(folder / "any"))


def _try(temporary: Path) -> None:
    """Make a file and remove it again."""
    try:
        with _new(temporary):
            pass
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: str | os.PathLike) -> Iterator[None]:
    """Let an OSError name the file as it was given, not the temporary one, which the caller does not know."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = os.fspath(path)
            del error.filename2  # of a renaming; None would be shown
        raise


@contextlib.contextmanager
def _refusing(name: str, path: str | os.PathLike, expected: str) -> Iterator[None]:
    """Turn an OSError into a sentence, with its type and number kept."""
    try:
        yield
    except OSError as error:
        refusal = type(error)(f"{name}: got {os.fspath(path)!r}, expected {expected} ({error.strerror})")
        refusal.errno = error.errno
        raise refusal from error


def _regular(path: str | os.PathLike) -> Path:
    """Return where the file is to lie: the target of a symbolic link, which is not replaced itself."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # as root, a rename would replace even /dev/null
        raise OSError(errno.EISDIR if target.is_dir() else errno.EINVAL, "not a regular file")
    return target


def _beside(target: Path) -> Path:
    """Return the path of a new temporary file in the target's folder."""
    return target.with_name(f"{_start(target)}{secrets.token_hex(8)}.fastbp")


def _start(target: Path) -> str:
    """Return what the names of a target's temporary files begin with."""
    return f".{target.name[:NAME_SHOWN]}."


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """Make a file, with the permissions that the umask leaves (the tempfile module would make it private), and lock it."""
    while True:
        with open(path, "xb") as file, _locked(file):
            if os.fstat(file.fileno()).st_nlink:  # not cleared by another process before it was locked
                yield file
                return


@contextlib.contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    """Hold a lock, also when the file itself is closed meanwhile."""
    if fcntl is None:
        yield
        return
    descriptor = os.dup(file.fileno())
    try:
        with contextlib.suppress(OSError):  # some network disks have no locks: nothing is cleared there
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(target: Path) -> None:
    """Remove what killed processes left of their attempts to write the target."""
    if fcntl is None:
        return
    temporary = re.compile(f"{re.escape(_start(target))}[0-9a-f]{{16}}[.]fastbp")
    with contextlib.suppress(OSError):  # a folder may be writable but not readable
        for name in filter(temporary.fullmatch, os.listdir(target.parent)):
            with contextlib.suppress(OSError):  # BlockingIOError: its process lives
                _remove_unlocked(target.with_name(name))


def _remove_unlocked(path: Path) -> None:
    """Remove a temporary file that no process holds a lock on; BlockingIOError if one does."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink:  # or the name may be another file's by now
            path.unlink()
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, except where folders cannot be opened (Windows) or synced (network disks)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
