"""Several processes: a share of each batch and of the latents, averaged gradients, shared statistics; their start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from dcgan_core import iteration, losses, models, parallel
from dcgan_core import state as state_module
from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Batches, Dataset, glyphs
from dcgan_core.iteration import advance
from dcgan_core.runs import checkpoint
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.state import State, sample, start
from dcgan_core.steps import frozen
from dcgan_core.train import CHECKPOINT, load_state, read_metrics, resume, train

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")

# On a CPU, batch normalisation takes its statistics from a process's own rows, which makes several processes differ
# from one with all rows; so where the two are compared, it is taken out, or a double shares its statistics.
WITHOUT_NORM, SHARED_NORM = "without norm", "shared norm"
RESUME, WITHOUT_AVERAGING, DIES, COMPILED, OVERFLOWS = "resume", "without averaging", "dies", "compiled", "overflows"
CARD = "card"


def work(job: str, out: Path, config: Config, machine: Machine) -> None:
    """Trains or resumes in one process, and leaves what it then holds in a file."""
    letters = torch.from_numpy(glyphs.render(44, image_size=16).images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.parallel.DistributedDataParallel, "_sync_buffers", no_copies)
        if WITHOUT_NORM in job:
            for network in (models.Generator, models.Discriminator):
                patch.setattr(models, network.__name__, without_norm(network))
        if SHARED_NORM in job and machine.num_processes > 1:
            patch.setattr(parallel, "share_statistics", lambda network, machine: convert(network))
            patch.setattr(nn.SyncBatchNorm, "forward", shared_batch_norm)
            patch.setattr(nn.parallel.DistributedDataParallel, "_passing_sync_batchnorm_handle", lambda *_: None)
        if WITHOUT_AVERAGING in job:
            patch.setattr(parallel, "share_gradients", lambda networks, machine: networks)
        if DIES in job and machine.rank == 1:
            patch.setattr(Batches, "__call__", until_death(Batches.__call__))
        if COMPILED in job:
            patch.setattr(state_module, "COMPILER", "aot_eager")
            machine = replace(machine, compiled=True)
        if OVERFLOWS in job:
            machine = replace(machine, precision=torch.float16)
        if config.loss == "wasserstein-penalty":  # its random points are each process's own
            patch.setattr(iteration, "gradient_penalty", partial(losses.gradient_penalty, mix=torch.tensor(0.3)))
        settings = {"machine": machine, "dataset": Dataset("tiny", letters, None, ()), "progress": False}
        if RESUME in job:
            state = resume(out, total_images=config.total_images, **settings)
        else:
            state = train(config, out, **settings)
        if OVERFLOWS in job:
            overflow(state, machine)
    tensors = {name: value for name, value in state.tensors().items() if name != "torch_rng"}
    torch.save(tensors | {"dropout": torch.rand(4)}, f"{out}.process{machine.rank}.pt")


def no_copies(engine: nn.Module) -> None:
    raise AssertionError("buffers are copied between two passes of one update")


convert = nn.SyncBatchNorm.convert_sync_batchnorm


class SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; so is the gradient, as each process's part of it counts in all of them."""

    @staticmethod
    def forward(context, own: torch.Tensor) -> torch.Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def shared_batch_norm(self: nn.SyncBatchNorm, maps: torch.Tensor) -> torch.Tensor:
    """A double of `SyncBatchNorm.forward`, which refuses CPUs: the same statistics, written by their definitions."""
    if not self.training:
        return nn.functional.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
    size, places = maps.numel() // maps.shape[1] * dist.get_world_size(), (0, 2, 3)
    mean = SumOverProcesses.apply(maps.sum(places)) / size
    centred = maps - mean.view(1, -1, 1, 1)
    variance = SumOverProcesses.apply(centred.square().sum(places)) / size
    if self.track_running_stats:
        self.num_batches_tracked += 1
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * size / (size - 1), self.momentum)
    scale = self.weight * (variance + self.eps).rsqrt()
    return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def on_a_card(job: str, out: Path, config: Config, machine: Machine) -> None:
    """A pass of both networks, there and back, and a judgement, with the process's rows on the one card here."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    machine = replace(machine, device=torch.device("cuda", 0))
    state = start(config, machine)
    (rows,) = parallel.own_rows(16, 1, machine)
    latents = torch.randn(16, config.latent_size, generator=torch.Generator().manual_seed(1))[rows].cuda()
    logits = state.discriminator(state.generator(latents))
    logits.square().mean().backward()
    found = {}
    for name in ("generator", "discriminator"):
        network = getattr(state, name)
        for key, parameter in network.named_parameters():
            parallel.average(parameter.grad, machine)
            found[f"gradient of {name}.{key}"] = parameter.grad.clone()
        found |= {f"{name}.{key}": value.clone() for key, value in network.state_dict().items()}
    with frozen(state.discriminator):
        state.discriminator(state.generator(latents)).mean().backward()
    unmoved = state.discriminator.state_dict()
    assert all(torch.equal(value, found[f"discriminator.{key}"]) for key, value in unmoved.items())
    if machine.rank == 0:  # process 1 is not asked, and would not answer
        found["samples"] = sample(state.generator, latents[:4])
    torch.save({name: value.cpu() for name, value in found.items()}, f"{out}.process{machine.rank}.pt")


def until_death(call):
    """Batches as they are, until a process that asks for the sixth is killed."""

    def one(self, step: int) -> torch.Tensor:
        if step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(self, step)

    return one


def overflow(state: State, machine: Machine) -> None:
    """One more iteration, in which process 1 alone has images too bright for float16."""
    before = {name: value.clone() for name, value in state.discriminator.named_parameters()}
    scale = state.scaler.get_scale()
    real = torch.full((4, 1, 16, 16), 100_000.0 if machine.rank == 1 else 0.5)
    advance(state, real, machine)
    assert all(torch.equal(value, before[name]) for name, value in state.discriminator.named_parameters())
    assert state.scaler.get_scale() < scale


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
            (on_a_card if job == CARD else work)(job, Path(out), Config(**values), machine)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launch(jobs: list[tuple[str, Path, Config]], num_processes: int = 2) -> list[subprocess.Popen]:
    """Starts the processes as torchrun does, but without its half minute of patience at the end."""
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_parallel as t; t.main()"
    described = json.dumps([(job, str(out), config.to_dict()) for job, out, config in jobs])
    several = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
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


def weights_and_statistics(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in tensors.items() if not any(part in name for part in ("_rng", "dropout"))}


@pytest.fixture(scope="module")
def tiny(tiny_config) -> Config:
    lengths = {"total_images": 64, "log_every_images": 16, "sample_every_images": 64, "checkpoint_every_images": 32}
    return replace(tiny_config, dropout=0.0, **lengths)


GAMES = {
    "": {},
    " twice": {"discriminator_steps": 2},
    " penalty": {"loss": "wasserstein-penalty", "discriminator_norm": "layer", "discriminator_steps": 2},
    " spectral": {"loss": "hinge", "discriminator_norm": "none", "spectral_norm": True, "minibatch_std": True},
    " paired": {
        "loss": "relativistic",
        "r1_gamma": 1.0,
        "r2_gamma": 1.0,
        "gamma_final_share": 0.1,
        "discriminator_norm": "none",
        "rate_schedule": "cosine",
        "discriminator_steps": 2,
    },
}


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory) -> Path:
    """The runs of one process, made here, and those of two, all made by one pair since starting is slow."""
    folder = tmp_path_factory.mktemp("runs")
    half, noisy = replace(tiny, total_images=32), replace(tiny, dropout=0.3)
    alone, jobs = machine(0, 1), []
    for name, changes in GAMES.items():
        game = replace(tiny, **changes)
        work(WITHOUT_NORM, folder / f"one{name}", game, alone)
        jobs += [(WITHOUT_NORM, folder / f"two{name}", game)]
    work("", folder / "one with norm", tiny, alone)
    work(WITHOUT_NORM, folder / "one then two", half, alone)
    jobs += [
        (WITHOUT_NORM + WITHOUT_AVERAGING, folder / "mutant", tiny),
        (SHARED_NORM, folder / "two with shared norm", tiny),
        ("", folder / "two with own norm", tiny),
        (WITHOUT_NORM, folder / "two then one", half),
        (WITHOUT_NORM + RESUME, folder / "one then two", tiny),
        (OVERFLOWS, folder / "overflow", half),
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


def assert_same_steps(one: Path, other: Path, ranks: tuple[int, ...] = (0, 1), kept=weights) -> None:
    for rank in ranks:
        torch.testing.assert_close(kept(result(other, rank)), kept(result(one)), rtol=1e-3, atol=1e-5)
    keys = ("images", "discriminator_loss", "generator_loss")
    lines = [torch.tensor([[line[key] for key in keys] for line in read_metrics(run)]) for run in (one, other)]
    torch.testing.assert_close(*lines, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_two_processes_take_the_steps_of_one_with_the_same_batch(folder, game):
    """Whatever is played: two passes of one network before a backward pass, several turns, a gradient of a gradient."""
    assert_same_steps(folder / f"one{game}", folder / f"two{game}")


@pytest.mark.slow
def test_mutant_that_does_not_average_gradients_is_caught(folder):
    with pytest.raises(AssertionError):
        assert_same_steps(folder / "one", folder / "mutant")


@pytest.mark.slow
def test_with_shared_statistics_two_processes_equal_one_in_batch_normalisation_too(folder):
    """The running statistics as well, which must stand still while the discriminator judges in the generator's turn."""
    assert_same_steps(folder / "one with norm", folder / "two with shared norm", kept=weights_and_statistics)
    with pytest.raises(AssertionError):  # as on a CPU, where each process has its own
        assert_same_steps(folder / "one with norm", folder / "two with own norm", kept=weights)


@pytest.mark.slow
def test_gradients_that_overflow_in_one_process_leave_out_the_step_in_all(folder):
    """The process asserts it; afterwards, all are at the same place."""
    first, second = (weights(result(folder / "overflow", rank)) for rank in (0, 1))
    assert_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ranks"), [("one then two", (0, 1)), ("two then one", (0,))])
def test_a_run_resumes_with_another_number_of_processes(folder, name, ranks):
    assert_same_steps(folder / "one", folder / name, ranks)


@pytest.mark.slow
def test_a_run_with_a_killed_process_ends_at_once_and_resumes_with_more_of_them(tiny, tmp_path):
    config = replace(tiny, batch_size=12, total_images=120, log_every_images=60, checkpoint_every_images=36)
    work(WITHOUT_NORM, tmp_path / "one", config, machine(0, 1))
    begin = time.monotonic()
    (code, errors), (killed, _) = finish(launch([(WITHOUT_NORM + DIES, tmp_path / "run", config)]))
    assert code == 1 and killed == -signal.SIGKILL, errors
    assert time.monotonic() - begin < 100  # not the hour that a process waits for another one that is busy
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT)[1]["step"] == 3
    for code, errors in finish(launch([(WITHOUT_NORM + RESUME, tmp_path / "run", config)], num_processes=3)):
        assert code == 0, errors
    assert_same_steps(tmp_path / "one", tmp_path / "run", ranks=(0, 1, 2))


@pytest.mark.slow
def test_compiled_networks_share_gradients_too(tiny, tmp_path, folder):
    for code, errors in finish(launch([(WITHOUT_NORM + COMPILED, tmp_path / "compiled", tiny)])):
        assert code == 0, errors
    assert_same_steps(folder / "one", tmp_path / "compiled")


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
        assert "Stopped" in errors and "Connection" not in errors, errors
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


@pytest.mark.slow
def test_two_computers_train_one_run(tiny_config, folder, tmp_path):
    """Two calls of torchrun that meet at an address, as on two computers; only the first process writes."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    command += ["--rdzv-backend=c10d", f"--rdzv-endpoint={address}", "--rdzv-id=test", "-m", "dcgan_core"]
    flags = ["--data", tiny_config.data, "--image-size", "16", "--latent-size", "8", "--generator-width", "4"]
    flags += ["--discriminator-width", "4", "--batch-size", "8", "--total-images", "64", "--device", "cpu"]
    computers = [
        subprocess.Popen(
            [*command, "train", *flags, "--out", str(tmp_path / "run")],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        said = [computer.communicate(timeout=240) for computer in computers]
    finally:
        for computer in computers:
            computer.kill()
    assert [computer.returncode for computer in computers] == [0, 0], said
    assert sum(out.count("done: ") for out, _ in said) == 1
    assert load_state(tmp_path / "run").images == 64


@pytest.mark.gpu
@pytest.mark.slow
def test_on_a_gpu_batch_statistics_are_those_of_the_whole_batch(tiny, tmp_path):
    """PyTorch's own layers. Both processes use one card and talk by gloo, for NCCL wants a card for each of them."""
    on_a_card(CARD, tmp_path / "one", tiny, machine(0, 1))
    for code, errors in finish(launch([(CARD, tmp_path / "two", tiny)])):
        assert code == 0, errors
    one = result(tmp_path / "one")
    for rank in (0, 1):
        found = result(tmp_path / "two", rank)
        torch.testing.assert_close(found, {name: one[name] for name in found}, rtol=1e-3, atol=1e-5)


def command_line(tmp_path: Path, patience: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
    """What one process alone says that is told to train by the command line."""
    program = (
        "import sys; from datetime import timedelta; from dcgan_core import cli, parallel;"
        f"parallel.JOINING = timedelta(seconds={patience}); sys.exit(cli.main())"
    )
    without = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return subprocess.run(
        [sys.executable, "-c", program, "train", "--device", "cpu", "--out", str(tmp_path / "run")],
        env=without | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_one_sentence(answer: subprocess.CompletedProcess[str], out: Path, *parts: str) -> None:
    lines = [line for line in answer.stderr.splitlines() if not line.startswith("[W")]  # of the library below torch
    assert answer.returncode == 2 and len(lines) == 1 and lines[0].startswith("error: "), answer.stderr
    assert all(part in lines[0] for part in parts), lines[0]
    assert not out.exists()


@pytest.mark.slow
def test_a_process_that_waits_in_vain_says_for_whom(tmp_path):
    meeting = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    first = command_line(tmp_path, patience=2, RANK="0", **meeting)  # the store is here, but nobody comes
    assert_one_sentence(first, tmp_path / "run", "process 0 of 3", "waited 0.0333333 minutes for 1, 2:", "--nnodes")
    last = command_line(tmp_path, patience=2, RANK="2", **meeting)  # no store
    assert_one_sentence(last, tmp_path / "run", "process 2 of 3", f"127.0.0.1:{meeting['MASTER_PORT']}", "process 0")


@pytest.mark.slow
def test_a_rank_that_makes_no_sense_trains_nothing(tmp_path):
    assert_one_sentence(command_line(tmp_path, RANK="1"), tmp_path / "run", "RANK=1", "torchrun")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "MASTER_ADDR is '', MASTER_PORT is ''"),
        ({"MASTER_ADDR": "127.0.0.1"}, "MASTER_PORT is ''"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "http"}, "MASTER_PORT is 'http'"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}, "MASTER_PORT is '0'"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "65536"}, "MASTER_PORT is '65536'"),
    ],
)
def test_a_process_without_a_meeting_point_is_one_sentence(monkeypatch, variables, said):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(parallel.NotJoined, match=said), parallel.joined(machine(1, 2)):
        pass


def machine(rank: int, num_processes: int, device: str = "cpu") -> Machine:
    return Machine(torch.device(device), torch.float32, "a test", rank=rank, num_processes=num_processes)


@pytest.mark.parametrize(("num_processes", "num_parts"), [(1, 3), (2, 1), (2, 3), (4, 2)])
def test_the_shares_of_all_processes_make_up_each_part_of_the_batch(num_processes, num_parts):
    images = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1)
    whole, size = Batches(images, batch_size=num_parts * 8, seed=1), num_parts * 8
    owns = [parallel.own_rows(size, num_parts, machine(rank, num_processes)) for rank in range(num_processes)]
    for step in (0, 3, 7):  # also in a later epoch
        shares = [Batches(images, batch_size=size, seed=1, own=own)(step) for own in owns]
        assert {len(share) for share in shares} == {size // num_processes}
        for number, part in enumerate(whole(step).chunk(num_parts)):
            pieces = [share.chunk(num_parts)[number] for share in shares]
            assert torch.equal(torch.cat(pieces), part)


def test_on_gpus_batch_normalisation_shares_its_statistics_under_the_same_names(tiny_config):
    plain, kept = models.build(tiny_config), models.build(tiny_config)
    for network, other in zip(plain, kept, strict=True):
        other.load_state_dict(network.state_dict())
        parameters = list(network.parameters())
        parallel.share_statistics(network, machine(0, 2, "cuda"))
        norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        assert norms and all(isinstance(part, nn.SyncBatchNorm) for part in norms)
        assert all(one is two for one, two in zip(network.parameters(), parameters, strict=True))
        assert list(network.state_dict()) == list(other.state_dict())
        assert_equal(network.state_dict(), other.state_dict())
    latents = torch.randn(3, tiny_config.latent_size)
    torch.testing.assert_close(plain[0].eval()(latents), kept[0].eval()(latents))


@pytest.mark.parametrize(("num_processes", "device"), [(1, "cuda"), (2, "cpu")])
def test_one_process_and_cpus_keep_their_own_statistics(tiny_config, num_processes, device):
    generator, _ = models.build(tiny_config)
    parallel.share_statistics(generator, machine(0, num_processes, device))
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in generator.modules())


def test_samples_come_from_networks_that_talk_to_nobody(tiny_config, monkeypatch):
    """The average, whose statistics are averages already, stays as it was; the generator is asked in eval mode."""
    monkeypatch.setattr(parallel, "share_statistics", lambda network, machine: convert(network))
    state = start(tiny_config, machine(0, 2))
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in state.average.modules())
    assert any(isinstance(part, nn.SyncBatchNorm) for part in state.generator.modules())

    def alone(*arguments) -> None:
        raise AssertionError("process 0 would wait for the others")

    monkeypatch.setattr(nn.modules.batchnorm.sync_batch_norm, "apply", alone)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    latents = torch.randn(3, tiny_config.latent_size)
    for network in (state.average, state.generator):
        assert sample(network, latents).shape == (3, 1, 16, 16)
    with pytest.raises(ValueError, match="SyncBatchNorm expected input tensor to be on GPU"):
        state.generator(latents)  # in train mode, it does talk, and refuses a CPU


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
