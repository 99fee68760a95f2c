"""A run: what it leaves behind, and that stopping and resuming equals never having stopped."""

from __future__ import annotations

import copy
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace

import pytest
import torch

from dcgan_core import state as state_module
from dcgan_core import train as training
from dcgan_core.config import Config, InvalidInput
from dcgan_core.losses import GAMES
from dcgan_core.runs import checkpoint, journal
from dcgan_core.runtime import choose_machine
from dcgan_core.train import Diverged, State, draw_latents, load_state, read_config, read_metrics, resume, sample, train


def assert_same_state(first: State, second: State) -> None:
    expected, found = first.tensors(), second.tensors()
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert first.step == second.step


@pytest.fixture
def settings(cpu, tiny_dataset):
    return {"machine": cpu, "dataset": tiny_dataset, "progress": False}


def test_a_run_folder_holds_config_provenance_metrics_samples_and_checkpoint(tiny_config, settings, tmp_path):
    state = train(tiny_config, tmp_path / "run", **settings)
    assert state.step == tiny_config.total_steps == 20
    assert read_config(tmp_path / "run") == tiny_config
    (provenance,) = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert provenance["torch"] == torch.__version__
    assert provenance.keys() >= {"python", "device", "precision", "started", "dcgan_core"}
    images = [line["images"] for line in read_metrics(tmp_path / "run")]
    assert images == [40, 48, 80, 96, 120, 144, 160]  # every 40 for the log, every 48 for a checkpoint
    names = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert names == ["000000000.png", "000000080.png", "000000160.png"]
    assert_same_state(load_state(tmp_path / "run", settings["machine"]), state)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_config, settings, tmp_path):
    first = train(tiny_config, tmp_path / "first", **settings)
    torch.randn(7)  # whatever happened before must not matter
    assert_same_state(first, train(tiny_config, tmp_path / "second", **settings))
    other = train(replace(tiny_config, seed=1), tmp_path / "other", **settings)
    assert not torch.equal(other.tensors()["latent_rng"], first.tensors()["latent_rng"])
    assert not torch.equal(next(other.generator.parameters()), next(first.generator.parameters()))


def test_progress_and_sampling_do_not_change_the_outcome(tiny_config, settings, tmp_path):
    quiet = train(tiny_config, tmp_path / "quiet", **settings)
    often = replace(tiny_config, sample_every_images=8, log_every_images=8)
    busy = train(often, tmp_path / "busy", **settings)
    assert_same_state(quiet, busy)


@pytest.mark.parametrize("halflife", [0, 50])
def test_resuming_equals_never_having_stopped(tiny_config, settings, tmp_path, halflife):
    config = replace(tiny_config, ema_halflife_images=halflife)
    whole = train(config, tmp_path / "whole", **settings)
    train(replace(config, total_images=72), tmp_path / "parts", **settings)
    assert_same_state(resume(tmp_path / "parts", total_images=160, **settings), whole)
    assert len(json.loads((tmp_path / "parts" / "provenance.json").read_text())) == 2


def test_forgetting_adams_moments_is_noticed(tiny_config, settings, tmp_path):
    """The mutant of the test above: a checkpoint with the moments of a fresh Adam does not give the same weights."""
    whole = train(tiny_config, tmp_path / "whole", **settings)
    half = train(replace(tiny_config, total_images=72), tmp_path / "parts", **settings)
    kept = {name: value * ("_optimizer." not in name) for name, value in half.tensors().items()}
    checkpoint.save(
        tmp_path / "parts" / training.CHECKPOINT, kept, {"step": half.step, "config": half.config.to_dict()}
    )
    resumed = resume(tmp_path / "parts", total_images=160, **settings)
    with pytest.raises(AssertionError):
        assert_same_state(resumed, whole)


def test_lines_written_after_the_checkpoint_are_written_again_and_not_twice(tiny_config, settings, tmp_path):
    train(replace(tiny_config, total_images=96), tmp_path / "run", **settings)
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write('{"images": 120, "seconds": 1.0}\n{"images": 1')  # a kill after the checkpoint, in a line
    resume(tmp_path / "run", total_images=160, **settings)
    assert [line["images"] for line in read_metrics(tmp_path / "run")] == [40, 48, 80, 96, 120, 144, 160]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dcgan_core", *map(str, arguments)]


def flags(config: Config) -> list[str]:
    found = []
    for name, value in config.to_dict().items():
        name = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{name}" if value else f"--no-{name}")
        else:
            found += [f"--{name}", *value] if isinstance(value, tuple) else [f"--{name}", str(value)]
    return found


@pytest.mark.slow
def test_a_run_that_is_interrupted_and_then_killed_resumes_to_the_same_weights(tiny_config, tmp_path):
    """Real processes with torch's own number of threads: Ctrl-C first, then a kill, each at a random moment."""
    config = replace(tiny_config, total_images=4_000, checkpoint_every_images=400, sample_every_images=4_000)
    subprocess.run(command("train", *flags(config), "--out", tmp_path / "whole"), check=True, capture_output=True)
    whole = load_state(tmp_path / "whole")

    process = subprocess.Popen(
        command("train", *flags(config), "--out", tmp_path / "parts"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    rng = random.Random(0)
    stopped = 0
    for number in (signal.SIGINT, signal.SIGKILL):
        seen = len(read_metrics(tmp_path / "parts"))
        while process.poll() is None and (
            len(read_metrics(tmp_path / "parts")) < seen + 3 or not (tmp_path / "parts" / training.CHECKPOINT).exists()
        ):
            time.sleep(0.02)  # until it trains again and has something to go on from
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        stopped += 1
        assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
        assert b"Traceback" not in errors
        process = subprocess.Popen(
            command("resume", tmp_path / "parts"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    assert stopped >= 1
    assert_same_state(load_state(tmp_path / "parts"), whole)
    images = [line["images"] for line in read_metrics(tmp_path / "parts")]
    assert images == sorted(set(images))
    assert set(images) >= {line["images"] for line in read_metrics(tmp_path / "whole")}


@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint_from_before(
    tiny_config, settings, tmp_path, monkeypatch, player, value
):
    train(replace(tiny_config, total_images=48), tmp_path / "run", **settings)
    before = (tmp_path / "run" / training.CHECKPOINT).read_bytes()
    game = GAMES["non-saturating"]
    broken = game._replace(**{player: lambda *logits: getattr(game, player)(*logits) + value})
    monkeypatch.setitem(GAMES, "non-saturating", broken)
    with pytest.raises(Diverged, match="no longer finite"):
        resume(tmp_path / "run", total_images=160, **settings)
    assert (tmp_path / "run" / training.CHECKPOINT).read_bytes() == before
    assert load_state(tmp_path / "run", settings["machine"]).step == 6


def test_the_average_moves_by_the_stated_share_and_copies_the_count_of_batches():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    average = copy.deepcopy(network)
    for _ in range(3):
        network(torch.randn(8, 3))
    with torch.no_grad():
        network[0].weight += 1
    before = copy.deepcopy(average.state_dict())
    training.update_average(average, network, 0.75)
    after, target = average.state_dict(), network.state_dict()
    for name in ("0.weight", "1.running_mean", "1.running_var"):
        torch.testing.assert_close(after[name], 0.75 * before[name] + 0.25 * target[name])
    assert after["1.num_batches_tracked"] == 3


def test_the_average_forgets_the_untrained_weights_early(tiny_config, settings, tmp_path):
    """With a half-life far longer than the run, the warm-up alone must bring the average near the weights."""
    config = replace(tiny_config, ema_halflife_images=10**9, dropout=0.0)
    untrained = training.start(config, settings["machine"]).generator
    state = train(config, tmp_path / "run", **settings)
    networks = (untrained, state.generator, state.average)
    start, now, average = (torch.cat([weight.flatten() for weight in net.parameters()]) for net in networks)
    assert (average - now).norm() < 0.6 * (start - now).norm()


def test_sampling_leaves_the_generator_as_it_was_and_an_image_alone(tiny_config, settings, tmp_path):
    generator = train(tiny_config, tmp_path / "run", **settings).generator
    before = copy.deepcopy(generator.state_dict())
    latents = draw_latents(10, tiny_config.latent_size, seed=0)
    together = sample(generator, latents)
    alone = torch.cat([sample(generator, one) for one in latents.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert generator.training
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    generator.train()
    with torch.no_grad():  # the mutant: in train mode the company matters
        assert (generator(latents)[:5] - generator(latents[:5])).abs().max() > 1e-3


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tiny_config, settings, tmp_path):
    train(tiny_config, tmp_path / "run", **settings)
    with pytest.raises(InvalidInput, match="already holds a run:"):
        train(tiny_config, tmp_path / "run", **settings)
    with pytest.raises(InvalidInput, match="another config"):
        train(replace(tiny_config, seed=9), tmp_path / "run", **settings)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(InvalidInput, match="not an empty folder"):
        train(tiny_config, tmp_path / "full", **settings)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_a_run_can_be_made_longer_but_not_shorter(tiny_config, settings, tmp_path):
    train(tiny_config, tmp_path / "run", **settings)
    with pytest.raises(InvalidInput, match="already seen 160 images"):
        resume(tmp_path / "run", total_images=80, **settings)
    assert resume(tmp_path / "run", total_images=176, **settings).step == 22


def test_losses_are_read_once_per_interval_and_never_between(tiny_config, settings, tmp_path, host_reads):
    """On a GPU, each read waits until all that was launched is done. Sampling and saving read, too, but are rare."""
    config = replace(tiny_config, total_images=320, log_every_images=80, sample_every_images=1_000)
    with host_reads() as found:
        train(replace(config, checkpoint_every_images=320), tmp_path / "run", **settings)
    assert found.count("tolist") == len(read_metrics(tmp_path / "run")) == 4
    with host_reads() as twice:  # twice as many iterations between the logs: not one read more
        longer = replace(config, total_images=640, log_every_images=160, checkpoint_every_images=640)
        train(longer, tmp_path / "longer", **settings)
    assert sorted(twice) == sorted(found)


def test_float16_keeps_its_scale_in_the_checkpoint_and_leaves_out_a_step_that_overflows(
    tiny_config, settings, tmp_path
):
    settings["machine"] = choose_machine("cpu", "float16")
    whole = train(tiny_config, tmp_path / "whole", **settings)
    train(replace(tiny_config, total_images=72), tmp_path / "parts", **settings)
    tensors, _ = checkpoint.load(tmp_path / "parts" / training.CHECKPOINT)
    assert tensors["scaler.scale"] > 1 and tensors["scaler._growth_tracker"] > 0
    assert_same_state(resume(tmp_path / "parts", total_images=160, **settings), whole)

    before, scale = copy.deepcopy(whole.generator.state_dict()), whole.scaler.get_scale()
    whole.scaler.load_state_dict(whole.scaler.state_dict() | {"scale": 2.0**127})
    training.advance(whole, torch.zeros(8, 1, 16, 16), settings["machine"])
    assert whole.scaler.get_scale() < 2.0**127 and scale < 2.0**127
    changed = {name for name, value in whole.generator.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all("running_" in name or "num_batches" in name for name in changed), "a step was taken"


def test_float16_without_a_scaler_would_forget_small_gradients(tiny_config, settings):
    """The mutant: in float16, everything below 6e-8 is 0."""

    def share_of_zeros(scaled: bool) -> float:
        machine = choose_machine("cpu", "float16")
        state = training.start(tiny_config, machine)
        scaler = state.scaler if scaled else torch.amp.GradScaler(enabled=False)
        with machine.autocast():
            loss = 1e-7 * state.discriminator(state.generator(torch.randn(8, 8))).mean()
        scaler.scale(loss).backward()
        gradients = torch.cat([weight.grad.flatten() for weight in state.generator.parameters()])
        return float((gradients == 0).float().mean())

    assert share_of_zeros(scaled=True) < 0.1
    assert share_of_zeros(scaled=False) > 0.5


def test_a_float16_run_goes_on_in_float32_and_the_other_way_round(tiny_config, settings, tmp_path):
    half, full = choose_machine("cpu", "float16"), settings["machine"]
    train(replace(tiny_config, total_images=48), tmp_path / "run", **settings | {"machine": half})
    resume(tmp_path / "run", total_images=96, **settings)
    state = resume(tmp_path / "run", total_images=144, **settings | {"machine": half})
    assert state.step == 18 and state.scaler and full.scaler() is None


def test_what_has_no_effect_is_said_once_in_one_sentence(tiny_config, settings, tmp_path):
    config = replace(tiny_config, penalty_weight=5.0, clip_limit=0.1, total_images=16)
    with pytest.warns(UserWarning) as caught:
        train(config, tmp_path / "run", **settings)
    assert [str(warning.message) for warning in caught] == [
        "penalty_weight and clip_limit changed, but nothing in this run reads it."
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("loss", ["non-saturating", "wasserstein-penalty"])
def test_compiled_equals_eager_and_leaves_the_names_in_the_checkpoint(
    tiny_config, settings, tmp_path, loss, monkeypatch
):
    """With the compiler's front (tracing, and the backward pass cut from it), not its code generation."""
    monkeypatch.setattr(state_module, "COMPILER", "aot_eager")
    config = replace(tiny_config, loss=loss, discriminator_norm="layer", total_images=32, dropout=0.0)
    eager = train(config, tmp_path / "eager", **settings)
    machine = choose_machine("cpu", "float32", compiled=True)
    if loss == "wasserstein-penalty":
        with pytest.warns(UserWarning, match="cannot go through a compiled critic"):
            compiled = train(config, tmp_path / "compiled", **settings | {"machine": machine})
    else:
        compiled = train(config, tmp_path / "compiled", **settings | {"machine": machine})
    assert compiled.compiled.keys() == {"generator"} | ({"discriminator"} if loss == "non-saturating" else set())
    expected, found = eager.tensors(), compiled.tensors()
    assert expected.keys() == found.keys()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert_same_state(load_state(tmp_path / "compiled", settings["machine"]), compiled)


@pytest.mark.slow
@pytest.mark.skipif("DCGAN_PATIENT" not in os.environ, reason="generating the code takes minutes; set DCGAN_PATIENT=1")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_by_the_default_compiler_equals_eager(tiny_config, settings, tmp_path):
    config = replace(tiny_config, total_images=32, dropout=0.0)
    eager = train(config, tmp_path / "eager", **settings)
    machine = choose_machine("cpu", "float32", compiled=True)
    compiled = train(config, tmp_path / "compiled", **settings | {"machine": machine})
    torch.testing.assert_close(compiled.tensors(), eager.tensors(), atol=1e-4, rtol=1e-3)


class Board:
    """Stands in for TensorBoard's writer."""

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.scalars, self.grids, self.closed = folder, purge_step, [], [], False
        boards.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def add_image(self, name, image, step):
        self.grids.append((image.shape, step))

    def flush(self):
        pass

    def close(self):
        self.closed = True


boards: list[Board] = []


def test_tensorboard_gets_the_curves_and_the_grids_and_forgets_what_is_trained_again(
    tiny_config, settings, tmp_path, monkeypatch
):
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Board
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    boards.clear()
    train(replace(tiny_config, total_images=80), tmp_path / "run", tensorboard=True, **settings)
    resume(tmp_path / "run", total_images=160, tensorboard=True, **settings)
    first, second = boards
    assert (first.purge_step, second.purge_step) == (0, 80) and first.closed and second.closed
    lines = read_metrics(tmp_path / "run")
    for name in ("discriminator_loss", "generator_loss"):
        assert [(value, step) for key, value, step in first.scalars + second.scalars if key == name] == [
            (line[name], line["images"]) for line in lines
        ]
    assert first.grids + second.grids == [((3, 8 * 16, 8 * 16), images) for images in (0, 80, 160)]


def test_tensorboard_that_is_not_installed_is_one_sentence(tiny_config, settings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InvalidInput, match="pip install"):
        train(tiny_config, tmp_path / "run", tensorboard=True, **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples"])
def test_a_full_disk_is_one_sentence_and_keeps_the_last_checkpoint(tiny_config, settings, tmp_path, monkeypatch, name):
    train(replace(tiny_config, total_images=48), tmp_path / "run", **settings)
    before = (tmp_path / "run" / training.CHECKPOINT).read_bytes()

    def fail(path, *_, **__):
        if path.name == "metrics.jsonl" and name != path.name:  # `resume` writes it anew, before it trains
            return write_whole(path, *_)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_whole = journal.write_whole

    monkeypatch.setattr(journal, "add_line" if name == "metrics.jsonl" else "write_whole", fail)
    with pytest.raises(InvalidInput, match="No space left"):
        resume(tmp_path / "run", total_images=160, **settings)
    monkeypatch.undo()
    assert (tmp_path / "run" / training.CHECKPOINT).read_bytes() == before
    whole = train(tiny_config, tmp_path / "whole", **settings)
    assert_same_state(resume(tmp_path / "run", total_images=160, **settings), whole)


def test_a_run_killed_before_its_first_checkpoint_starts_again(tiny_config, settings, tmp_path):
    whole = train(tiny_config, tmp_path / "run", **settings)
    (tmp_path / "run" / training.CHECKPOINT).unlink()
    (tmp_path / "run" / "provenance.json").unlink()
    with pytest.warns(UserWarning, match="before its first checkpoint"):
        assert_same_state(resume(tmp_path / "run", **settings), whole)
    assert [line["images"] for line in read_metrics(tmp_path / "run")] == [40, 48, 80, 96, 120, 144, 160]


KILLS = """
import contextlib, json, os, random, shutil, signal, sys, time, warnings
from dataclasses import replace
from pathlib import Path
import torch
import torchvision.utils  # here, and not in every child
from dcgan_core.data import glyphs
from dcgan_core import train as training
from dcgan_core.config import Config
from dcgan_core.data import Dataset
from dcgan_core.metrics import examiner
from dcgan_core.runtime import choose_machine
from dcgan_core.train import BEST, CHECKPOINT, load_state, read_metrics, resume, train

torch.set_num_threads(1)  # a forked child has none of its parent's threads, and would wait for them for ever
warnings.simplefilter("ignore")  # "stopped before its first checkpoint"
training.NUM_WATCHED = examiner.NUM_JUDGED = 4
folder, num_kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(0)
config = Config(
    image_size=16, latent_size=4, generator_width=2, discriminator_width=2, dropout=0.3, batch_size=8,
    total_images=8 * 40, ema_halflife_images=50, log_every_images=16, sample_every_images=80,
    checkpoint_every_images=40, evaluate_every_images=64,
)

class Judge:
    def to(self, device):
        return self

    def report(self, images):
        distance = float((images.std() - 0.02).abs())
        return {"frechet_distance": distance, "classes_covered": 0, "recognised": 0.0, "num_samples": len(images)}

images = torch.from_numpy(glyphs.render(44, image_size=16).images)
settings = {
    "machine": choose_machine("cpu", "float32"), "dataset": Dataset("tiny", images, None, ()),
    "judge": Judge(), "progress": False,
}
begin = time.perf_counter()
whole = train(config, folder / "whole", **settings)
duration = time.perf_counter() - begin

def described(out):
    facts = [training.folder.checkpoint.load(out / name) for name in (CHECKPOINT, BEST)]
    lines = [{key: value for key, value in line.items() if key != "seconds"} for line in read_metrics(out)]
    return facts, lines

def same(first, second):
    (one, lines), (other, others) = first, second
    return lines == others and all(
        a[1] == b[1] and a[0].keys() == b[0].keys() and all(torch.equal(a[0][key], b[0][key]) for key in a[0])
        for a, b in zip(one, other)
    )

expected = described(folder / "whole")
finished, kills, number, steps = 0, 0, 0, []
while kills < num_kills or not finished:
    out = folder / f"run{number}"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if (out / "config.json").exists():
                resume(out, **settings)
            else:  # killed before the run had begun: nothing to lose
                shutil.rmtree(out, ignore_errors=True)
                train(config, out, **settings)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            os._exit(code)
    if kills < num_kills:
        time.sleep(rng.uniform(0, 0.5 * duration))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    if code:
        kills += 1
        steps.append(load_state(out, settings["machine"]).step if (out / CHECKPOINT).exists() else 0)
    else:
        assert same(described(out), expected), out
        finished, number, steps = finished + 1, number + 1, steps + [None]
for before, after in zip(steps, steps[1:]):
    assert None in (before, after) or after >= before, steps  # nothing that was saved is lost
print(kills, finished)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_of_50_kills_at_random_moments_none_loses_a_run(tmp_path):
    """Each time, the run goes on from its last checkpoint, and ends with the weights and lines of one left alone."""
    answer = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path), "50"], capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    kills, finished = map(int, answer.stdout.split())
    assert kills == 50 and finished >= 1


@pytest.mark.gpu
def test_training_on_a_gpu_learns_and_resumes(tiny_config, tiny_dataset, tmp_path):
    state = train(tiny_config, tmp_path / "run", dataset=tiny_dataset, progress=False)
    assert next(state.generator.parameters()).is_cuda
    longer = resume(tmp_path / "run", total_images=320, dataset=tiny_dataset, progress=False)
    assert longer.step == 40
