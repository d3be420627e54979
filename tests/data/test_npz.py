"""Damaged .npz files: one ValueError with the path, and no memory for what a header only says."""

import random
import tracemalloc
import zipfile

import numpy as np
import pytest

from fastbp.data.npz import read_npz

X, Y = np.arange(60.0).reshape(20, 3), np.arange(20) % 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "arrays.npz"


def member(descr, shape, content):
    """The bytes of an .npy file whose header says that."""
    said = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    said += b" " * (63 - (len(said) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said + content


def write(path, compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "y", [Y, Y.astype("U1"), Y.astype("S2"), X.T, X[::2, ::-1], np.float32(1), np.zeros((0, 3)), Y == 1]
)
def test_what_numpy_writes_is_read(path, save, y):
    save(path, x=X, y=y, another=np.array([None]))
    found = read_npz(path, "x", "y")
    assert found.keys() == {"x", "y"}
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], y)
    assert found["y"].dtype == np.asarray(y).dtype


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_damage_is_a_value_error(path, save):
    choose, count = random.Random(0), 0
    save(path, x=X, y=Y.astype("U1"))
    whole = path.read_bytes()
    for _ in range(1500):
        content = bytearray(whole)
        if choose.random() < 0.2:
            content = content[: choose.randrange(len(content))]
        for _ in range(choose.choice([1, 1, 4])):
            if content:
                content[choose.randrange(len(content))] = choose.randrange(256)
        path.write_bytes(content)
        try:
            found = read_npz(path, "x", "y")
        except ValueError as error:
            count += str(path) in str(error)
        else:  # what nobody reads was hit: dates, attributes
            count += (found["x"] == X).all() and (found["y"] == Y.astype("U1")).all()
    assert count == 1500


@pytest.mark.parametrize(
    ("descr", "shape", "content"),
    [
        ("<f8", (10**12,), b"\0" * 16),
        ("<f8", (1,), b"\0" * 16),
        ("<f8", (-1, -2), b"\0" * 16),
        ("<U0", (10**12,), b""),
        ("|V0", (10**12,), b""),
        ("<f8", (1,) * 70, b"\0" * 8),
        ("|O", (2,), b"\0" * 16),
        ("<U1", (2,), b"\xff" * 8),
        ("|S1", (2,), b"\xff" * 2),
        (("<f4", (2,)), (2,), b"\0" * 16),
        ("<f8", "(" * 200, b""),
        (5, (2,), b"\0" * 16),
    ],
)
def test_headers_that_lie_in_an_archive_that_is_whole(path, descr, shape, content):
    write(path, x=member(descr, shape, content))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"arrays.npz: expected an .npz file with the keys x: "):
        read_npz(path, "x")
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


def test_an_archive_that_lies_about_sizes(path):
    """2 GB, by the header and by the archive, in a file of 187 bytes."""
    write(path, zipfile.ZIP_DEFLATED, x=member("<f8", (2**28,), b"\0" * 99))
    content = bytearray(path.read_bytes())
    size = content.rfind(b"PK\1\2") + 24  # what the directory says of the member before compression
    content[size : size + 4] = (128 + 2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"arrays.npz: .*: x: got 2147483776 bytes in a file of \d\d\d$"):
        read_npz(path, "x")


def test_a_compression_that_numpy_does_not_write(path):
    write(path, zipfile.ZIP_BZIP2, x=member("<f8", (1000,), b"\0" * 8000))
    with pytest.raises(ValueError, match="x: got compression 12, expected stored or deflated"):
        read_npz(path, "x")


def test_text_for_a_zip_file(path):
    path.write_bytes(b"x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"arrays.npz: expected an .npz file .*: File is not a zip file"):
        read_npz(path, "x")
