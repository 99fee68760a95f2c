"""Files of a run: written whole or not at all, never through a link; and the lock of its folder."""

from __future__ import annotations

import errno
import os
import time

import pytest

from dcgan_core.config import InvalidInput
from dcgan_core.runs.files import add_line, refuse_link, sweep, write_whole
from dcgan_core.runs.lock import NAME, locked

links = pytest.mark.skipif(os.name == "nt", reason="needs links")


def test_a_file_is_replaced_and_who_has_the_old_one_open_reads_that_to_its_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as old:
        write_whole(path, b"new", b"er")
        assert old.read() == b"old"
    assert path.read_bytes() == b"newer" and list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_the_new_file_is_on_the_disk_before_the_old_one_is_gone_and_its_name_is_another_each_time(
    tmp_path, monkeypatch
):
    done, names = [], set()
    flush, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append("flush") or flush(number))
    monkeypatch.setattr(os, "replace", lambda old, new: done.append("move") or names.add(str(old)) or move(old, new))
    for _ in range(2):
        write_whole(tmp_path / "file", b"content")
    assert done == ["flush", "move"] * 2 and len(names) == 2


def test_lines_are_added_to_those_before(tmp_path):
    for line in ("first", "second"):
        add_line(tmp_path / "lines", line)
    assert (tmp_path / "lines").read_bytes() == b"first\nsecond\n"


@links
def test_nothing_is_added_or_written_through_a_link(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious\n")
    (tmp_path / "lines").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="link"):
        add_line(tmp_path / "lines", "more")
    with pytest.raises(InvalidInput, match="is a link"):
        refuse_link(tmp_path / "lines")
    refuse_link(tmp_path / "precious")
    write_whole(tmp_path / "lines", b"own")
    assert (tmp_path / "precious").read_bytes() == b"precious\n" and (tmp_path / "lines").read_bytes() == b"own"


def test_what_killed_writes_have_left_is_swept_away_and_nothing_else(tmp_path):
    for name in (".config.json.0a1b2c3d.partial", "photo.partial", ".hidden", "config.json"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "config.json", "photo.partial"]


def test_a_folder_is_locked_for_one_at_a_time_and_the_second_is_told_at_once(tmp_path):
    begin = time.monotonic()
    with locked(tmp_path), pytest.raises(InvalidInput, match="another process is training"), locked(tmp_path):
        pass
    assert time.monotonic() - begin < 15
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path):
            raise KeyError


@links
def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="is a link"), locked(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
