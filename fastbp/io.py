"""Model files: safetensors, with a format version and a hash; written so that a crash leaves the old file or the new.

The one door to the safetensors library: `pip install 'fastbp[io]'`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FORMAT = 1  # raise it when a file could be misread by an older fastbp
_KEY = "fastbp"  # all metadata under one key: safetensors does not keep the order of several
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
"""NumPy's names of safetensors' types."""


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and JSON-like metadata to a safetensors file; the same content gives the same bytes.

    The file appears whole or not at all: it is written beside the target, synced to disk, then renamed. TypeError or
    ValueError for metadata that JSON cannot hold (NaN included); OSError where nothing can be written.
    """
    library = require_safetensors()
    arrays = {name: _native(array) for name, array in tensors.items()}
    content = {"format": FORMAT, "metadata": dict(metadata), "sha256": _digest(arrays, metadata)}
    payload = library.save(arrays, metadata={_KEY: _json(content)})
    write_whole(path, payload)


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata of a file that `write` made (tuples have become lists, keys strings).

    ValueError, with the path, for a file that is truncated, damaged, of a newer format, or not from fastbp.
    """
    require_safetensors()
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    try:
        with safe_open(path, framework="np") as file:
            content = _content(path, file.metadata())
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(f"{path}: truncated, or not a safetensors file ({error})") from error
    if _digest(arrays, content["metadata"]) != content["sha256"]:
        raise ValueError(f"{path}: damaged: its content does not match the sha256 stored in it")
    return arrays, content["metadata"]


def read_plain(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file that anyone wrote, sorted by name; bfloat16, which NumPy has not, as float32.

    ValueError, with the path, for a file that is truncated or damaged, that holds a type which NumPy has not, or that
    `write` made.
    """
    require_safetensors()
    from safetensors import SafetensorError, deserialize

    payload = Path(path).read_bytes()
    try:
        found = dict(deserialize(payload))
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)}: truncated, or not a safetensors file ({error})") from error
    header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
    if _KEY in header.get("__metadata__", {}):
        raise ValueError(f"{os.fspath(path)}: got a network that fastbp saved, expected another's: use Sequential.load")
    return {name: _decoded(path, name, found[name]) for name in sorted(found)}


def _decoded(path: str | os.PathLike, name: str, tensor: Mapping[str, Any]) -> np.ndarray:
    kind, shape, content = tensor["dtype"], tensor["shape"], tensor["data"]
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if kind not in _DTYPES:
        raise ValueError(f"{os.fspath(path)}: {name}: got dtype {kind}, expected BF16 or one of {', '.join(_DTYPES)}")
    return np.frombuffer(content, _DTYPES[kind]).reshape(shape)


def require_safetensors() -> ModuleType:
    """safetensors' functions for NumPy; ImportError with the line that installs it."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("model files need safetensors: pip install 'fastbp[io]'") from error
    return safetensors.numpy


def _content(path: str, header: Mapping[str, str] | None) -> dict[str, Any]:
    """What `write` put under its key, checked for its form."""
    if not header or _KEY not in header:
        raise ValueError(f"{path}: a safetensors file, but not one that fastbp wrote (no {_KEY!r} in its metadata)")
    try:
        content = json.loads(header[_KEY])
        version = content["format"]
        newer = version > FORMAT
        if not newer:
            content["metadata"].items(), content["sha256"].encode()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: damaged: its {_KEY!r} metadata cannot be read ({error!r})") from error
    if newer:
        raise ValueError(f"{path}: got format {version}, expected {FORMAT} at most: a newer fastbp wrote it, upgrade")
    return content


def _native(array: np.ndarray) -> np.ndarray:
    """C order and native bytes, which is what safetensors takes the memory for."""
    array = np.asarray(array, order="C")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """sha256 over the metadata and, by name, over type, shape and bytes of every array."""
    digest = hashlib.sha256(_json(dict(metadata)).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_json([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_whole(path: str | os.PathLike, payload: bytes) -> None:
    """Put `payload` at `path` in one step, with the permissions that a new file gets; a failure leaves no trace."""
    path = Path(os.path.realpath(path))  # through a symbolic link, not in its place
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: not a regular file")  # as root, a rename would replace even /dev/null
    temporary = path.with_name(f".{secrets.token_hex(8)}.fastbp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)  # less the umask; the tempfile module would make it private
    try:
        with open(descriptor, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C included
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; where folders cannot be opened (Windows) or synced (network disks), do without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
