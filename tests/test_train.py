"""A run: what it leaves behind, and that stopping and resuming equals never having stopped."""

from __future__ import annotations

import copy
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from dcgan_core import checkpoint
from dcgan_core import state as state_module
from dcgan_core import train as training
from dcgan_core.config import Config, InvalidInput
from dcgan_core.losses import GAMES, Game
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
    """The mutant of the test above: a checkpoint without the optimizers' state does not give the same weights."""
    whole = train(tiny_config, tmp_path / "whole", **settings)
    half = train(replace(tiny_config, total_images=72), tmp_path / "parts", **settings)
    kept = {name: value for name, value in half.tensors().items() if "_optimizer." not in name}
    checkpoint.save(tmp_path / "parts" / training.CHECKPOINT, kept, {"step": half.step})
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
        found += [f"--{name}" if value else f"--no-{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_a_run_that_is_interrupted_or_killed_resumes_to_the_same_weights(tiny_config, tmp_path, number):
    """Real processes with torch's own number of threads; the signals come at random moments."""
    config = replace(tiny_config, total_images=8_000, checkpoint_every_images=400, sample_every_images=4_000)
    subprocess.run(command("train", *flags(config), "--out", tmp_path / "whole"), check=True, capture_output=True)
    whole = load_state(tmp_path / "whole")

    process = subprocess.Popen(
        command("train", *flags(config), "--out", tmp_path / "parts"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    rng = random.Random(number)
    stopped = 0
    for _ in range(3):
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


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint_from_before(
    tiny_config, settings, tmp_path, monkeypatch
):
    train(replace(tiny_config, total_images=48), tmp_path / "run", **settings)
    before = (tmp_path / "run" / training.CHECKPOINT).read_bytes()
    broken = Game(GAMES["non-saturating"].discriminator, lambda logits: logits.mean() * float("nan"))
    monkeypatch.setitem(state_module.GAMES, "non-saturating", broken)
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


@pytest.mark.gpu
def test_training_on_a_gpu_learns_and_resumes(tiny_config, tiny_dataset, tmp_path):
    state = train(tiny_config, tmp_path / "run", dataset=tiny_dataset, progress=False)
    assert next(state.generator.parameters()).is_cuda
    longer = resume(tmp_path / "run", total_images=320, dataset=tiny_dataset, progress=False)
    assert longer.step == 40
