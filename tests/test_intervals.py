"""When a run writes what, where nothing divides; what its lines hold; and what it is judged and shown by."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import make_grid

from dcgan_core import train as training
from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import unscale
from dcgan_core.metrics.examiner import Examiner
from dcgan_core.runs.lock import locked
from dcgan_core.train import NUM_WATCHED, draw_latents, load_state, read_metrics, resume, sample, train


@pytest.fixture
def config(tiny_config: Config) -> Config:
    """Eight iterations of two batches of 6 images: 96 of 100 are shown, and none of the intervals is a multiple."""
    return replace(
        tiny_config,
        batch_size=6,
        discriminator_steps=2,
        total_images=100,
        log_every_images=30,
        sample_every_images=50,
        checkpoint_every_images=1_000,
    )


@pytest.fixture
def settings(cpu, tiny_dataset):
    return {"machine": cpu, "dataset": tiny_dataset, "progress": False}


def grids(out) -> list[int]:
    return sorted(int(path.stem) for path in (out / "samples").iterdir())


def test_what_is_due_where_intervals_and_batches_do_not_divide(config, settings, tmp_path):
    """It is due in the first iteration that reaches or passes a multiple of its interval; a checkpoint has a line."""
    train(replace(config, checkpoint_every_images=40), tmp_path / "run", **settings)
    assert [line["images"] for line in read_metrics(tmp_path / "run")] == [36, 48, 60, 84, 96]
    assert grids(tmp_path / "run") == [0, 60, 96]


def test_the_last_partial_stretch_has_a_line_a_grid_and_a_checkpoint(config, settings, tmp_path):
    every = dict.fromkeys(("log_every_images", "sample_every_images", "checkpoint_every_images"), 60)
    state = train(replace(config, **every), tmp_path / "run", **settings)
    assert [line["images"] for line in read_metrics(tmp_path / "run")] == [60, 96]
    assert grids(tmp_path / "run") == [0, 60, 96]
    assert load_state(tmp_path / "run", settings["machine"]).images == state.images == 96


def test_a_run_that_is_stopped_leaves_a_line_a_grid_and_a_checkpoint_of_that_moment(
    config, settings, tmp_path, monkeypatch
):
    every = dict.fromkeys(("log_every_images", "sample_every_images", "checkpoint_every_images"), 96)
    prepared = training.ready

    def ready(state, machine):
        step, facts = prepared(state, machine)

        def stopped_in_the_third(state, real, machine):
            if state.step == 2:
                signal.raise_signal(signal.SIGINT)
            return step(state, real, machine)

        return stopped_in_the_third, facts

    monkeypatch.setattr(training, "ready", ready)
    with pytest.raises(training.Stopped):
        train(replace(config, **every), tmp_path / "run", **settings)
    assert [line["images"] for line in read_metrics(tmp_path / "run")] == [36]
    assert grids(tmp_path / "run") == [0, 36]
    assert load_state(tmp_path / "run", settings["machine"]).images == 36


def test_each_line_holds_the_mean_of_the_losses_since_the_line_before(config, settings, tmp_path, monkeypatch):
    """Stretches of three, two and three iterations, whose losses count up."""

    def step(state, real, machine):
        state.step += 1
        return torch.tensor(float(state.step)), torch.tensor(-2.0 * state.step)

    monkeypatch.setattr(training, "ready", lambda state, machine: (step, {}))
    train(config, tmp_path / "run", **settings)
    lines = read_metrics(tmp_path / "run")
    assert [line["images"] for line in lines] == [36, 60, 96]
    assert [line["discriminator_loss"] for line in lines] == [2.0, 4.5, 7.0]
    assert [line["generator_loss"] for line in lines] == [-4.0, -9.0, -14.0]


def test_grids_show_the_average_at_the_watched_latents(config, settings, tmp_path):
    state = train(config, tmp_path / "run", **settings)
    shown = torch.from_numpy(np.array(Image.open(tmp_path / "run" / "samples" / "000000096.png").convert("L")))
    latents = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed)
    average, raw = (
        make_grid(unscale(sample(network, latents)), nrow=8, padding=0)[0]
        for network in (state.average, state.generator)
    )
    assert torch.equal(shown, average) and not torch.equal(shown, raw)


def test_the_best_is_chosen_by_other_latents_than_those_that_it_is_judged_or_shown_by(config):
    """`evaluate` and `sample` draw from the small seeds that people choose; each run's own is one of them."""

    def chosen_by(seed: int) -> torch.Tensor:
        return Examiner(replace(config, seed=seed), None).latents

    first = chosen_by(0)
    assert not torch.equal(first, chosen_by(1))
    for seed in range(10):
        assert not torch.equal(first, draw_latents(len(first), config.latent_size, seed=seed))


def test_the_seconds_of_a_resumed_run_go_on_from_those_before(config, settings, tmp_path):
    train(config, tmp_path / "run", **settings)
    *lines, last = read_metrics(tmp_path / "run")
    written = [json.dumps(line) + "\n" for line in (*lines, last | {"seconds": 5_000.0})]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(written))
    resume(tmp_path / "run", total_images=150, **settings)
    assert read_metrics(tmp_path / "run")[-1]["seconds"] > 5_000


def test_a_run_that_stopped_early_may_be_given_any_length_beyond_what_it_saw(config, settings, tmp_path, monkeypatch):
    real = training._Session.due

    def stop_at_36(session):
        if session.state.images == 36:
            session.asked_to_stop.number = 15
        return real(session)

    with monkeypatch.context() as patch:
        patch.setattr(training._Session, "due", stop_at_36)
        with pytest.raises(training.Stopped):
            train(config, tmp_path / "run", **settings)
    assert resume(tmp_path / "run", total_images=60, **settings).images == 60


def test_a_run_has_its_folder_for_itself(config, settings, tmp_path, monkeypatch):
    out, real, tried = tmp_path / "run", training._Session.run, []

    def run(session):
        with pytest.raises(InvalidInput, match="another process is training"), locked(out):
            pass
        tried.append(session)
        return real(session)

    monkeypatch.setattr(training._Session, "run", run)
    train(config, out, **settings)
    resume(out, total_images=150, **settings)
    assert len(tried) == 2
    with locked(out):
        pass
