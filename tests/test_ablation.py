"""The study of which rules matter: what its rows change, what is recorded of a run, and that a stopped one goes on."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from dcgan_core.config import RECIPES, Config, InvalidInput
from dcgan_core.laboratory import ablation
from dcgan_core.laboratory.ablation import AS_IT_IS, BASE_SEEDS, BASES, CHANGES, DATA, NAMES, RATES, jobs, rows
from dcgan_core.laboratory.outcomes import append
from dcgan_core.laboratory.studies import LINE, Playing, note, read_lines
from dcgan_core.metrics import frechet_distance, moments
from dcgan_core.runtime import choose_machine
from dcgan_core.state import draw_latents, sample, start

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = choose_machine("cpu", "float32")
EVERY_ROW = [(base, change) for base in BASES for change in (AS_IT_IS, *rows(base))]
SEVERAL = {  # changes in one row: a rule in two fields, or two that belong together
    "rates of 0.0002": 2,
    "rates of 0.006": 2,
    "framework's first weights": 2,
    "noise of 0.1, fading": 2,
    "G without batch norm, He's weights": 2,  # N(0, 0.02) needs the normalisation
    "D without batch norm, He's weights": 2,
    "D with batch norm instead of R1": 2,  # these exclude each other
    "R1 instead of D's batch norm": 3,
}


@pytest.fixture
def small(monkeypatch):
    """The study with little of everything."""
    monkeypatch.setattr(
        ablation,
        "SIZE",
        {"image_size": 16, "generator_width": 2, "discriminator_width": 2, "batch_size": 8, "total_images": 160},
    )
    monkeypatch.setattr(ablation, "NUM_SAMPLES", 60)
    monkeypatch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 200, "test": 400})
    yield
    ablation._dataset.cache_clear()
    ablation._judge.cache_clear()


def one_run(change: str = AS_IT_IS, base: str = "paper", **fields):
    """A run of the letters, and what is needed to repeat it by hand."""
    config = replace(ablation.run_config(base, change, "letters", 1), **fields)
    images, judge = ablation._dataset("letters", "data").images, ablation._judge("letters", "data")
    return ablation.played(config, CHANGES[change].networks, CPU, images, judge), config, images, judge


@pytest.mark.parametrize("base, change", EVERY_ROW)
def test_a_row_differs_from_its_base_in_its_rule_and_in_nothing_else(base, change):
    row, plain = (ablation.run_config(base, name, "letters", 0).to_dict() for name in (change, AS_IT_IS))
    differing = {name for name, value in row.items() if value != plain[name]}
    assert differing == set(CHANGES[change].fields), "a field of a change is changed by it"
    altered = CHANGES[change].networks is not None
    assert len(differing) + altered == SEVERAL.get(change, change != AS_IT_IS)


def test_the_bases_are_the_two_recipes_in_a_small_size():
    size = set(ablation.SIZE) | {"data", "data_root", "seed"}
    for base, recipe in (("paper", RECIPES["paper"]), ("ours", {**Config().to_dict(), **RECIPES["default"]})):
        config = ablation.run_config(base, AS_IT_IS, "letters", 0).to_dict()
        differing = {name for name, value in recipe.items() if config[name] != value} - size
        assert differing == ({"channels", *RATES} if base == "paper" else set()), "the paper's rate is a row"
    paper = CHANGES["batches of 128"].fields | CHANGES["rates of 0.0002"].fields
    assert paper == {name: RECIPES["paper"][name] for name in paper}


def test_a_study_that_is_stopped_has_all_rows_with_fewer_seeds_and_bases_with_three_times_as_many():
    order = list(jobs(BASES, DATA, range(2)))
    assert len(set(order)) == len(order)
    half = len(order) // 2
    for number, part in enumerate((order[:half], order[half:])):
        count = Counter(job[:3] for job in part)
        assert set(count) == {(base, change, data) for base, change in EVERY_ROW for data in DATA}
        assert {count[one] for one in count if one[1] == AS_IT_IS} == {BASE_SEEDS}
        assert {count[one] for one in count if one[1] != AS_IT_IS} == {1}
        assert {seed for _, change, _, seed in part if change != AS_IT_IS} == {number}
    seeds = sorted(seed for base, change, data, seed in order if (base, change, data) == ("ours", AS_IT_IS, "letters"))
    assert seeds == list(range(2 * BASE_SEEDS))


def test_a_run_is_looked_at_five_times_and_the_last_look_is_of_the_generator_that_it_ends_with(small, monkeypatch):
    kept = []
    monkeypatch.setattr(ablation, "start", lambda *given: kept.append(start(*given)) or kept[-1])
    found, config, _, judge = one_run()
    assert found["images"] == [32, 64, 96, 128, 160] and found["diverged_at"] is None
    assert kept[0].step == config.total_steps == 20
    latents = draw_latents(60, config.latent_size, seed=config.seed + ablation.OTHER_LATENTS)
    features, probabilities = judge.measure(sample(kept[0].generator, latents))
    distance = frechet_distance(moments(features), judge.reference)
    assert found["distance"][-1] == pytest.approx(distance, rel=1e-4)
    assert found["recognised"][-1] == pytest.approx((probabilities.amax(dim=1) >= 0.9).float().mean().item(), abs=1e-3)
    assert found["parameters"] == [
        sum(value.numel() for value in network.parameters()) for network in (kept[0].generator, kept[0].discriminator)
    ]


def test_the_same_seed_gives_the_same_run_and_another_one_another(small):
    first, again, other = (one_run(seed=seed)[0] for seed in (1, 1, 2))
    assert first["distance"] == again["distance"] != other["distance"]


def test_a_run_that_diverges_ends_there_and_has_no_distance_any_more(small, monkeypatch):
    calls = []

    def advance(state, real, machine):
        calls.append(len(real))
        state.step += 1
        return torch.tensor(math.nan if len(calls) == 7 else 1.0), torch.tensor(1.0)

    monkeypatch.setattr(ablation, "advance", advance)
    found, *_ = one_run()
    assert found["diverged_at"] == 7 * 8 and len(calls) == 7
    assert [value is None for value in found["distance"]] == [False, True, True, True, True]
    assert found["recognised"][1:] == [0.0] * 4


def test_images_beyond_black_and_white_are_measured_as_they_would_be_saved_and_broken_ones_not_at_all(small):
    judge = ablation._judge("letters", "data")
    images = 3 * torch.randn(50, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert ablation.seen(judge, images) == ablation.seen(judge, images.clamp(-1, 1))
    images[3, 0, 2, 2] = math.nan
    assert ablation.seen(judge, images) == {"distance": None, "recognised": 0.0, "checkered": None}


@pytest.mark.parametrize("size", [16, 32])
def test_the_checkerboard_is_the_energy_with_period_two_in_a_whole_spectrum(size):
    images = torch.randn(6, 1, size, size, generator=torch.Generator().manual_seed(0)) + 3
    power = torch.fft.fft2(images - images.mean(dim=(2, 3), keepdim=True)).abs() ** 2
    half = size // 2
    fast = power[..., half, :].sum() + power[..., :, half].sum() - power[..., half, half].sum()
    assert ablation.checkered(images) == pytest.approx((fast / power.sum()).item(), rel=1e-4)
    stripes = torch.tensor([1.0, -1.0]).repeat(size // 2).expand(2, 1, size, size)
    assert ablation.checkered(stripes) == pytest.approx(1) == ablation.checkered(stripes.mT)
    assert ablation.checkered(stripes[..., : size // 2].repeat_interleave(2, dim=3)) < 1e-6
    assert ablation.checkered(torch.ones(2, 1, size, size)) == 0


def test_two_updates_of_the_discriminator_are_paid_from_the_same_images(small, monkeypatch):
    shown = []
    monkeypatch.setattr(ablation, "advance", lambda state, real, machine: shown.append(real) or _step(state, 1.0))
    found, config, *_ = one_run("two updates of D")
    assert config.total_steps == len(shown) == 10 and found["images"][-1] == 160
    assert {len(real) for real in shown} == {16}, "each of the two has a batch of its own"


def test_networks_are_altered_in_the_run_itself(small):
    plain, other = (one_run(change)[0] for change in (AS_IT_IS, "kernel 3"))
    assert all(now < before for now, before in zip(other["parameters"], plain["parameters"], strict=True))
    assert other["distance"] != plain["distance"]


def test_every_seed_is_a_run_of_its_own():
    assert [ablation.run_config("ours", "no tanh", "clothes", seed).seed for seed in (0, 7)] == [0, 7]


def test_what_a_record_holds_is_not_played_again_and_a_new_session_says_who_went_on(small, tmp_path, monkeypatch):
    played = []

    def run_jobs(out, names, wanted, play, playing):
        done = {tuple(line.get(name) for name in names) for line in read_lines(out)}
        for job in [job for job in wanted if job not in done][:3]:  # then it is stopped
            play(tmp_path / str(len(played)), *job)
            note(out, tmp_path / str(len(played)), names, job, True)
            played.append(job)

    monkeypatch.setattr(ablation, "run_jobs", run_jobs)
    out = tmp_path / "ablation.jsonl"
    for _ in range(2):
        ablation.study(out, bases=("paper",), data=("letters",), rounds=1, playing=Playing(keep=tmp_path))
    assert played == list(jobs(("paper",), ("letters",), range(1)))[:6]
    lines = read_lines(out)
    assert [line.get("kind") for line in lines] == ["session", None, None, None, "session", None, None, None]
    assert [tuple(line[name] for name in NAMES) for line in lines if "kind" not in line] == played
    assert all(line["finished"] and line["total_images"] == 160 and line["threads"] == 1 for line in lines[1:4])
    assert lines[0]["size"] == ablation.SIZE and lines[0]["torch"] == torch.__version__
    assert str(tmp_path) not in out.read_text()
    for job in list(jobs(("paper",), ("letters",), range(1)))[6:]:
        append(out, **dict(zip(NAMES, job, strict=True)))
    before = out.read_text()
    ablation.study(out, bases=("paper",), data=("letters",), rounds=1)
    assert out.read_text() == before, "a study that is complete says nothing more"


def test_a_line_is_json_that_others_can_read_even_of_a_run_without_a_distance(small, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "advance", lambda state, *_: _step(state, math.inf))
    ablation.play(tmp_path, "ours", "no R1", "letters", 0, "data")
    text = (tmp_path / LINE).read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["distance"] == [None] * 5
    monkeypatch.setattr(ablation, "advance", lambda *_: pytest.fail("a run that was finished is played again"))
    ablation.play(tmp_path, "ours", "no R1", "letters", 0, "data")
    assert (tmp_path / LINE).read_text() == text


def _step(state, loss: float):
    """What `advance` returns, without its work."""
    state.step += 1
    return torch.tensor(loss), torch.tensor(1.0)


def test_what_the_study_does_not_know_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(InvalidInput, match="data has 'digits', but knows only letters, clothes"):
        ablation.study(tmp_path / "x", data=("digits",))
    with pytest.raises(InvalidInput, match="bases has 'plain', but knows only paper, ours"):
        ablation.study(tmp_path / "x", bases=("plain",))
    assert not (tmp_path / "x").exists()
