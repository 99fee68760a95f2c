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
from torch import nn

from dcgan_core import models, parallel
from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Dataset, glyphs
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.train import CHECKPOINT, load_state, read_metrics, resume, train

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")

# Batch normalisation takes its statistics from a process's own rows, which makes several processes differ from one with
# all rows, as the documentation says; so where the two are compared, it is taken out of the networks.
WITHOUT_NORM, RESUME, WITHOUT_AVERAGING = "without norm", "resume", "without averaging"


def work(job: str, out: Path, config: Config, machine: Machine) -> None:
    """Trains or resumes in one process, and leaves what it then holds in a file."""
    letters = torch.from_numpy(glyphs.render(44, image_size=16).images)
    settings = {"machine": machine, "dataset": Dataset("tiny", letters, None, ()), "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        if WITHOUT_NORM in job:
            for network in (models.Generator, models.Discriminator):
                patch.setattr(models, network.__name__, without_norm(network))
        if WITHOUT_AVERAGING in job:
            patch.setattr(parallel, "average", lambda tensors, machine: None)
        if RESUME in job:
            state = resume(out, total_images=config.total_images, **settings)
        else:
            state = train(config, out, **settings)
    tensors = {name: value for name, value in state.tensors().items() if name != "torch_rng"}
    torch.save(tensors | {"dropout": torch.rand(4)}, f"{out}.process{machine.rank}.pt")


def without_norm(network: type[nn.Module]) -> type[nn.Module]:
    class WithoutNorm(network):
        def __init__(self, **options) -> None:
            super().__init__(**options)
            self.layers = nn.Sequential(*(part for part in self.layers if not isinstance(part, nn.BatchNorm2d)))

    return WithoutNorm


def main() -> None:
    """One process of several: does all the jobs, one after the other."""
    torch.set_num_threads(1)
    machine = choose_machine("cpu", "float32")
    with parallel.joined(machine):
        for job, out, values in json.loads(sys.argv[1]):
            work(job, Path(out), Config(**values), machine)


def launch(jobs: list[tuple[str, Path, Config]], num_processes: int = 2) -> list[subprocess.Popen]:
    """Starts the processes as torchrun does, but without its half minute of patience at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_parallel as t; t.main()"
    described = json.dumps([(job, str(out), config.to_dict()) for job, out, config in jobs])
    several = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, "-c", program, described],
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


def weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights and what belongs to them; not the statistics of batch normalisation, nor random numbers."""
    others = ("_rng", "dropout", "running_", "num_batches")
    return {name: value for name, value in tensors.items() if not any(part in name for part in others)}


@pytest.fixture(scope="module")
def tiny(tiny_config) -> Config:
    lengths = {"total_images": 64, "log_every_images": 16, "sample_every_images": 64, "checkpoint_every_images": 32}
    return replace(tiny_config, dropout=0.0, **lengths)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory) -> Path:
    """The runs of one process, made here, and those of two, all made by one pair since starting is slow."""
    folder = tmp_path_factory.mktemp("runs")
    half, twice = replace(tiny, total_images=32), replace(tiny, discriminator_steps=2)
    means = {"loss": "relativistic", "r1_gamma": 1.0, "r2_gamma": 1.0, "gamma_final_share": 0.1}
    paired = replace(tiny, discriminator_norm="none", rate_schedule="cosine", discriminator_steps=2, **means)
    noisy = replace(tiny, dropout=0.3)
    alone = machine(0, 1)
    work(WITHOUT_NORM, folder / "one", tiny, alone)
    work(WITHOUT_NORM, folder / "one twice", twice, alone)
    work(WITHOUT_NORM, folder / "one paired", paired, alone)
    work(WITHOUT_NORM, folder / "one then two", half, alone)
    jobs = [
        (WITHOUT_NORM, folder / "two", tiny),
        (WITHOUT_NORM, folder / "two twice", twice),
        (WITHOUT_NORM, folder / "two paired", paired),
        (WITHOUT_NORM + WITHOUT_AVERAGING, folder / "mutant", tiny),
        (WITHOUT_NORM, folder / "two then one", half),
        (WITHOUT_NORM + RESUME, folder / "one then two", tiny),
        ("", folder / "noisy", noisy),
        ("", folder / "noisy halves", replace(noisy, total_images=32)),
        (RESUME, folder / "noisy halves", noisy),
    ]
    for code, errors in finish(launch(jobs)):
        assert code == 0, errors
    work(WITHOUT_NORM + RESUME, folder / "two then one", tiny, alone)
    return folder


def result(out: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return torch.load(f"{out}.process{rank}.pt", weights_only=True)


def assert_same_steps(one: Path, other: Path, ranks: tuple[int, ...] = (0, 1)) -> None:
    for rank in ranks:
        torch.testing.assert_close(weights(result(other, rank)), weights(result(one)), rtol=1e-3, atol=1e-5)
    keys = ("images", "discriminator_loss", "generator_loss")
    lines = [torch.tensor([[line[key] for key in keys] for line in read_metrics(run)]) for run in (one, other)]
    torch.testing.assert_close(*lines, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["", " twice", " paired"])
def test_two_processes_take_the_steps_of_one_with_the_same_batch(folder, suffix):
    assert_same_steps(folder / f"one{suffix}", folder / f"two{suffix}")


@pytest.mark.slow
def test_mutant_that_does_not_average_gradients_is_caught(folder):
    with pytest.raises(AssertionError):
        assert_same_steps(folder / "one", folder / "mutant")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ranks"), [("one then two", (0, 1)), ("two then one", (0,))])
def test_a_run_resumes_with_another_number_of_processes(folder, name, ranks):
    assert_same_steps(folder / "one", folder / name, ranks)


@pytest.mark.slow
def test_all_processes_hold_the_same_weights_and_draw_other_dropout(folder):
    """With batch normalisation and dropout; the statistics are each process's own, and process 0's are saved."""
    first, second = result(folder / "noisy", 0), result(folder / "noisy", 1)
    assert_equal(weights(first), weights(second))
    assert torch.equal(first["latent_rng"], second["latent_rng"])
    assert not torch.equal(first["dropout"], second["dropout"])
    name = "generator.layers.2.running_mean"
    assert not torch.equal(first[name], second[name])
    assert torch.equal(load_state(folder / "noisy").tensors()[name], first[name])


@pytest.mark.slow
def test_resuming_in_as_many_processes_equals_never_having_stopped(folder):
    """Every process's random numbers (dropout) are in the checkpoint."""
    for rank in (0, 1):
        whole, halves = result(folder / "noisy", rank), result(folder / "noisy halves", rank)
        assert_equal(weights(whole), weights(halves))
        assert torch.equal(whole["dropout"], halves["dropout"])


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.slow
def test_an_interruption_of_one_process_stops_all_in_the_same_iteration(tiny, tmp_path):
    long = replace(tiny, total_images=800_000, checkpoint_every_images=800_000, log_every_images=80)
    processes = launch([("", tmp_path / "run", long)])
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
def test_a_mistake_of_the_user_is_told_to_all_processes(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    for code, errors in finish(launch([("", tmp_path / "run", tiny)])):
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


def test_looking_ahead_is_refused_with_several_processes(tiny_config):
    with pytest.raises(InvalidInput, match=r"unrolled_steps is 2.*one process"):
        parallel.check(replace(tiny_config, unrolled_steps=2), machine(0, 2))
    parallel.check(replace(tiny_config, unrolled_steps=2), machine(0, 1))


def test_with_one_process_nothing_is_exchanged():
    alone = machine(0, 1)
    with parallel.joined(alone):
        assert not torch.distributed.is_initialized()
        assert parallel.gather("one", alone) == ["one"] and parallel.anywhere(True, alone)
        assert parallel.first_then_others(alone, max, 1, 2) == 2
