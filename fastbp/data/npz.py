"""Reads arrays from .npz files, and compares what their headers say with what the files hold before memory is reserved."""

from __future__ import annotations

import math
import os
import zipfile
from typing import IO

import numpy as np

MOST_DEFLATED = 1032  # bytes, at most, that deflate packs into one


def read_npz(path: str | os.PathLike, *keys: str) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file under `keys`; ValueError for a file of another kind, a damaged one, and a missing key."""
    path = os.fspath(path)
    with open(path, "rb") as file:
        try:
            return read(file, keys)
        except Exception as error:  # damaged archives raise whatever comes
            raise ValueError(f"{path}: expected an .npz file with the keys {', '.join(keys)}: {error}") from error


def read(file: IO[bytes], keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of an open .npz file; ValueError, or an error of zipfile, if it is damaged."""
    if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
        raise ValueError("got a single array")
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        missing = [key for key in keys if key not in members]
        if missing:
            raise ValueError(f"got {', '.join(members)} without {', '.join(missing)}")
        size = file.seek(0, os.SEEK_END)
        for key in keys:
            check_size(key, members[key], size)
        return {key: read_member(key, archive, members[key]) for key in keys}


def check_size(key: str, member: zipfile.ZipInfo, file_size: int) -> None:
    """ValueError for a member that says it is larger than a file of that size can hold."""
    most = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MOST_DEFLATED}.get(member.compress_type)
    if most is None:
        raise ValueError(f"{key}: got compression {member.compress_type}, expected stored or deflated")
    if member.file_size > most * min(member.compress_size, file_size):
        raise ValueError(f"{key}: got {member.file_size} bytes in a file of {file_size}")


def read_member(key: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read the array of a member; ValueError unless it has the size that its header says, no pickle, and the right checksum."""
    with archive.open(member) as content:
        shape, _, dtype = read_header(content)
        expected = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or not dtype.itemsize or content.tell() + expected != member.file_size:
            got = f"{dtype} of shape {shape} in {member.file_size - content.tell()} bytes"
            raise ValueError(f"{key}: got {got}, expected {expected} bytes of numbers or text")
    with archive.open(member) as content:
        array = np.lib.format.read_array(content, allow_pickle=False)
        content.read()  # to the end, where the checksum is compared
    if dtype.kind in "US":
        array.astype("U").tolist()  # raises for what is no text
    return array


def read_header(content: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the shape, whether it is in Fortran's order, and the dtype."""
    if np.lib.format.read_magic(content) == (1, 0):
        return np.lib.format.read_array_header_1_0(content)
    return np.lib.format.read_array_header_2_0(content)  # the header of 3.0 differs in the names of fields alone
