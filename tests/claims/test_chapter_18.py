"""Chapter 18's sentences, measured on folders of seeds that the chapter does not use, and on the records that ship."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core import recorded
from dcgan_core.config import RECIPES, Config
from dcgan_core.data import load_for
from dcgan_core.data.findings import advice, channels_of, duplicates
from dcgan_core.data.folder import read_images
from dcgan_core.data.parts import layout
from dcgan_core.data.reading import Reading
from dcgan_core.data.untidy import SECOND_KIND, write_untidy
from dcgan_core.metrics import nearest_neighbours
from dcgan_core.metrics.copies import thumbnails_of_pixels
from dcgan_core.metrics.features import measure_pixels
from dcgan_core.metrics.general import general
from dcgan_core.metrics.neighbours import distances_to_others
from dcgan_core.report import write_report
from dcgan_core.report.examination import nearest
from dcgan_core.runtime import choose_machine
from dcgan_core.state import start
from dcgan_core.teaching.chapter_18 import amounts_played
from dcgan_core.teaching.unknown_runs import RUNS, images_in, unknown_run
from dcgan_core.train import draw_latents, load_state, read_metrics, sample, train

pytestmark = pytest.mark.usefixtures("one_thread")

SEEDS = (11, 12, 13)  # of folders; the chapter's is 0


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[int, tuple[Path, dict[str, str], Reading]]:
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCGAN_CORE_CACHE", "off")
        for seed in SEEDS:
            folder = tmp_path_factory.mktemp(f"holiday{seed}")
            truth = write_untidy(folder, 400, seed=seed)
            found[seed] = folder, truth, read_images(folder, image_size=32, progress=False)
    return found


def first_of_each(reading: Reading, truth: dict[str, str]) -> tuple[Tensor, list[str]]:
    """What the chapter compares: large enough, of more than one colour, the first of equal ones."""
    seen: set[str] = set()
    keep = []
    for row, entry in enumerate(reading.entries):
        if not entry.is_plain and min(entry.width, entry.height) >= 32:
            keep += [row] if entry.digest not in seen else []
        seen.add(entry.digest)
    return torch.from_numpy(reading.pixels)[keep], [reading.names[row] for row in keep]


def limit(distances: Tensor) -> float:
    """The middle of the widest gap, as the chapter finds it."""
    ordered = distances.sort().values
    widest = int((ordered[1:] / ordered[:-1]).argmax())
    return float(ordered[widest : widest + 2].mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_two_files_are_left_out_by_name_and_the_notes_speak_of_copies_and_of_two_kinds(folders, seed):
    _, truth, reading = folders[seed]
    assert {truth[name] for name in reading.left_out} == {"unreadable", "no picture"} and len(reading.left_out) == 2
    notes = " ".join(advice(reading, channels_of(reading), layout(reading.names)))
    assert "exact copies" in notes and "two kinds" in notes and "are few" in notes


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_checksums_are_exactly_the_exact_copies(folders, seed):
    _, truth, reading = folders[seed]
    repeated = [names for names in duplicates(reading) if len(names) > 1]
    assert {name for names in repeated for name in names if "(1)" in name} == {
        name for name, what in truth.items() if what == "copy"
    }
    assert all(len(names) == 2 for names in repeated)


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_and_screenshots_are_near_to_one_another_and_show_only_beside_far_neighbours(folders, seed):
    _, truth, reading = folders[seed]
    pixels, names = first_of_each(reading, truth)
    features, _ = measure_pixels(general(), pixels)
    second = torch.tensor([truth[name] in SECOND_KIND for name in names])
    found = {}
    for k in (1, len(names) // 8):
        strangest = distances_to_others(features, k=k).argsort(descending=True)[: int(second.sum())]
        found[k] = second[strangest].double().mean().item()
    assert found[1] < 0.35 and found[len(names) // 8] == 1
    far = distances_to_others(features, k=len(names) // 8)
    step = limit(far.sort().values[-len(far) // 6 :])
    assert torch.equal(far > step, second), "the widest gap is the border"


@pytest.mark.parametrize("seed", SEEDS)
def test_near_copies_have_the_nearest_thumbnails_and_the_widest_gap_misses_one_pair_at_most(folders, seed):
    _, truth, reading = folders[seed]
    pixels, names = first_of_each(reading, truth)
    thumbnails = thumbnails_of_pixels(pixels)
    two = nearest_neighbours(thumbnails, thumbnails, k=2)
    near = two.distances[:, 1]
    num_copies = sum(what == "near copy" for what in truth.values())
    first = near.argsort()[: 2 * num_copies].tolist()
    below = (near < limit(near.sort().values[: len(near) // 8])).nonzero()[:, 0].tolist()
    pairs = {frozenset((names[row], names[int(two.indices[row, 1])])) for row in below}

    def stem(name: str) -> str:
        return name.rsplit(".", 1)[0].removesuffix("_small").removesuffix(" (1)")

    assert all(stem(names[row]) == stem(names[int(two.indices[row, 1])]) for row in first), "they come first"
    assert all(len({stem(name) for name in pair}) == 1 for pair in pairs), "each pair is one picture"
    assert num_copies - 1 <= len(pairs) <= num_copies


def test_a_doubled_side_costs_five_to_eight_times_as_many_multiplications():
    """Of both networks, forwards, with widths that stay; time follows, but depends on the machine."""
    counts = []
    for size in (16, 32, 64):
        config = replace(Config(), **RECIPES["default"], image_size=size, channels=3)
        state = start(config, choose_machine("cpu", "float32"))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            state.discriminator(state.generator(draw_latents(8, config.latent_size, seed=0)))
        counts.append(counter.get_total_flops())
    ratios = [counts[1] / counts[0], counts[2] / counts[1]]
    assert all(5 < ratio < 8 for ratio in ratios), ratios


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory) -> Path:
    """A short run on a clean folder: what the chapter shows, with a third of the images."""
    folder, truth, _ = folders[SEEDS[0]]
    clean = tmp_path_factory.mktemp("clean")
    for name, what in truth.items():
        if what == "scene":
            (clean / name).write_bytes((folder / name).read_bytes())
    out = tmp_path_factory.mktemp("runs") / "first"
    config = replace(
        Config(),
        **RECIPES["default"],
        data=str(clean),
        augment=("translation", "colour", "flip"),
        total_images=6_400,
        log_every_images=1_600,
        evaluate_every_images=1_600,
        sample_every_images=6_400,
    )
    train(config, out, progress=False)
    return out


@pytest.mark.slow
def test_the_distance_falls_while_the_losses_do_not(run):
    lines = [line for line in read_metrics(run) if "frechet_distance" in line]
    distances = [line["frechet_distance"] for line in lines]
    assert distances[-1] < 0.6 * distances[0] and distances[-1] == min(distances)
    assert lines[-1]["generator_loss"] > 0.7 * lines[0]["generator_loss"]


@pytest.mark.slow
def test_a_tenth_is_held_out_and_nothing_is_learnt_by_heart_in_so_short_a_run(run):
    state = load_state(run)
    parts = [load_for(state.config, part, say=False) for part in ("train", "test")]
    assert len(parts[1].images) == pytest.approx(0.1 * sum(len(part.images) for part in parts), abs=1)
    found = nearest(sample(state.sampler, draw_latents(400, state.config.latent_size, seed=9)), *parts)
    assert found.copies and found.copies.share < 0.05


@pytest.mark.slow
def test_the_report_holds_training_images_and_the_exported_copy_holds_none(run, tmp_path):
    page, said = write_report(run, tmp_path / "page.html")
    assert said and "nearest of" in page.read_text(), "pairs of samples and training images"
    recorded.export(run, tmp_path / "copy")
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {"MODEL_CARD.md", "record.json", "samples.png", "weights.safetensors"}
    card = (tmp_path / "copy" / "MODEL_CARD.md").read_text()
    assert str(run.parent) not in card and "depends on the licence of the data" in card


@cache
def study() -> tuple[list[dict[str, Any]], list[float]]:
    return amounts_played()


def test_250_scenes_are_shown_almost_two_hundred_times_and_16000_three_times():
    totals = {line["config"]["total_images"] for line in study()[0]}
    assert len(totals) == 1
    (total,) = totals
    assert 180 < total / 250 < 200 and total / 16_000 == 3


def test_drawing_the_training_images_again_would_score_better_than_every_run_of_the_study():
    runs, floor = study()
    assert runs
    for line in runs:
        best = min(line[which]["frechet_distance"] for which in ("best", "last"))
        assert max(line["by_heart"], *floor) < best / 2


def few_are_nearer(augmented: str, seed: int) -> bool:
    """Whether the run on 250 scenes came nearer to the held-out scenes than the one on 16,000."""
    few, many = (
        next(line for line in study()[0] if (line["num_images"], line["augmented"], line["seed"]) == job)
        for job in ((250, augmented, seed), (16_000, augmented, seed))
    )
    return few["best"]["frechet_distance"] < many["best"]["frechet_distance"]


def test_without_augmentation_250_scenes_came_nearer_than_16000_with_both_seeds_and_with_it_the_seeds_disagree():
    assert few_are_nearer("as they are", 0) and few_are_nearer("as they are", 1)
    assert few_are_nearer("augmented", 0) and not few_are_nearer("augmented", 1)


def test_no_run_of_the_study_draws_more_copies_than_held_out_images_seem_to_be():
    for line in study()[0]:
        for which in ("best", "last"):
            assert line[which]["copies"] < 0.02 + line[which]["real_copies"], line["num_images"]


def test_every_run_of_the_study_without_augmentation_was_best_at_its_very_end():
    for line in study()[0]:
        if line["augmented"] == "as they are":
            assert line["best"]["images"] == line["config"]["total_images"], line["num_images"]


def falls(name: str) -> float:
    """The last distance of a recorded run as a share of the one at half of it."""
    lines = unknown_run(name)["metrics"]
    return lines[-1]["frechet_distance"] / lines[len(lines) // 2 - 1]["frechet_distance"]


def times_shown(name: str) -> float:
    found = unknown_run(name)
    return found["metrics"][-1]["images"] / found["num_images"]


def test_each_unknown_run_shows_the_sign_of_what_is_wrong_with_it_and_of_nothing_else():
    found = {name: unknown_run(name) for name in RUNS}
    assert Counter(run.cause for run in RUNS.values()).most_common(1)[0][1] == 1
    for name, run in found.items():
        is_a, is_b, is_c, is_d = (name == other for other in "ABCD")
        rows = [line["frechet_distance"] for line in run["metrics"]]
        losses = [line[key] for line in run["metrics"] for key in ("discriminator_loss", "generator_loss")]
        assert (max(losses) > 10) == is_a, "losses that jump"
        assert (run["copies"] > run["real_copies"] + 0.03) == is_b, "copies"
        light = images_in(run["training"]).float().mean((1, 2, 3)) > 190
        assert bool(light.any()) == is_c, "pages among the training images"
        assert (times_shown(name) < 8) == is_d, "shown a few times only"
        if is_d:
            assert falls(name) < 0.75 and rows[-1] == min(rows), "and still falling"


def test_the_unknown_runs_are_what_they_are_said_to_be():
    for name, run in RUNS.items():
        found = unknown_run(name)
        assert found["num_images"] == run.num_scenes + run.num_others
        assert found["config"]["total_images"] == run.total_images
        assert found["config"]["generator_learning_rate"] == pytest.approx(2e-3 * run.rate_factor)
        assert found["provenance"][0]["device_kind"] == "cpu"
