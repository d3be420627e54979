from __future__ import annotations

import json
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

from fastbp.io import safetensors

TENSORS = {"b": np.arange(4, dtype=np.float32), "a": np.arange(6.0).reshape(2, 3)}
METADATA = {"layers": [["dense", 3, 2]], "seed": 0, "nested": {"text": "é"}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.fixture
def written(path):
    safetensors.write(path, TENSORS, METADATA)
    return path


def change_header(path, change):
    """Rewrite a file's safetensors header through `change`, a function on the parsed one."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


def change_content(path, change):
    """The same for what fastbp keeps in the header."""

    def rewrite(header):
        content = json.loads(header["__metadata__"]["fastbp"])
        content = change(content) or content
        header["__metadata__"]["fastbp"] = json.dumps(content)

    change_header(path, rewrite)


def test_what_was_written_is_read(written):
    tensors, metadata = safetensors.read(written)
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype
        assert (tensors[name] == array).all()
        tensors[name][...] = 0  # they are the reader's own


def test_a_path_may_be_text(path):
    safetensors.write(str(path), TENSORS, METADATA)
    assert safetensors.read(str(path))[1] == METADATA


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.arange(12.0)[::-2],
        np.arange(3, dtype=">f4"),
        np.float32(3).reshape(()),
        np.zeros((0, 4)),
        np.array([True, False]),
    ],
    ids=["transposed", "strided", "big-endian", "scalar", "empty", "bool"],
)
def test_any_layout_is_kept_by_value(path, array):
    safetensors.write(path, {"x": array}, {})
    found = safetensors.read(path)[0]["x"]
    assert found.shape == array.shape
    assert (found == array).all()


@given(hnp.arrays(st.sampled_from(["f4", "f8", "i8", "u1"]), hnp.array_shapes(max_dims=3)))
def test_every_bit_is_kept(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("bits") / "x"
    safetensors.write(path, {"x": array}, {})
    assert safetensors.read(path)[0]["x"].tobytes() == array.tobytes()


def test_the_same_content_gives_the_same_bytes(tmp_path):
    safetensors.write(tmp_path / "1", TENSORS, METADATA)
    safetensors.write(tmp_path / "2", dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


class TestBadFiles:
    @pytest.mark.parametrize("length", [0, 5, 8, 40, 300, -1])
    def test_truncated(self, written, length):
        written.write_bytes(written.read_bytes()[:length])
        with pytest.raises(ValueError, match=r"net.safetensors: truncated, or not a safetensors file"):
            safetensors.read(written)

    @pytest.mark.parametrize("content", [b"PK\3\4 a zip file", b"hello", b"\x89HDF\r\n\x1a\n" * 9])
    def test_not_safetensors(self, path, content):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"net.safetensors: truncated, or not a safetensors file"):
            safetensors.read(path)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_not_from_fastbp(self, path, metadata):
        save_file({"x": np.ones(3)}, path, metadata=metadata)
        with pytest.raises(ValueError, match=r"net.safetensors: a safetensors file, but not one that fastbp wrote"):
            safetensors.read(path)

    def test_newer(self, written):
        change_content(written, lambda content: {"format": safetensors.FORMAT + 1, "new": 1})
        with pytest.raises(ValueError, match=r"net.safetensors: got format 2, expected 1 at most: a newer fastbp"):
            safetensors.read(written)

    @pytest.mark.parametrize(
        "change",
        [
            lambda content: content.pop("format") and None,
            lambda content: content.pop("sha256") and None,
            lambda content: content.update(format="one"),
            lambda content: content.update(metadata=[1]),
            lambda content: content.update(sha256=7),
            lambda content: [content],
        ],
    )
    def test_incomplete_metadata(self, written, change):
        change_content(written, change)
        with pytest.raises(ValueError, match=r"net.safetensors: damaged: its 'fastbp' metadata cannot be read"):
            safetensors.read(written)

    def test_metadata_that_is_no_json(self, written):
        change_header(written, lambda header: header["__metadata__"].update(fastbp="{"))
        with pytest.raises(ValueError, match="damaged: its 'fastbp' metadata cannot be read"):
            safetensors.read(written)

    @pytest.mark.parametrize("position", [-1, -30])
    def test_a_flipped_bit(self, written, position):
        content = bytearray(written.read_bytes())
        content[position] ^= 1
        written.write_bytes(content)
        with pytest.raises(ValueError, match=r"net.safetensors: damaged: its content does not match the sha256"):
            safetensors.read(written)

    def test_changed_metadata(self, written):
        change_content(written, lambda content: content["metadata"].update(seed=1))
        with pytest.raises(ValueError, match="does not match the sha256"):
            safetensors.read(written)

    def test_a_renamed_tensor(self, written):
        change_header(written, lambda header: header.update(c=header.pop("b")))
        with pytest.raises(ValueError, match="does not match the sha256"):
            safetensors.read(written)

    def test_a_missing_file_is_just_that(self, path):
        with pytest.raises(FileNotFoundError):
            safetensors.read(path)


@pytest.mark.parametrize(("metadata", "error"), [({"x": float("nan")}, ValueError), ({"x": object()}, TypeError)])
def test_metadata_that_json_cannot_hold_writes_nothing(path, metadata, error):
    with pytest.raises(error):
        safetensors.write(path, TENSORS, metadata)
    assert not path.exists()


@pytest.mark.parametrize("call", [lambda path: safetensors.write(path, {}, {}), safetensors.read])
def test_without_safetensors_it_says_how_to_get_it(path, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"model files need safetensors: pip install 'fastbp\[io\]'"):
        call(path)
