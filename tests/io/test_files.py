"""Files are there whole or not at all; the next writing clears what a kill left; errors have the name that was given."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading

import pytest

import fastbp as fb
from fastbp.io import files


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    return path


@pytest.mark.skipif(os.name == "nt", reason="no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_whole(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("call", ["fsync", "replace", "dup"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(written, monkeypatch, call, error):
    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(error)) as raised:
            files.write_whole(written, b"new")
    assert written.read_bytes() == b"old"
    assert os.listdir(written.parent) == [written.name]
    if isinstance(error, OSError):
        assert str(raised.value) == f"[Errno {errno.ENOSPC}] No space left on device: {str(written)!r}"


def test_ctrl_c_while_the_file_is_made_leaves_nothing(written, monkeypatch):
    def interrupted(*args, real=open):
        real(*args).close()
        raise KeyboardInterrupt  # the file is there, and nobody has been told

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", interrupted)
        with pytest.raises(KeyboardInterrupt):
            files.write_whole(written, b"new")
    assert os.listdir(written.parent) == [written.name]


def test_the_new_file_is_on_disk_before_it_gets_the_name(written, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args)))
    files.write_whole(written, b"new")
    assert calls[:2] == ["fsync", "replace"]
    assert os.name == "nt" or calls == ["fsync", "replace", "fsync"]


def test_a_folder_that_cannot_be_synced_is_no_failure(written, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_whole(written, b"new")
    assert written.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="links need privileges")
def test_a_symbolic_link_stays_one(written):
    link = written.with_name("latest")
    link.symlink_to(written.name)
    files.write_whole(link, b"new")
    assert link.is_symlink()
    assert written.read_bytes() == b"new"


def test_a_name_as_long_as_file_systems_allow(tmp_path):
    path = tmp_path / ("n" * 255)
    files.write_whole(path, b"new")
    assert os.listdir(tmp_path) == [path.name]


class TestWhatCannotBeWritten:
    @pytest.mark.parametrize("name", ["none/net", "file/net", "folder", "", "n" * 256])
    def test_it_is_named_as_it_was_given(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "folder").mkdir()
        with pytest.raises(OSError, match=r"^\[Errno \d+\] .*: ") as raised:
            files.write_whole(name, b"new")
        assert raised.value.filename == name
        assert "fastbp" not in str(raised.value)
        with pytest.raises(
            type(raised.value), match=r"^path: got .*, expected a file in a folder that exists and can"
        ) as early:
            files.check_writable("path", name)
        assert early.value.errno == raised.value.errno
        assert repr(name) in str(early.value)
        assert sorted(os.listdir(tmp_path)) == ["file", "folder"]

    def test_a_folder_that_can_be_made(self, tmp_path):
        files.check_folder("folder", tmp_path / "a" / "b")
        assert os.listdir(tmp_path) == []
        (tmp_path / "a").write_bytes(b"")
        with pytest.raises(OSError, match=r"folder: got .*b', expected a folder that can be made and written to"):
            files.check_folder("folder", tmp_path / "a" / "b")

    @pytest.mark.parametrize("write", [lambda net, path: net.save(path), lambda net, path: net.to_onnx(path)])
    def test_networks_say_so(self, tmp_path, write):
        pytest.importorskip("onnx")
        with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/none/net'"):
            write(fb.Sequential(fb.Dense(2, 1)), tmp_path / "none" / "net")


KILLED = """
    import os, signal, sys
    import fastbp.io.files as files

    real = getattr(os, {call!r})

    def kill(*args):
        if {after}:
            real(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    os.{call} = kill
    files.write_whole({path!r}, b"new" * 1000)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
class TestKilled:
    @pytest.mark.parametrize(("call", "after"), [("dup", False), ("fsync", False), ("fsync", True), ("replace", False)])
    def test_the_next_writing_clears(self, run_python, written, call, after):
        with pytest.raises(AssertionError, match="exit status -9"):
            run_python(KILLED.format(path=str(written), call=call, after=after), cache=None)
        (left,) = set(os.listdir(written.parent)) - {written.name}
        assert left.startswith(".net.safetensors.")
        files.write_whole(written.with_name("other"), b"")
        assert (written.parent / left).exists()  # it is not what "other" may clear
        files.write_whole(written, b"newer")
        assert sorted(os.listdir(written.parent)) == [written.name, "other"]
        assert written.read_bytes() == b"newer"

    def test_what_somebody_is_writing_stays(self, written):
        with files.whole(written) as file:
            file.write(b"slow")
            thread = threading.Thread(target=files.write_whole, args=(written, b"fast"))
            thread.start()
            thread.join()
            assert written.read_bytes() == b"fast"
        assert written.read_bytes() == b"slow"
        assert os.listdir(written.parent) == [written.name]

    def test_many_at_the_same_time(self, written):
        def write(i):
            for _ in range(30):
                files.write_whole(written, bytes([i]) * 1000)

        failed = []
        threads = [threading.Thread(target=lambda i=i: write(i)) for i in range(4)]
        hook, threading.excepthook = threading.excepthook, failed.append
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            threading.excepthook = hook
        assert not failed
        assert os.listdir(written.parent) == [written.name]
        assert len(set(written.read_bytes())) == 1

    @pytest.mark.parametrize(
        "name", [".net.safetensors.fastbp", ".net.safetensors.0123456789abcdef.fastbp.bak", ".net.0123.fastbp"]
    )
    def test_other_files_stay(self, written, name):
        written.with_name(name).write_bytes(b"mine")
        files.write_whole(written, b"new")
        assert written.with_name(name).exists()

    def test_where_there_are_no_locks_nothing_is_cleared(self, written, monkeypatch):
        left = written.with_name(".net.safetensors.0123456789abcdef.fastbp")
        left.write_bytes(b"left")

        def flock(*args):
            raise OSError(errno.ENOLCK, "No locks available")

        with monkeypatch.context() as patch:
            patch.setattr(files.fcntl, "flock", flock)
            files.write_whole(written, b"new")
        assert left.exists()
        files.write_whole(written, b"newer")
        assert not left.exists()
