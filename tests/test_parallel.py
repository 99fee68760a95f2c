"""Several processes: the same batches and latents, a share of rows each, averaged gradients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcgan_core import parallel
from dcgan_core.config import Config, InvalidInput
from dcgan_core.runtime import Machine
from dcgan_core.train import CHECKPOINT, load_state, read_metrics

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")

# One process of several. Batch normalisation takes its statistics from a process's own rows, which makes it differ
# from one process with all rows, as the documentation says; so to compare the two, it is taken out of the networks.
PROCESS = """
import copy, json, sys, warnings
from pathlib import Path
import torch
from torch import nn
from dcgan_core import glyphs, models, parallel
from dcgan_core import train as training
from dcgan_core.config import Config
from dcgan_core.data import Batches, Dataset
from dcgan_core.runtime import choose_machine

torch.set_num_threads(1)
warnings.simplefilter("ignore")
job, out, config = sys.argv[1], Path(sys.argv[2]), Config(**json.loads(sys.argv[3]))
images = torch.from_numpy(glyphs.render(44, image_size=16).images)
machine = choose_machine("cpu", "float32")
settings = {"machine": machine, "dataset": Dataset("tiny", images, None, ()), "progress": False}

if "without-norm" in job:
    for name in ("Generator", "Discriminator"):
        class WithoutNorm(getattr(models, name)):
            def __init__(self, **options):
                super().__init__(**options)
                self.layers = nn.Sequential(*(part for part in self.layers if not isinstance(part, nn.BatchNorm2d)))
        setattr(models, name, WithoutNorm)
if "forget-to-average" in job:
    parallel.average = lambda tensors, machine: None

with parallel.joined(machine):
    if "resume" in job:
        state = training.resume(out, total_images=config.total_images, **settings)
    else:
        state = training.train(config, out, **settings)
    own = {name: value for name, value in state.tensors().items() if name != "torch_rng"}
    dropout = torch.rand(4)
torch.save({"tensors": own, "dropout": dropout}, str(out) + f".process{machine.rank}.pt")
"""


def launch(job: str, out: Path, config: Config, num_processes: int) -> list[subprocess.Popen]:
    """Starts the processes as torchrun does, but without its half minute of patience at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", PROCESS, job, str(out), json.dumps(config.to_dict())]
    several = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)} | several,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_processes)
    ]


def finish(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """The exit code of each process and what it complained about."""
    try:
        complaints = [process.communicate(timeout=240)[1] for process in processes]
        return [(process.returncode, text) for process, text in zip(processes, complaints, strict=True)]
    finally:
        for process in processes:
            process.kill()


def run(job: str, out: Path, config: Config, num_processes: int) -> list[dict]:
    """What each process holds at the end: {"tensors", "dropout"}."""
    for code, errors in finish(launch(job, out, config, num_processes)):
        assert code == 0, errors
    return [torch.load(f"{out}.process{rank}.pt", weights_only=True) for rank in range(num_processes)]


def weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    random = ("latent_rng", "torch_rng")
    return {name: value for name, value in tensors.items() if name not in random and not is_statistic(name)}


def is_statistic(name: str) -> bool:
    return "running_" in name or "num_batches" in name


@pytest.fixture
def config(tiny_config) -> Config:
    return replace(tiny_config, dropout=0.0, total_images=64, checkpoint_every_images=32)


def assert_two_equal_one(config: Config, folder: Path, job: str = "without-norm") -> None:
    (one,) = run("without-norm", folder / "one", config, 1)
    two = run(job, folder / "two", config, 2)
    for found in two:
        torch.testing.assert_close(weights(found["tensors"]), weights(one["tensors"]), rtol=1e-3, atol=1e-5)
    lines = [
        [(line["images"], line["discriminator_loss"], line["generator_loss"]) for line in read_metrics(folder / name)]
        for name in ("one", "two")
    ]
    torch.testing.assert_close(torch.tensor(lines[0]), torch.tensor(lines[1]), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("num_updates", [1, 2])
def test_two_processes_take_the_steps_of_one_with_the_same_batch(config, tmp_path, num_updates):
    assert_two_equal_one(replace(config, discriminator_steps=num_updates), tmp_path)


@pytest.mark.slow
def test_mutant_that_does_not_average_gradients_is_caught(config, tmp_path):
    with pytest.raises(AssertionError):
        assert_two_equal_one(config, tmp_path, "without-norm forget-to-average")


@pytest.mark.slow
def test_all_processes_hold_the_same_weights_and_draw_other_dropout(tiny_config, tmp_path):
    """With batch normalisation and dropout; the statistics are each process's own, and process 0's are saved."""
    config = replace(tiny_config, total_images=64)
    first, second = run("", tmp_path / "run", config, 2)
    one, two = weights(first["tensors"]), weights(second["tensors"])
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert torch.equal(first["tensors"]["latent_rng"], second["tensors"]["latent_rng"])
    assert not torch.equal(first["dropout"], second["dropout"])
    name = "generator.layers.2.running_mean"
    assert not torch.equal(first["tensors"][name], second["tensors"][name])
    assert torch.equal(load_state(tmp_path / "run").tensors()[name], first["tensors"][name])


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_resumes_with_another_number_of_processes(config, tmp_path, before, after):
    (whole,) = run("without-norm", tmp_path / "whole", config, 1)
    run("without-norm", tmp_path / "run", replace(config, total_images=32), before)
    for found in run("without-norm resume", tmp_path / "run", config, after):
        torch.testing.assert_close(weights(found["tensors"]), weights(whole["tensors"]), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_resuming_in_as_many_processes_equals_never_having_stopped(tiny_config, tmp_path):
    """Every process's random numbers (dropout) are in the checkpoint."""
    config = replace(tiny_config, total_images=64)
    whole = run("", tmp_path / "whole", config, 2)
    run("", tmp_path / "run", replace(config, total_images=32), 2)
    for expected, found in zip(whole, run("resume", tmp_path / "run", config, 2), strict=True):
        one, two = weights(expected["tensors"]), weights(found["tensors"])
        assert [name for name in one if not torch.equal(one[name], two[name])] == []
        assert torch.equal(expected["dropout"], found["dropout"])


@pytest.mark.slow
def test_an_interruption_of_one_process_stops_all_in_the_same_iteration(config, tmp_path):
    long = replace(config, total_images=800_000, checkpoint_every_images=800_000, log_every_images=80)
    processes = launch("", tmp_path / "run", long, 2)
    until = time.monotonic() + 120
    while not read_metrics(tmp_path / "run") and time.monotonic() < until:
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGINT)
    processes[1].send_signal(signal.SIGTERM)  # as torchrun passes it on
    for _, errors in finish(processes):
        assert "KeyboardInterrupt" in errors and "Connection" not in errors, errors
    stopped = load_state(tmp_path / "run")
    assert 0 < stopped.images < 800_000
    assert read_metrics(tmp_path / "run")[-1]["images"] == stopped.images


@pytest.mark.slow
def test_a_mistake_of_the_user_is_told_to_all_processes(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    for code, errors in finish(launch("", tmp_path / "run", config, 2)):
        assert code == 1 and "is not an empty folder" in errors


@pytest.mark.slow
def test_torchrun_starts_the_command_line_and_one_process_speaks(tiny_config, tmp_path):
    flags = ["--data", tiny_config.data, "--image-size", "16", "--latent-size", "8", "--generator-width", "4"]
    flags += ["--discriminator-width", "4", "--batch-size", "8", "--total-images", "64", "--device", "cpu"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "dcgan_core"]
    answer = subprocess.run(
        [*command, "train", *flags, "--out", str(tmp_path / "run")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("2 processes") == 1 and answer.stdout.count("done: ") == 1
    assert (tmp_path / "run" / CHECKPOINT).exists()


def machine(rank: int, num_processes: int) -> Machine:
    return Machine(torch.device("cpu"), torch.float32, "a test", rank=rank, num_processes=num_processes)


@pytest.mark.parametrize(("num_processes", "num_parts"), [(1, 3), (2, 1), (2, 3), (4, 2)])
def test_the_shares_of_all_processes_make_up_each_part_of_the_batch(num_processes, num_parts):
    rows = torch.arange(num_parts * 8 * 5).reshape(num_parts * 8, 5)
    shares = [parallel.share(rows, machine(rank, num_processes), num_parts) for rank in range(num_processes)]
    for number, part in enumerate(rows.chunk(num_parts)):
        pieces = [share.chunk(num_parts)[number] for share in shares]
        assert torch.equal(torch.cat(pieces), part)


@pytest.mark.parametrize(("batch_size", "num_processes"), [(8, 3), (8, 8), (9, 2)])
def test_a_batch_that_cannot_be_shared_is_one_sentence(tiny_config, batch_size, num_processes):
    with pytest.raises(InvalidInput, match=rf"batch_size is {batch_size}.*{num_processes} processes.*multiple"):
        parallel.check(replace(tiny_config, batch_size=batch_size), machine(0, num_processes))
    parallel.check(replace(tiny_config, batch_size=2 * num_processes), machine(0, num_processes))


def test_with_one_process_nothing_is_exchanged():
    alone = machine(0, 1)
    with parallel.joined(alone):
        assert not torch.distributed.is_initialized()
        assert parallel.gather("one", alone) == ["one"] and parallel.anywhere(True, alone)
        assert parallel.first_then_others(alone, max, 1, 2) == 2
