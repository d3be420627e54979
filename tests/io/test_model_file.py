"""Model files that lie: loading what was damaged or made up ends in one ValueError with the path, and takes little memory."""

import json
import random
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save

import fastbp as fb
from fastbp.io import safetensors
from fastbp.network.chain import checked_layers

LAYER = {"kind": "Dense", "inputs": 3, "outputs": 2, "activation": "relu", "bias": True}
TENSORS = {"layers.0.weight": np.ones((2, 3), np.float32), "layers.0.bias": np.ones(2, np.float32)}
CONTENT = {"layers": [LAYER], "dtype": "float32", "seed": 0, "metadata": {"recipe": {"classes": ["a", "b"]}}}
WILD = [None, True, 0, -1, 1e300, 2**70, 10**400, "", "relu", "float64", [], {}, [[]], {"a": 1}, [None], 10**9]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.fixture
def peak():
    """peak(): the most memory since the test began, in bytes."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def refused(path, message=""):
    """Whether the file is refused as it should be; anything but a ValueError fails the test."""
    try:
        fb.Sequential.load(path)
    except ValueError as error:
        sentence = str(error)
    else:
        return False
    assert str(path) in sentence
    assert message in sentence
    assert len(sentence) < 2000
    return True


def changed(random, value):
    """The value with something changed somewhere within."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(sorted(value))
        others = {name: entry for name, entry in value.items() if name != key}
        return others if random.random() < 0.1 else {**others, key: changed(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.8:
        return random.choice([value[1:], value * 2, [changed(random, value[0]), *value[1:]]])
    return random.choice(WILD)


def test_the_content_itself_is_a_network(path):
    safetensors.write(path, TENSORS, CONTENT)
    assert fb.Sequential.load(path).metadata == CONTENT["metadata"]


def test_sizes_are_not_believed(path, peak):
    """A file of some hundred bytes that tells of a layer of gigabytes, with a right hash."""
    safetensors.write(path, {}, {**CONTENT, "layers": [{**LAYER, "inputs": 20000, "outputs": 20000}]})
    assert path.stat().st_size < 500
    assert refused(path, "layers.0.weight: got none, expected float32 of shape (20000, 20000)")
    assert peak() < 2**20


def test_the_check_of_a_chain_takes_no_pairs_of_layers():
    def events(layers):
        """How much Python does for so many layers."""
        count = 0

        def note(*args):
            nonlocal count
            count += 1

        chain = (fb.Dense(2, 2), *[fb.Dropout(0.5) for _ in range(layers)])
        sys.setprofile(note)
        try:
            checked_layers(chain, np.dtype("float32"))
        finally:
            sys.setprofile(None)
        return count

    assert events(800) < 3 * events(400)


@pytest.mark.parametrize("depth", [100, 900, 100_000])
def test_nested_metadata(path, depth):
    header = {"__metadata__": {"fastbp": '{"format":1,"metadata":{"a":' + "[" * depth + "]" * depth + '},"sha256":""}'}}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded)
    assert refused(path, "damaged")


@pytest.mark.parametrize(
    ("kind", "size"), [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1), ("F8_E8M0", 1), ("F4", 0.5), ("F1000", 1)]
)
@pytest.mark.parametrize("load", [fb.Sequential.load, fb.Sequential.from_state_dict])
def test_types_that_numpy_has_not(path, load, kind, size):
    fastbp = json.dumps({"format": 1, "metadata": {}, "sha256": ""})
    header = {"layers.0.weight": {"dtype": kind, "shape": [2, 3], "data_offsets": [0, int(6 * size)]}}
    if load == fb.Sequential.load:
        header["__metadata__"] = {"fastbp": fastbp}
    elif kind == "BF16":
        return  # that is the upper half of a float32
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"\0" * int(6 * size))
    with pytest.raises(ValueError, match=f"net.safetensors: .*({kind}|not a safetensors file)"):
        load(path)


@pytest.mark.parametrize("shape", [[0, 2**63], [0] * 70, [0, 2**62, 4]])
@pytest.mark.parametrize("load", [fb.Sequential.load, fb.Sequential.from_state_dict])
def test_shapes_that_numpy_has_not(path, load, shape):
    header = {"0.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    if load == fb.Sequential.load:
        header["__metadata__"] = {"fastbp": json.dumps({"format": 1, "metadata": {}, "sha256": ""})}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded)
    with pytest.raises(ValueError, match=r"net.safetensors: 0.weight: "):
        load(path)


def test_null_in_the_place_of_metadata(path):
    header = {"__metadata__": None, "0.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"\0" * 24)
    assert refused(path, "not one that fastbp wrote")
    assert fb.Sequential.from_state_dict(path).layers[0].inputs == 3


def test_a_folder(tmp_path):
    with pytest.raises(OSError, match=f"directory: {str(tmp_path)!r}"):
        fb.Sequential.load(tmp_path)


def test_what_a_hash_makes_right(path, peak):
    """Random changes, one or more, of what a file says, and a hash that fits."""
    choose, count = random.Random(0), 0
    for _ in range(300):
        content = CONTENT
        for _ in range(choose.choice([1, 1, 2])):
            content = changed(choose, content)
        try:
            safetensors.write(path, TENSORS, content)
        except (TypeError, ValueError, AttributeError):  # no dict
            continue
        count += refused(path)
    assert count > 150
    assert peak() < 2**21


@pytest.mark.parametrize("plain", [False, True])
def test_bytes_that_changed(path, peak, plain):
    choose, count = random.Random(1), 0
    safetensors.write(path, TENSORS, CONTENT)
    whole = save({"0.weight": TENSORS["layers.0.weight"]}, {"format": "pt"}) if plain else path.read_bytes()
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(choose.choice([1, 1, 3])):
            content[choose.randrange(len(content))] = choose.randrange(256)
        path.write_bytes(content[: choose.choice([len(content), choose.randrange(len(content))])])
        if plain:
            try:
                fb.Sequential.from_state_dict(path)
            except (TypeError, ValueError):
                count += 1
        else:
            count += refused(path)
    assert count > 200
    assert peak() < 2**21
