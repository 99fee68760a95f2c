"""A checkpoint is either the old one or the new one, and whatever else is refused in one sentence."""

from __future__ import annotations

import errno
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dcgan_core.config import InvalidInput
from dcgan_core.runs import checkpoint

TENSORS = {
    "weights": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "halves": torch.tensor([1.5, -0.25]).bfloat16(),
    "doubles": torch.tensor([1 / 3], dtype=torch.float64),
    "count": torch.tensor(7),
    "random numbers": torch.get_rng_state(),
    "nothing": torch.empty(0, 3),
    "mask": torch.tensor([True, False]),
}
FACTS = {"step": 3, "config": {"data": "Bücher", "rate": 2e-4}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


@pytest.fixture
def saved(path: Path) -> Path:
    checkpoint.save(path, TENSORS, FACTS)
    return path


def refusal(path: Path) -> str:
    """What is said about a file that cannot be loaded."""
    with pytest.raises(InvalidInput) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert repr(str(path)) in message and message.endswith(".") and "\n" not in message
    return message


def test_what_was_saved_is_loaded_with_every_type_and_shape(saved):
    tensors, facts = checkpoint.load(saved)
    assert facts == FACTS and tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)


def test_any_memory_layout_and_gradient_can_be_saved(path):
    image = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    shared = torch.arange(6)
    checkpoint.save(path, {"image": image, "transposed": shared.reshape(2, 3).T, "shared": shared}, {})
    tensors, _ = checkpoint.load(path)
    assert torch.equal(tensors["image"], image)
    assert tensors["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_saving_leaves_one_file(saved):
    checkpoint.save(saved, {}, {"step": 4})
    assert list(saved.parent.iterdir()) == [saved]
    assert checkpoint.load(saved) == ({}, {"step": 4})


def fail(error: int):
    def failing(*_, **__):
        raise OSError(error, os.strerror(error))

    return failing


class FullDisk:
    """A file that takes some bytes and then no more."""

    def __init__(self, file) -> None:
        self.file = file

    def write(self, content: bytes) -> None:
        self.file.write(content[:100])
        self.file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.file.close()


def break_write(patch: pytest.MonkeyPatch) -> None:
    fdopen = os.fdopen
    patch.setattr(os, "fdopen", lambda number, mode: FullDisk(fdopen(number, mode)))


def break_flush(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "fsync", fail(errno.ENOSPC))


def break_rename(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "replace", fail(errno.EIO))


def refuse_to_open(patch: pytest.MonkeyPatch, error: int) -> None:
    """New files cannot be made; others can still be read."""
    right = os.open

    def opening(path, flags, *rest, **named):
        if flags & os.O_CREAT:
            raise OSError(error, os.strerror(error))
        return right(path, flags, *rest, **named)

    patch.setattr(os, "open", opening)


def break_folder(patch: pytest.MonkeyPatch) -> None:
    refuse_to_open(patch, errno.EACCES)


def break_file_system(patch: pytest.MonkeyPatch) -> None:
    """One that is mounted read-only also refuses to remove what is not there."""
    refuse_to_open(patch, errno.EROFS)
    patch.setattr(os, "unlink", fail(errno.EROFS))
    patch.setattr(Path, "unlink", fail(errno.EROFS))


@pytest.mark.parametrize("break_it", [break_write, break_flush, break_rename, break_folder, break_file_system])
def test_a_save_that_fails_keeps_the_old_checkpoint_byte_for_byte(saved, monkeypatch, break_it):
    before = saved.read_bytes()
    with monkeypatch.context() as patch:
        break_it(patch)
        with pytest.raises(InvalidInput, match="could not be written") as caught:
            checkpoint.save(saved, {"weights": torch.ones(1000)}, {"step": 4})
    assert str(saved) in str(caught.value)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved], "something was left behind"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_keeps_the_old_checkpoint(saved):
    before = saved.read_bytes()
    saved.parent.chmod(0o555)
    try:
        with pytest.raises(InvalidInput, match="Permission denied"):
            checkpoint.save(saved, {}, {})
    finally:
        saved.parent.chmod(0o755)
    assert saved.read_bytes() == before


@pytest.mark.parametrize("below", ["missing/run", "file/run"])
def test_a_folder_that_is_not_there_is_one_sentence(tmp_path, below):
    (tmp_path / "file").write_text("a file where a folder is expected")
    with pytest.raises(InvalidInput, match="could not be written"):
        checkpoint.save(tmp_path / below, TENSORS, {})


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from dcgan_core.runs import checkpoint

torch.set_num_threads(1)  # a forked child has none of its parent's threads, and would wait for them for ever
path, num_kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(0)
checkpoint.save(path, {"filled": torch.full((1_000_000,), 0.0)}, {"number": 0})
numbers = []
for _ in range(num_kills):
    child = os.fork()
    if child == 0:
        try:
            number = checkpoint.load(path)[1]["number"]
            while True:
                number += 1
                checkpoint.save(path, {"filled": torch.full((1_000_000,), float(number))}, {"number": number})
        finally:
            os._exit(1)  # only a kill ends the loop
    time.sleep(0.02 + 0.1 * rng.random())
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    tensors, facts = checkpoint.load(path)
    assert (tensors["filled"] == facts["number"]).all()
    numbers.append(facts["number"])
print(*numbers)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_checkpoint(path):
    command = [sys.executable, "-c", KILLS, str(path), "20"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    numbers = list(map(int, answer.stdout.split()))
    assert len(numbers) == 20 and numbers == sorted(numbers) and numbers[-1] > 0


def test_a_missing_checkpoint_is_refused(path):
    assert "there is no checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "is damaged" in refusal(saved)


def test_every_flipped_bit_is_found_in_the_header_and_in_the_tensors(saved):
    content = saved.read_bytes()
    for position in range(0, len(content), 3):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            saved.write_bytes(damaged)
            refusal(saved)
    saved.write_bytes(content)
    assert checkpoint.load(saved)[1] == FACTS, "and nothing else is refused"


def test_without_the_checksum_flipped_bits_in_tensors_would_go_unseen(saved, monkeypatch):
    """The mutant of the test above."""
    monkeypatch.setattr(checkpoint, "_checksum", lambda content: b"0" * 16)
    checkpoint.save(saved, TENSORS, FACTS)
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    checkpoint.load(saved)


def test_the_checksum_costs_next_to_nothing(path):
    """XXH3 of as many bytes as a checkpoint has, in turns with saves; the disk decides most of a save's time."""
    tensors = {"weights": torch.randn(3_000_000)}
    checkpoint.save(path, tensors, FACTS)
    content = path.read_bytes()
    saves, checksums = [], []
    for _ in range(7):
        for found, work in (
            (saves, lambda: checkpoint.save(path, tensors, FACTS)),
            (checksums, lambda: digest(content)),
        ):
            begin = time.process_time()
            work()
            found.append(time.process_time() - begin)
    assert statistics.median(checksums) < 0.2 * statistics.median(saves)  # of the processor's time; 2% of the clock's


def digest(content: bytes) -> bytes:
    return checkpoint._checksum(content)


def test_a_checkpoint_from_before_there_was_a_checksum_can_be_read(path):
    save_with_header(path, version="1")
    assert checkpoint.load(path)[1] == FACTS


def test_files_of_another_kind_are_refused(path):
    path.write_text("no checkpoint at all")
    assert "is damaged or not a safetensors file" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "there is no checkpoint" in refusal(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_foreign_safetensors_file_is_refused(path, metadata):
    save_file({"weights": torch.ones(3)}, path, metadata=metadata)
    assert "not a checkpoint of dcgan_core" in refusal(path)


def save_with_header(path: Path, **header: str) -> None:
    full = {"format": checkpoint.FORMAT, "version": "1", "facts": json.dumps(FACTS)}
    save_file({"weights": torch.ones(3)}, path, metadata=full | header)


def test_a_checkpoint_of_the_future_is_refused(path):
    save_with_header(path, version=str(checkpoint.VERSION + 1))
    assert "newer dcgan_core" in refusal(path)


@pytest.mark.parametrize(
    "header", [{"version": "second"}, {"version": "0"}, {"version": "2"}, {"facts": "{"}, {"facts": "[1]"}]
)
def test_a_header_that_makes_no_sense_is_refused(path, header):
    save_with_header(path, **header)
    assert "is damaged" in refusal(path)


class Trap:
    """Unpickling this would create a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))


@pytest.mark.parametrize("write", [lambda trap, path: torch.save(trap, path), None])
def test_nothing_is_ever_unpickled(path, tmp_path, write):
    proof = tmp_path / "proof"
    if write:
        write(Trap(proof), path)
    else:
        path.write_bytes(pickle.dumps(Trap(proof)))
    assert "is damaged" in refusal(path)
    assert not proof.exists()
    if not write:  # the trap works
        pickle.loads(path.read_bytes())
        assert proof.exists()


def test_a_copy_that_fails_keeps_what_was_there(saved, monkeypatch):
    best = saved.with_name("best")
    best.write_bytes(b"the best so far")
    with monkeypatch.context() as patch:
        break_rename(patch)
        with pytest.raises(InvalidInput, match="could not be written"):
            checkpoint.copy(saved, best)
    assert best.read_bytes() == b"the best so far"
    checkpoint.copy(saved, best)
    assert best.read_bytes() == saved.read_bytes()
