"""Folders whose pixels are larger than the memory: decoded into a file, used from there, and never half of one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from PIL import Image

from dcgan_core import runtime
from dcgan_core.config import InvalidInput
from dcgan_core.data import Batches, Dataset, cache, keeping, load_folder, maps, memory, reading
from dcgan_core.data.files import find_files
from dcgan_core.data.folder import read_images
from dcgan_core.data.maps import Writer
from dcgan_core.runs.same_data import fingerprint


def squares(num: int, channels: int = 1, size: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, channels, size, size), np.uint8)


def fill(folder: Path, num: int, *, colour: bool = True, size: int = 16) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num):
        shape = (size, size, 3) if colour else (size, size)
        pixels = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
    return folder


@pytest.fixture
def little_memory(monkeypatch) -> None:
    """Enough for 10 images of 16x16 in colour."""
    monkeypatch.setattr(runtime, "host_memory", lambda: 3 * 10 * 3 * 16 * 16)


# Maps


def test_what_is_written_is_mapped_and_a_map_can_be_changed_without_the_file(tmp_path):
    path = tmp_path / "squares.npy"
    writer = Writer(path, 8)
    for part in (squares(3), squares(2, seed=1)):
        writer.add(part)
    checksum = writer.finish()
    expected = np.concatenate([squares(3), squares(2, seed=1)])
    np.testing.assert_array_equal(np.load(path), expected)
    found = maps.checked(path, checksum)
    np.testing.assert_array_equal(found, expected)
    found[:] = 0
    np.testing.assert_array_equal(maps.mapped(path), expected)
    assert maps.checked(path, "0" * 32) is None


@pytest.mark.parametrize("num_grey", [0, 1, 7])
def test_grey_squares_get_three_channels_with_the_first_colour(tmp_path, num_grey, monkeypatch):
    monkeypatch.setattr(maps, "CHUNK", 200)  # three squares
    path = tmp_path / "squares"
    writer = Writer(path, 8)
    grey, colour, more = squares(num_grey), squares(2, channels=3), squares(3, seed=2)
    for part in (grey, colour, more):
        writer.add(part)
    expected = np.concatenate([grey.repeat(3, axis=1), colour, more.repeat(3, axis=1)])
    np.testing.assert_array_equal(writer.squares, expected)
    checksum = writer.finish()
    np.testing.assert_array_equal(maps.checked(writer.path, checksum), expected)
    assert [one.name for one in tmp_path.iterdir()] == [writer.path.name]


def test_a_file_without_squares_is_an_empty_map(tmp_path):
    writer = Writer(tmp_path / "squares", 8)
    assert maps.checked(writer.path, writer.finish()).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("array", [np.zeros((2, 1, 8, 8)), np.zeros((2, 8, 8), np.uint8), np.zeros(3, np.uint8)])
def test_what_holds_no_squares_is_no_map(tmp_path, array):
    np.save(tmp_path / "other.npy", array)
    with pytest.raises(ValueError, match="no squares"):
        maps.mapped(tmp_path / "other.npy")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux, which may refuse such maps")
def test_a_map_may_be_larger_than_the_memory(tmp_path):
    """Of a file with a hole, which takes no space."""
    num = 2 * runtime.host_memory() // (3 * 256 * 256)
    writer = Writer(tmp_path / "squares", 256, channels=3)
    writer.num = int(num)
    try:
        writer.finish()
    except OSError as error:
        pytest.skip(f"no such file can be made here ({error.strerror})")
    found = maps.mapped(writer.path)
    assert found.nbytes > runtime.host_memory() and not found[-1].any()
    found[-1] = 7
    assert found[-1].all()


def test_a_file_that_stays_as_it_is_is_summed_once(tmp_path, monkeypatch):
    writer = Writer(tmp_path / "squares", 8)
    writer.add(squares(3))
    checksum = writer.finish()
    sums = []
    monkeypatch.setattr(maps, "in_parts", lambda pixels: sums.append(pixels) or [pixels])
    for _ in range(3):
        assert maps.checked(writer.path, checksum) is not None
    assert len(sums) == 1
    content = bytearray(writer.path.read_bytes())
    content[-1] ^= 1
    writer.path.write_bytes(content)
    assert maps.checked(writer.path, checksum) is None


# What is too large for the memory


def test_a_large_folder_is_the_same_as_a_small_one_and_says_where_it_is(tmp_path, own_cache, capsys, monkeypatch):
    folder = fill(tmp_path / "images", 30)
    small = {split: load_folder(folder, image_size=16, split=split) for split in ("train", "test", "all")}
    small |= {"grey": load_folder(folder, image_size=16, channels=1, split="train")}
    assert "stay on the disk" not in capsys.readouterr().err
    monkeypatch.setattr(runtime, "host_memory", lambda: 3)
    large = {split: load_folder(folder, image_size=16, split=split) for split in ("train", "test", "all")}
    large |= {"grey": load_folder(folder, image_size=16, channels=1, split="train")}
    place = cache.place_of(folder, 16, "crop")
    said = capsys.readouterr().err
    assert said.count(f"They are more than a third of the memory: they stay on the disk ({place}).") == 4
    for name, dataset in large.items():
        assert torch.equal(dataset.images, small[name].images) and dataset.on_disk and not small[name].on_disk
        assert fingerprint(dataset) == fingerprint(small[name])
    assert len(list(place.glob("part-*.npy"))) == 3, "all of the images need no file of their own"


def test_a_part_is_written_once_checked_and_deleted_when_the_images_change(tmp_path, own_cache, little_memory):
    folder = fill(tmp_path / "images", 30)
    expected = load_folder(folder, image_size=16, split="train").images.clone()
    (part,) = cache.place_of(folder, 16, "crop").glob("part-*.npy")
    about = part.stat()
    assert torch.equal(load_folder(folder, image_size=16, split="train").images, expected)
    assert part.stat().st_mtime_ns == about.st_mtime_ns, "not written anew"
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    assert torch.equal(load_folder(folder, image_size=16, split="train").images, expected), "the damage is noticed"
    load_folder(folder, image_size=16, split="train", held_out=0.2)
    assert len(list(part.parent.glob("part-*.npy"))) == 2, "another part, another file"
    (folder / "00000.png").unlink()
    read_images(folder, image_size=16)
    assert not list(part.parent.glob("part-*.npy")) and len(list(part.parent.iterdir())) == 2


def test_grey_images_in_three_channels_take_the_space_of_one(tmp_path, own_cache, little_memory):
    folder = fill(tmp_path / "images", 40, colour=False)
    images = load_folder(folder, image_size=16, split="train", channels=3).images
    (part,) = cache.place_of(folder, 16, "crop").glob("part-*.npy")
    assert images.shape == (36, 3, 16, 16) and part.stat().st_size == maps.HEAD + 36 * 16 * 16


def test_a_part_that_cannot_be_written_is_one_sentence_and_leaves_nothing(
    tmp_path, own_cache, little_memory, monkeypatch
):
    folder = fill(tmp_path / "images", 30)
    read_images(folder, image_size=16)
    before = sorted(cache.place_of(folder, 16, "crop").iterdir())
    fails_after(monkeypatch, 2)
    monkeypatch.setattr(maps, "CHUNK", 1_000)
    with pytest.raises(
        InvalidInput, match=r"cannot be kept on the disk \(No space left on device\): let .*_CACHE name"
    ):
        load_folder(folder, image_size=16, split="train")
    assert sorted(before[0].parent.iterdir()) == before


def test_batches_of_images_on_the_disk_are_read_ahead_and_the_same(tmp_path, own_cache, monkeypatch):
    folder = fill(tmp_path / "images", 30)
    small = Batches(load_folder(folder, image_size=16).images, batch_size=7, seed=1)
    monkeypatch.setattr(runtime, "host_memory", lambda: 3)
    dataset = load_folder(folder, image_size=16)
    large = Batches(dataset.images, batch_size=7, seed=1, on_disk=dataset.on_disk)
    assert (small.note, small.where, large.where) == ("", "in memory", "on the disk")
    assert large.note == "the images take 2.3e-05 GB and stay on the computer's disk: each batch is read ahead."
    assert all(torch.equal(small(step), large(step)) for step in range(9))


# Where nothing can be kept


def fails_after(monkeypatch: pytest.MonkeyPatch, num: int) -> None:
    """From the number `num` on, writing meets a full disk."""
    as_it_is, count = Writer._write, [0]

    def write(self: Writer, values: bytes) -> None:
        count[0] += 1
        if count[0] > num:
            self._file.write(values[: len(values) // 2])  # some of it is still written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        as_it_is(self, values)

    monkeypatch.setattr(Writer, "_write", write)


@pytest.mark.parametrize("num", [0, 1, 2, 7, 8, 9, 15])
def test_a_disk_that_is_full_changes_nothing_but_the_memory_that_is_used(tmp_path, own_cache, num, monkeypatch, capsys):
    """Head, grey images, the same with three channels, colour, and the head again: each may be too much."""
    folder = fill(tmp_path / "images", 6, colour=False)
    fill(tmp_path / "colour", 12)
    for path in sorted((tmp_path / "colour").iterdir())[6:]:
        shutil.copy(path, folder)
    monkeypatch.setenv(cache.FOLDER, "off")
    expected = read_images(folder, image_size=16)
    monkeypatch.setenv(cache.FOLDER, str(own_cache))
    fails_after(monkeypatch, num)
    found = read_images(folder, image_size=16)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert (found.names, found.entries) == (expected.names, expected.entries)
    assert found.place is None and not list(cache.place_of(folder, 16, "crop").iterdir())
    capsys.readouterr()
    load_folder(folder, image_size=16)
    assert "not kept for next time (No space left on device)" in capsys.readouterr().err


def test_an_index_that_cannot_be_written_is_as_a_full_disk(tmp_path, own_cache, monkeypatch):
    folder = fill(tmp_path / "images", 6)
    expected = read_images(folder, image_size=16).pixels.copy()
    (folder / "00000.png").touch()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write_index", fail)
    found = read_images(folder, image_size=16)
    assert found.not_cached == "No space left on device"
    np.testing.assert_array_equal(found.pixels, expected)
    assert len(list(cache.place_of(folder, 16, "crop").iterdir())) == 2, "what was kept before is still there"


@pytest.mark.parametrize("why", ["off", "too little", "read only"])
def test_where_nothing_can_be_kept_and_the_memory_is_too_small_one_sentence_says_what_to_do(
    tmp_path, own_cache, little_memory, monkeypatch, why
):
    folder = fill(tmp_path / "images", 12)
    words = r"cannot be kept on the disk \(.*\)"
    if why == "off":
        monkeypatch.setenv(cache.FOLDER, "off")
        words = "may not be kept on the disk"
    elif why == "too little":
        monkeypatch.setattr(shutil, "disk_usage", lambda place: os.statvfs_result and type("Use", (), {"free": 99}))
        words = r"cannot be kept on the disk \(too little space on the disk\)"
    else:
        monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission")))
    with pytest.raises(InvalidInput, match=rf"^12 files may become images of .* GB.*{words}: let .*--image-size\)\.$"):
        read_images(folder, image_size=16)
    monkeypatch.setattr(runtime, "host_memory", lambda: 3 * 12 * 3 * 16 * 16)
    assert len(read_images(folder, image_size=16).names) == 12, "it would just fit"


# What is broken off


def test_reading_that_is_broken_off_keeps_what_it_has_and_nothing_wrong(tmp_path, own_cache, monkeypatch):
    folder = fill(tmp_path / "images", 12)
    monkeypatch.setenv(cache.FOLDER, "off")
    expected = read_images(folder, image_size=16)
    monkeypatch.setenv(cache.FOLDER, str(own_cache))
    as_it_is, count = keeping.Keeper.add, [0]

    def add(self: keeping.Keeper, square: np.ndarray) -> int:
        count[0] += 1
        if count[0] == 8:
            raise KeyboardInterrupt
        return as_it_is(self, square)

    monkeypatch.setattr(keeping.Keeper, "add", add)
    with pytest.raises(KeyboardInterrupt):
        read_images(folder, image_size=16)
    place = cache.place_of(folder, 16, "crop")
    assert [path.suffix for path in sorted(place.iterdir())] == [".jsonl", ".npy"]
    found = read_images(folder, image_size=16)
    assert found.num_decoded == 5 and (found.names, found.entries) == (expected.names, expected.entries)
    np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_reading_that_is_broken_off_early_does_not_forget_what_was_known(tmp_path, own_cache, monkeypatch):
    folder = fill(tmp_path / "images", 12)
    read_images(folder, image_size=16)
    (folder / "a_new_one.png").write_bytes((folder / "00000.png").read_bytes())

    def add(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(keeping.Keeper, "add", add)
        read_images(folder, image_size=16)
    assert read_images(folder, image_size=16).num_decoded == 1


def test_a_process_that_is_killed_while_it_reads_leaves_nothing_that_is_believed_or_stays(tmp_path, own_cache):
    folder = fill(tmp_path / "images", 12)
    program = (
        "import os, sys; from dcgan_core.data import keeping; from dcgan_core.data.folder import read_images\n"
        "add = keeping.Keeper.add\n"
        "keeping.Keeper.add = lambda self, square: os._exit(9) if self.num == 7 else add(self, square)\n"
        "read_images(sys.argv[1], image_size=16)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(folder)], check=False).returncode == 9
    (stray,) = cache.place_of(folder, 16, "crop").iterdir()
    assert read_images(folder, image_size=16).num_decoded == 12 and stray.exists(), "it could be another process's"
    os.utime(stray, (0, 0))
    read_images(fill(tmp_path / "other", 1), image_size=16)
    assert not stray.exists() and read_images(folder, image_size=16).num_decoded == 0


# How much memory it takes

PROGRAM = """
import sys, threading, time
from pathlib import Path
from dcgan_core import runtime
runtime.host_memory = lambda: 3 * 2**18  # images may take a quarter of a megabyte
import torch
from dcgan_core.data import Batches, load_folder, maps
maps.CHUNK = 2**19
from dcgan_core.data.contact_sheet import contact_sheet, describe
from dcgan_core.data.folder import read_images
from dcgan_core.metrics import copies
from dcgan_core.metrics.copies import thumbnails_of_pixels
copies.CHUNK = 20
from dcgan_core.metrics.features import measure_pixels
from dcgan_core.metrics.general import general
from dcgan_core.runs.same_data import fingerprint

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

small, large = sys.argv[1:]
for folder in (small, small, large):  # the first two times for what is loaded and allocated once
    before, peak, done = anonymous(), [0.0], threading.Event()
    def watch():
        while not done.wait(0.002):
            peak[0] = max(peak[0], anonymous())
    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(2):  # the second time from the cache
        found = read_images(folder, image_size=128, progress=False)
        describe(found), contact_sheet(found)
        dataset = load_folder(folder, image_size=128, split="train", say=False)
        assert dataset.on_disk
        batches = Batches(dataset.images, batch_size=8, seed=0, on_disk=True)
        for step in range(batches.steps_per_epoch):
            batches(step)
        fingerprint(dataset)
        thumbnails_of_pixels(dataset.images, torch.randperm(len(dataset.images))[:500])
        held_out = load_folder(folder, image_size=128, split="test", say=False)
        measure_pixels(general(), held_out.images[:8])
    done.set(); watcher.join()
    print(len(found.names), found.pixels.nbytes / 2**20, peak[0] - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_does_not_grow_with_the_number_of_images(tmp_path, own_cache):
    """Mapped pages can be given back at any time; what counts is memory that no file is behind. About each image, a
    kilobyte or two are kept, its name included.
    """
    small, large = fill(tmp_path / "small", 100, size=4), fill(tmp_path / "large", 1_000, size=4)
    at_once = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(small), str(large)],
        env=os.environ | at_once,  # what is freed is given back to the system at once
        check=True,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    first, second, (_, many_pixels, much) = (
        [float(number) for number in line.split()] for line in done.stdout.splitlines()
    )
    assert many_pixels > 45 and second[1] < 5, "megabytes"
    assert much < max(first[2], second[2]) + 10


def test_decoding_waits_for_what_takes_the_images(tmp_path, own_cache, monkeypatch):
    """If writing is slow, the results of decoding must not pile up in memory."""
    folder = fill(tmp_path / "images", 200, size=4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    finished = []
    as_it_is = reading._attempt
    monkeypatch.setattr(
        reading, "_attempt", lambda source, name, **size: finished.append(name) or as_it_is(source, name, **size)
    )
    most, taken = 0, 0
    source = find_files(folder)
    for _ in reading._decoded(source, list(source.files), 8, "crop", False):
        taken += 1
        most = max(most, len(finished) - taken)
    assert taken == 200 and most <= reading.AHEAD


# The computer's memory


def test_the_memory_of_a_container_is_its_share(tmp_path):
    groups, root = tmp_path / "groups", tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "memory" / "c").mkdir(parents=True)
    groups.write_text("3:cpu,cpuacct:/a\n4:memory:/c\n0::/a/b\n")
    assert min(memory._limits(groups, root)) == 2**63
    (root / "a" / "b" / "memory.max").write_text("max\n")
    assert min(memory._limits(groups, root)) == 2**63
    for place, limit in (
        ("a/memory.max", 5_000),
        ("memory.max", 4_000),
        ("memory/c/memory.limit_in_bytes", 3_000),
        ("memory/memory.limit_in_bytes", 2_000),
    ):
        (root / place).write_text(f"{limit}\n")
        assert min(memory._limits(groups, root)) == limit
    assert memory._limits(tmp_path / "missing", root) == [2**63]


def test_the_checksum_of_a_run_s_images_is_that_of_all_their_pixels():
    """As runs of before have it: in one go."""
    images = torch.from_numpy(squares(2_500, channels=1)).expand(-1, 3, -1, -1)

    whole = xxhash.xxh3_64_hexdigest(images.contiguous().numpy().data)
    assert fingerprint(Dataset("images", images, None, ())) == {"num_images": 2_500, "pixels": whole}
