"""Recorded runs: what ships loads, does what its record says, and a run of one's own can be exported."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from dcgan_core import recorded
from dcgan_core.config import InvalidInput
from dcgan_core.data import unscale
from dcgan_core.train import load_state, sample, train

MEGABYTE = 2**20


def test_all_recorded_runs_together_are_under_20_megabytes():
    assert recorded.names()
    assert sum(path.stat().st_size for path in recorded.FOLDER.rglob("*")) < 20 * MEGABYTE


@pytest.mark.parametrize("name", recorded.names())
def test_a_recorded_run_holds_what_chapters_show(name):
    run = recorded.load(name)
    size, channels = run.config.image_size, run.config.channels
    assert run.samples.shape == (len(run.samples_at), recorded.NUM_COLUMNS, channels, size, size)
    assert run.samples_at == sorted(run.samples_at) and run.samples_at[0] == 0
    assert run.samples_at[-1] == run.metrics[-1]["images"]
    assert not run.generator.training and not run.discriminator.training
    assert run.provenance[-1]["command"].startswith("python -m dcgan_core ")
    assert run.provenance[-1]["device"] in run.caption()
    assert run.discriminator(run.generator(run.latents)).shape == (recorded.NUM_COLUMNS,)


@pytest.mark.parametrize("name", recorded.names())
def test_the_recorded_weights_draw_the_recorded_samples(name):
    """Weights in half precision: a few grey levels of 255 in a few pixels."""
    run = recorded.load(name)
    drawn = unscale(sample(run.generator, run.latents)).float()
    assert (drawn - run.samples[-1].float()).abs().mean() < 2


@pytest.mark.parametrize("name", recorded.names())
def test_model_card_states_the_recorded_numbers(name):
    card = (recorded.FOLDER / name / "MODEL_CARD.md").read_text()
    record = json.loads((recorded.FOLDER / name / "record.json").read_text())
    assert card == recorded.model_card(name, recorded.load(name).config, record)


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        ([{"captured": False}], "float32"),
        ([{"captured": True}], "float32, iterations as a CUDA graph"),
        ([{"captured": None}], "float32"),  # ended before anyone had tried
        ([{"compiled": True, "captured": True}], "float32, compiled, iterations as a CUDA graph"),
        ([{}, {}, {"precision": "bfloat16"}], "float32, then bfloat16"),
    ],
)
def test_model_card_says_what_happened_in_each_session(sessions, said):
    name = recorded.names()[0]
    record = json.loads((recorded.FOLDER / name / "record.json").read_text())
    last = record["provenance"][-1] | {"precision": "float32", "compiled": False, "captured": False}
    record["provenance"] = [last | session for session in sessions]
    assert f" ({said}), torch" in recorded.model_card(name, recorded.load(name).config, record)


def test_an_unknown_name_is_one_sentence_that_lists_what_there_is():
    with pytest.raises(InvalidInput, match=recorded.names()[0]) as caught:
        recorded.load("nothing")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_folder):
    from dcgan_core.config import Config

    config = Config(
        data=str(tiny_folder),
        image_size=16,
        latent_size=8,
        generator_width=4,
        discriminator_width=4,
        batch_size=8,
        total_images=160,
        sample_every_images=8,
        evaluate_every_images=0,
    )
    folder = tmp_path_factory.mktemp("export")
    train(config, folder / "run", progress=False)
    recorded.export(folder / "run", folder / "copy")
    return folder


def test_an_exported_run_is_the_run_in_half_precision(exported):
    copy, state = recorded.load(exported / "copy"), load_state(exported / "run")
    assert copy.config == state.config
    for mine, theirs in ((copy.generator, state.average), (copy.discriminator, state.discriminator)):
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    assert len(copy.samples_at) <= recorded.NUM_MOMENTS
    assert copy.samples_at[0] == 0 and copy.samples_at[-1] == 160
    assert (unscale(sample(state.average, copy.latents)).float() - copy.samples[-1].float()).abs().mean() < 2


def test_export_overwrites_nothing_and_needs_a_run(exported, tmp_path):
    with pytest.raises(InvalidInput, match="already exists"):
        recorded.export(exported / "run", exported / "copy")
    with pytest.raises(InvalidInput, match="holds no run"):
        recorded.export(tmp_path, tmp_path / "copy")


def test_a_recorded_config_of_another_version_is_refused(exported, tmp_path):
    import shutil

    shutil.copytree(exported / "copy", tmp_path / "old")
    record = json.loads((tmp_path / "old" / "record.json").read_text())
    del record["config"]["loss"]
    (tmp_path / "old" / "record.json").write_text(json.dumps(record))
    with pytest.raises(InvalidInput, match="loss"):
        recorded.load(tmp_path / "old")
    assert replace(recorded.load(exported / "copy").config).loss == "non-saturating"
