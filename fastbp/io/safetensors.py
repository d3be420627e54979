"""Reads and writes model files: safetensors, with a format version and a hash; a crash leaves the old file or the new one.

The one module that uses the safetensors library: `pip install 'fastbp[io]'`.
"""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fastbp.checks import require
from fastbp.io.files import write_whole

FORMAT = 1  # raise it when a file could be misread by an older fastbp
_KEY = "fastbp"  # all metadata under one key: safetensors does not keep the order of several
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8",
}  # fmt: skip
"""NumPy's names of safetensors' types."""
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 100


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and JSON-like metadata to a safetensors file; the same content gives the same bytes.

    The file appears whole or not at all: it is written beside the target, synced to disk, then renamed. TypeError or
    ValueError for metadata that JSON cannot hold (NaN included); OSError, with the path, where nothing can be written.
    """
    library = require_safetensors()
    arrays = {name: _native(array) for name, array in tensors.items()}
    content = {"format": FORMAT, "metadata": dict(metadata), "sha256": _digest(arrays, metadata)}
    payload = library.save(arrays, metadata={_KEY: as_json(content)})
    write_whole(path, payload)


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of a file that `write` made (tuples have become lists, keys strings).

    ValueError, with the path, for a file that is truncated, damaged, of a newer format, or not from fastbp.
    """
    require_safetensors()
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    with open(path, "rb"):  # Python's own OSErrors have the path in them
        pass
    try:
        with safe_open(path, framework="np") as file:
            content = _content(path, file.metadata())
            arrays = {name: _array(path, name, file) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(f"{path}: truncated, or not a safetensors file ({error})") from error
    if _digest(arrays, content["metadata"]) != content["sha256"]:
        raise ValueError(f"{path}: damaged: its content does not match the sha256 stored in it")
    return arrays, content["metadata"]


def read_plain(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file of any origin, sorted by name; bfloat16, which NumPy lacks, as float32.

    ValueError, with the path, for a file that is truncated or damaged, that holds another type which NumPy lacks, or that
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
    if _KEY in (header.get("__metadata__") or ()):
        raise ValueError(f"{os.fspath(path)}: got a network that fastbp saved, expected another's: use Sequential.load")
    return {name: _decoded(path, name, found[name]) for name in sorted(found)}


def entry(content: Any, name: str, *kinds: type) -> Any:
    """Return what a file says under a name; ValueError unless it is of one of these types exactly, as JSON tells them apart."""
    value = content.get(name) if type(content) is dict else None
    if type(value) not in kinds:
        raise ValueError(f"{name}: got {shortened(value)}, expected {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def tensor(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return the tensor that a file has under a name; ValueError unless it is of that shape and dtype."""
    found = tensors.get(name)
    got = "none" if found is None else f"{found.dtype} of shape {found.shape}"
    expected = f"{np.dtype(dtype)} of shape {shape}"
    if got != expected:
        raise ValueError(f"{name}: got {got}, expected {expected}")
    assert found is not None
    return found


def shortened(value: Any) -> str:
    """Return the repr of a value from a file, shortened to what a sentence has room for."""
    return _BRIEF.repr(value)


def _array(path: str, name: str, file: Any) -> np.ndarray:
    """Return a tensor of an open file as an array."""
    kind = file.get_slice(name).get_dtype()
    try:
        if kind not in _DTYPES:
            raise TypeError(f"got dtype {kind}, expected one of {', '.join(_DTYPES)}")
        return file.get_tensor(name)
    except (TypeError, ValueError) as error:  # ValueError: shapes of NumPy have limits
        raise ValueError(f"{path}: {name}: {error}") from error


def _decoded(path: str | os.PathLike, name: str, tensor: Mapping[str, Any]) -> np.ndarray:
    """Return the array of a tensor that safetensors hands over as bytes."""
    kind, shape, content = tensor["dtype"], tensor["shape"], tensor["data"]
    try:
        if kind == "BF16":  # the upper half of a float32
            return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
        if kind not in _DTYPES:
            raise TypeError(f"got dtype {kind}, expected BF16 or one of {', '.join(_DTYPES)}")
        return np.frombuffer(content, _DTYPES[kind]).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{os.fspath(path)}: {name}: {error}") from error


def require_safetensors() -> ModuleType:
    """Return safetensors' functions for NumPy; ImportError says how to install it."""
    return require("safetensors.numpy", "model files need safetensors", "io")


def _content(path: str, header: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what `write` put under its key, checked for its form."""
    if not header or _KEY not in header:
        raise ValueError(f"{path}: a safetensors file, but not one that fastbp wrote (no {_KEY!r} in its metadata)")
    try:
        content = json.loads(header[_KEY], parse_constant=_refuse_constant)
        version = entry(content, "format", int)
        if version <= FORMAT:
            as_json(
                entry(content, "metadata", dict)
            )  # raises if it is nested too deeply to be written again and compared
            entry(content, "sha256", str)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: its {_KEY!r} metadata cannot be read ({error})") from error
    if version > FORMAT:
        raise ValueError(f"{path}: got format {version}, expected {FORMAT} at most: a newer fastbp wrote it, upgrade")
    return content


def _native(array: np.ndarray) -> np.ndarray:
    """Return the array in C order and native byte order, which safetensors expects of its memory."""
    array = np.asarray(array, order="C")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"got {name}, expected finite numbers")


def as_json(content: Any) -> str:
    """Return the JSON of metadata, the same for equal metadata; TypeError or ValueError for what JSON cannot hold."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """Return the sha256 over the metadata and, by name, over type, shape and bytes of every array."""
    digest = hashlib.sha256(as_json(dict(metadata)).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(as_json([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
