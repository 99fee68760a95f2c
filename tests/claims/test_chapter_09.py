"""Chapter 09's sentences, measured on letters and on the recorded generator with draws other than the chapter's."""

from __future__ import annotations

import copy
import itertools
import math
from functools import cache
from statistics import mean, median, stdev

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dcgan_core import recorded
from dcgan_core.data import Batches, load, scale
from dcgan_core.data.glyphs import Glyphs, render
from dcgan_core.laboratory.judging import recorded_judging, summary
from dcgan_core.losses import discriminator_loss, non_saturating_generator_loss
from dcgan_core.metrics import (
    Classifier,
    Judge,
    Moments,
    frechet_distance,
    judge_for,
    kernel_distance,
    moments,
    nearest_neighbours,
    one_nn_accuracy,
    precision_recall,
    shipped_classifier,
    squared_discrepancy,
)
from dcgan_core.metrics.examiner import NUM_JUDGED, OTHER_LATENTS
from dcgan_core.metrics.features import measure
from dcgan_core.metrics.neighbours import distances_to_others
from dcgan_core.steps import update_discriminator, update_generator
from dcgan_core.teaching.chapter_09 import show_judging
from dcgan_core.train import draw_latents, sample

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 100  # seeds from here on; the chapter's are below 10
NUM, POOL = 2_000, 10_000
RUN = recorded.load("glyphs32")


@cache
def judge() -> Judge:
    return judge_for(RUN.config)


def features_of(images: Tensor) -> Tensor:
    return judge().measure(images)[0]


def images_of(drawn: Glyphs) -> Tensor:
    return scale(torch.from_numpy(drawn.images))


@cache
def fresh() -> Tensor:
    return images_of(render(POOL, seed=SEED))


@cache
def fresh_features() -> Tensor:
    return features_of(fresh())


@cache
def fake() -> Tensor:
    return sample(RUN.generator, draw_latents(POOL, 100, seed=SEED))


@cache
def fake_features() -> Tensor:
    return features_of(fake())


@cache
def training() -> Tensor:
    return scale(load("glyphs").images)


@cache
def training_features() -> Tensor:
    return features_of(training())


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(SEED + seed)


def distance(features: Tensor, reference: Moments | None = None) -> float:
    return frechet_distance(moments(features), judge().reference if reference is None else reference)


def draws(features: Tensor, size: int, num_draws: int = 7, seed: int = 0) -> list[Tensor]:
    random = rng(seed)
    return [features[torch.randperm(len(features), generator=random)[:size]] for _ in range(num_draws)]


def noisy(images: Tensor, deviation: float) -> Tensor:
    return (images + deviation * torch.randn(images.shape, generator=rng())).clamp(-1, 1)


@cache
def ghosts() -> Tensor:
    """Points of a normal distribution with exactly the mean and covariance of the held-out letters' features."""
    target, points = judge().reference, torch.randn(NUM, 64, generator=rng()).double()
    own = moments(points)
    little = 1e-9 * torch.eye(64)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(own.covariance), (points - own.mean).T, upper=False)
    return (torch.linalg.cholesky(target.covariance + little) @ white).T + target.mean


def test_a_letter_that_is_moved_by_two_pixels_is_further_from_itself_than_from_some_other_letter():
    some = fresh()[:200]
    moved = (some.roll(2, dims=3) - some).flatten(1).norm(dim=1)
    nearest = nearest_neighbours(some.flatten(1), training()[:5000].flatten(1)).distances[:, 0]
    assert (moved > nearest).double().mean() > 0.9


def test_points_of_any_shape_with_the_same_moments_have_distance_zero():
    angle = torch.arange(400) * 2 * math.pi / 400
    ring = torch.stack([angle.cos(), angle.sin()], dim=1).double() * math.sqrt(2)
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double().repeat(100, 1)
    assert moments(ring).covariance.diag().tolist() == pytest.approx([1, 1], rel=0.01)
    assert distance(ring, moments(corners)) == pytest.approx(0, abs=1e-9)


def test_ghosts_beat_real_letters_by_the_frechet_distance_and_hardly_any_could_be_an_image():
    assert abs(distance(ghosts())) < 0.01 < distance(fresh_features())
    assert (ghosts() > -1e-3).all(dim=1).double().mean() < 0.01
    assert (fresh_features() >= 0).all()


def test_the_other_judges_see_the_ghosts():
    real = judge().reference_features[:NUM].double()
    kid = kernel_distance(ghosts(), real)
    assert kid.value > 2 * kid.error
    uncut = [
        squared_discrepancy(one, other) for one, other in zip(draws(fresh_features(), NUM), [real] * 7, strict=True)
    ]
    assert squared_discrepancy(ghosts(), real) > max(uncut) + 5
    assert precision_recall(real, ghosts()).precision < 0.01
    assert one_nn_accuracy(real, ghosts()) > 0.88


def test_a_hundred_real_letters_score_worse_than_the_generator_with_all_its_samples():
    assert min(distance(drawn) for drawn in draws(fresh_features(), 100)) > distance(fake_features()) + 5


def test_every_draw_of_real_letters_is_too_high_and_the_more_so_the_smaller():
    found = {size: [distance(drawn) for drawn in draws(fresh_features(), size)] for size in (100, 500, 2000)}
    assert all(min(scores) > 0.5 for scores in found.values())
    assert min(found[100]) > 2 * max(found[500]) and min(found[500]) > max(found[2000]) + 1


def test_a_line_over_the_inverse_size_leads_real_letters_near_zero_and_the_generator_not():
    limits = []
    for features in (fresh_features(), fake_features()):
        sizes = [500, 1000, 2000, 5000]
        medians = [median(distance(drawn) for drawn in draws(features, size)) for size in sizes]
        limits.append(np.polyfit([1 / size for size in sizes], medians, 1)[1])
    assert abs(limits[0]) < 1.5 and limits[1] > 12


def test_a_better_generator_measured_with_fewer_samples_looks_worse():
    drawn = render(POOL, seed=SEED + 3)
    without_z = features_of(images_of(drawn)[drawn.letter != 25])
    few = median(distance(part) for part in draws(without_z, 300))
    assert few > distance(fake_features()[: len(without_z)]) + 2 > distance(without_z) + 4
    assert few < median(distance(part) for part in draws(fake_features(), 300)), "at equal sizes the order is right"


def biased(first: Tensor, second: Tensor) -> float:
    """KID with the pairs of a sample with itself."""
    sets = first.double(), second.double()
    kernel = [(x @ y.T / x.shape[1] + 1) ** 3 for x, y in ((sets[0],) * 2, (sets[1],) * 2, sets)]
    return float(kernel[0].mean() + kernel[1].mean() - 2 * kernel[2].mean())


@pytest.mark.parametrize("size", [100, 500])
def test_the_kernel_distance_of_real_letters_is_zero_on_average_and_with_the_diagonal_it_is_not(size):
    pairs = [*zip(draws(fresh_features(), size, 40), draws(judge().reference_features, size, 40, 1), strict=True)]
    right, wrong = ([function(*pair) for pair in pairs] for function in (squared_discrepancy, biased))
    assert abs(mean(right)) < 3.5 * stdev(right) / math.sqrt(len(right))
    assert min(right) < 0 < min(wrong) and mean(wrong) > 10 * stdev(wrong) / math.sqrt(len(wrong))


def test_few_samples_make_the_kernel_distance_useless_alone():
    reference = judge().reference_features
    pairs = [*zip(draws(fresh_features(), 100, 20), draws(reference, 100, 20, 1), strict=True)]
    real = [squared_discrepancy(*pair) for pair in pairs]
    whole = squared_discrepancy(fake_features()[: 2 * NUM], reference[: 2 * NUM])
    assert stdev(real) > whole, "the scatter exceeds what is to be measured"


def test_parts_are_noisier_than_the_uncut_set():
    reference = judge().reference_features
    found = [(draw, kernel_distance(draw, reference[:NUM])) for draw in draws(fresh_features(), NUM)]
    uncut = stdev([squared_discrepancy(draw, reference[:NUM]) for draw, _ in found])
    assert median([kid.error for _, kid in found]) > 1.5 * uncut


def test_uncut_the_generator_stands_out_from_real_letters():
    reference = judge().reference_features[:NUM]
    real, fakes = (
        [squared_discrepancy(draw, reference) for draw in draws(features, NUM)]
        for features in (fresh_features(), fake_features())
    )
    assert median(fakes) > max(real)


def test_parts_that_overlap_make_the_error_look_smaller_than_it_is():
    def found(overlap: bool, seed: int) -> tuple[float, float]:
        random = rng(seed)
        real, fakes = torch.randn(400, 8, generator=random), torch.randn(400, 8, generator=random) + 0.5
        if not overlap:
            return kernel_distance(real, fakes)
        chosen = [[torch.randperm(400, generator=random)[:40] for _ in range(2)] for _ in range(50)]
        values = [squared_discrepancy(real[one], fakes[other]) for one, other in chosen]
        return mean(values), stdev(values) / math.sqrt(len(values))

    for overlap in (False, True):
        values, errors = zip(*[found(overlap, seed) for seed in range(60)], strict=True)
        ratio = math.sqrt(mean(error**2 for error in errors)) / stdev(values)
        assert ratio < 0.75 if overlap else 0.75 < ratio < 1.35


def test_kid_orders_the_generator_and_perfect_letters_without_z_no_more_surely_than_its_errors_allow():
    """By the Fréchet distance the latter are ahead; by KID the two are closer than their errors together."""
    drawn = render(POOL, seed=SEED + 3)
    without_z = features_of(images_of(drawn)[drawn.letter != 25])
    real = judge().reference_features[:NUM]
    (ours, our_error), (theirs, their_error) = (kernel_distance(x[:NUM], real) for x in (fake_features(), without_z))
    assert theirs > ours - 2 and abs(theirs - ours) < our_error + their_error


def test_equal_third_moments_fool_the_kernel_distance():
    """A coin and a normal distribution agree in the first three moments, which is all that the cubic kernel sees."""
    values = []
    for seed in range(40):
        coin = torch.randint(2, (1000, 1), generator=rng(seed)) * 2.0 - 1
        values.append(squared_discrepancy(coin, torch.randn(1000, 1, generator=rng(seed + 100))))
    assert abs(mean(values)) < 3.5 * stdev(values) / math.sqrt(len(values))


@cache
def reports() -> dict[str, dict[str, float]]:
    drawn = render(2 * POOL, seed=SEED + 4)
    images = images_of(drawn)
    candidates = {
        "real": fresh()[:NUM],
        "glyphs32": fake()[:NUM],
        "24 letters": images[drawn.letter < 24][:NUM],
        "noisy": noisy(fresh()[:NUM], 0.3),
        "6 fonts": images[drawn.font < 6][:NUM],
        "3 letters": images[drawn.letter < 3][:NUM],
        "8 copies": images[:8].repeat(NUM // 8, 1, 1, 1),
        "pairs": torch.maximum(images[:NUM], images[NUM : 2 * NUM]),
    }
    return {name: judge().full_report(images) for name, images in candidates.items()}


def test_four_faults_have_about_the_same_distance_and_differ_in_precision_and_recall():
    four = [reports()[name] for name in ("24 letters", "6 fonts", "noisy", "glyphs32")]
    distances = [report["frechet_distance"] for report in four]
    assert max(distances) < 1.6 * min(distances)
    whole, fonts, noise, ours = [(report["precision"], report["recall"]) for report in four]
    assert min(whole[0], fonts[0]) > noise[0] + 0.2 > ours[0] + 0.3
    assert min(whole[1], noise[1], ours[1]) > fonts[1] + 0.2


def test_precision_is_fooled_by_three_letters_and_by_six_fonts():
    for name in ("3 letters", "6 fonts"):
        assert abs(reports()[name]["precision"] - reports()["real"]["precision"]) < 0.05
        assert reports()[name]["recall"] < 0.5


def test_recall_is_fooled_by_pairs_and_is_zero_for_repeated_images():
    assert reports()["pairs"]["recall"] > 0.5 and reports()["pairs"]["recognised"] < 0.15
    assert reports()["8 copies"]["recall"] == 0 and reports()["8 copies"]["precision"] > 0.4


def test_a_few_pairs_with_large_balls_cover_a_good_part_of_the_real_letters():
    pairs = torch.maximum(*images_of(render(2 * NUM, seed=SEED + 8)).chunk(2))
    found, real = features_of(pairs).double(), fresh_features()[:NUM].double()
    radii = distances_to_others(found, k=3)
    large = radii > 2 * distances_to_others(real, k=3).median()
    assert large.double().mean() < 0.03
    assert (torch.cdist(real, found[large]) <= radii[large]).any(dim=1).double().mean() > 0.25


def test_the_ceiling_of_precision_and_recall_is_not_one():
    assert 0.88 < reports()["real"]["precision"] < 0.97 and 0.88 < reports()["real"]["recall"] < 0.97


def test_a_single_outlier_lifts_the_precision_of_hopeless_fakes_to_one():
    real, hopeless = torch.randn(60, 2, generator=rng()), torch.randn(40, 2, generator=rng(1)) * 0.3 + 6
    assert precision_recall(real, hopeless).precision == 0
    assert precision_recall(torch.cat([real, torch.tensor([[8.0, 8.0]])]), hopeless).precision == 1


def test_by_all_four_numbers_a_replay_is_as_good_as_fresh_letters():
    replay = judge().full_report(training()[torch.randperm(20_000, generator=rng())[:NUM]])
    real = reports()["real"]
    assert abs(replay["frechet_distance"] - real["frechet_distance"]) < 1.5
    assert abs(replay["kid"]) < 3.5 * replay["kid_error"]
    assert abs(replay["precision"] - real["precision"]) < 0.04 and abs(replay["recall"] - real["recall"]) < 0.04


def nearer_to_training(features: Tensor) -> float:
    others = torch.cat([fresh_features(), judge().reference_features])
    assert len(others) == len(training_features())
    to_training, to_others = (nearest_neighbours(features, one).distances for one in (training_features(), others))
    return float((to_training < to_others).double().mean())


def test_the_generator_is_nearer_to_its_training_letters_in_half_of_the_cases():
    assert 0.46 < nearer_to_training(fake_features()[:3000]) < 0.54
    assert 0.45 < nearer_to_training(features_of(images_of(render(1000, seed=SEED + 5)))) < 0.55


def test_the_check_finds_replays_also_half_ones_and_noisy_ones_and_misses_shifted_ones():
    replay = training()[torch.randperm(20_000, generator=rng())[:1000]]
    assert nearer_to_training(features_of(replay)) == 1
    half = torch.cat([replay[:500], images_of(render(500, seed=SEED + 6))])
    assert 0.7 < nearer_to_training(features_of(half)) < 0.8
    assert nearer_to_training(features_of(noisy(replay, 0.1))) > 0.85
    assert 0.44 < nearer_to_training(features_of(replay.roll(1, dims=3))) < 0.56


def test_the_nearest_neighbour_test_sees_fakes_but_a_replay_only_against_what_it_replays():
    reference = judge().reference_features[:NUM]
    stolen = training_features()[torch.randperm(20_000, generator=rng())[:NUM]]
    assert one_nn_accuracy(reference, fake_features()[:NUM]) > 0.75
    assert 0.46 < one_nn_accuracy(reference, fresh_features()[:NUM]) < 0.54
    assert 0.46 < one_nn_accuracy(reference, stolen) < 0.54
    assert one_nn_accuracy(stolen, stolen) == 0
    half = torch.cat([stolen[: NUM // 2], fresh_features()[: NUM // 2]])
    assert 0.2 < one_nn_accuracy(stolen, half) < 0.32


def test_other_features_turn_the_order_around_and_stretched_contrast_hides_dim_letters():
    held_out = scale(load("glyphs", split="test").images[: 2 * NUM])
    sets = {
        "real": fresh()[:NUM],
        "glyphs32": fake()[:NUM],
        "grainy": noisy(fresh()[:NUM], 0.2),
        "dim": 0.6 * (fresh()[:NUM] + 1) - 1,
    }
    torch.manual_seed(SEED)
    found = {}
    for name in ("letters", "digits", "random", "pixels"):
        network = {
            "letters": judge().classifier,
            "digits": shipped_classifier("digits"),
            "random": Classifier(channels=1, num_classes=1),
            "pixels": None,
        }[name]

        def embed(images: Tensor, network=network) -> Tensor:
            return avg_pool2d(images, 2).flatten(1) if network is None else measure(network, images)[0]

        reference = moments(embed(held_out))
        found[name] = {kind: distance(embed(images), reference) for kind, images in sets.items()}
    assert found["letters"]["grainy"] < 0.7 * found["letters"]["glyphs32"]
    assert found["pixels"]["grainy"] > 1.5 * found["pixels"]["glyphs32"]
    assert found["random"]["grainy"] > found["random"]["glyphs32"]
    for name in ("letters", "digits", "random"):
        assert found[name]["dim"] == pytest.approx(found[name]["real"], rel=1e-2)
    assert found["pixels"]["dim"] > 5 * found["pixels"]["glyphs32"]


def test_leaving_out_every_second_pixel_costs_nearly_as_much_as_the_generators_faults():
    large = images_of(render(NUM, image_size=64, seed=SEED + 7))
    nearest = distance(features_of(interpolate(large, 32, mode="nearest")))
    bicubic = interpolate(large, 32, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    assert 0.6 < nearest / distance(fake_features()[:NUM]) < 1
    assert distance(features_of(bicubic)) < nearest / 3


@pytest.mark.parametrize("name", ["glyphs32", "fashion32"])
def test_the_best_evaluation_of_a_recorded_run_is_in_its_last_sixth_but_not_the_last(name):
    lines = [line for line in recorded.load(name).metrics if "frechet_distance" in line]
    distances = [line["frechet_distance"] for line in lines]
    best = int(np.argmin(distances))
    assert lines[-1]["images"] * 5 / 6 < lines[best]["images"] < lines[-1]["images"]
    assert {line["num_samples"] for line in lines} == {NUM_JUDGED} == {2_000}
    assert {later["images"] - line["images"] for line, later in itertools.pairwise(lines)} == {12_800}
    assert name == "glyphs32" or distances[best + 1] > distances[best] + 4, "it jumps up by several units"


def test_a_recorded_evaluation_is_that_of_the_runs_own_latents():
    latents = draw_latents(NUM_JUDGED, RUN.config.latent_size, seed=RUN.config.seed + OTHER_LATENTS)
    last = RUN.metrics[-1]["frechet_distance"]
    assert distance(features_of(sample(RUN.generator, latents))) == pytest.approx(last, rel=0.02)


def test_other_latents_scatter_more_than_the_last_evaluations_of_the_run_which_share_theirs():
    more = features_of(sample(RUN.generator, draw_latents(POOL, 100, seed=SEED + 1)))
    luck = [distance(part) for part in torch.cat([fake_features(), more]).split(NUM)]
    evaluations = [line["frechet_distance"] for line in RUN.metrics if "frechet_distance" in line]
    assert stdev(luck) > stdev(evaluations[-8:])
    assert min(luck) < median(luck) - 0.5


@cache
def checkpoints() -> list[Tensor]:
    torch.manual_seed(SEED)
    generator, discriminator = copy.deepcopy(RUN.generator).train(), copy.deepcopy(RUN.discriminator).train()
    adams = [torch.optim.Adam(one.parameters(), 5e-4, (0.5, 0.999)) for one in (generator, discriminator)]
    batches = Batches(load("glyphs").images, batch_size=64, seed=SEED)
    latents = draw_latents(NUM, 100, seed=SEED + 2)
    found = []
    for step in range(60):
        batch = generator(torch.randn(64, 100))
        update_discriminator(discriminator, adams[1], discriminator_loss, batches(step), batch)
        update_generator(discriminator, adams[0], non_saturating_generator_loss, batch)
        if (step + 1) % 10 == 0:
            found.append(features_of(sample(generator, latents)))
    return found


def optimism(*, shared: bool) -> float:
    random, found = rng(), []
    for _ in range(20):
        order = torch.randperm(NUM, generator=random)
        scores = []
        for features in checkpoints():
            if not shared:
                order = torch.randperm(NUM, generator=random)
            scores.append([distance(half) for half in features[order].chunk(2)])
        for here, there in ((0, 1), (1, 0)):
            chosen = min(scores, key=lambda halves: halves[here])
            found.append(chosen[there] - chosen[here])
    return mean(found)


def test_choosing_the_best_checkpoint_flatters_little_with_shared_latents_and_much_with_others():
    little, much = optimism(shared=True), optimism(shared=False)
    assert 0 <= little < 0.5 and much > 0.5 and much > 3 * little


def test_without_a_download_the_general_features_are_the_best_in_two_columns_of_three_and_second_in_the_other():
    table = summary(recorded_judging())
    without = [name for name in table if name != "imagenet"]
    ranks = {
        column: sorted(without, key=lambda name, column=column: -table[name][column][0])
        for column in ("ordered", "seen", "balanced")
    }
    assert ranks["ordered"][0] == ranks["seen"][0] == "general"
    assert ranks["balanced"][:2] == ["Laplacian pyramid", "general"]
    assert table["Laplacian pyramid"]["balanced"][0] - table["general"]["balanced"][0] < 0.02, "a little behind"
    assert table["imagenet"]["seen"][0] == max(row["seen"][0] for row in table.values())
    for column, other in itertools.product(ranks, ("random convolutions", "pixels")):
        assert table[other][column][0] < table["general"][column][0]


def test_to_imagenet_faint_noise_on_a_drawing_is_worse_than_three_of_four_kinds_missing():
    (drawings,) = (
        line["distances"] for line in recorded_judging() if (line["sort"], line["features"]) == ("drawings", "imagenet")
    )
    assert min(row[1] for row in drawings["noise"]) > max(row[3] for row in drawings["fewer kinds"])


def test_damaged_copies_are_found_among_thumbnails_and_seldom_by_networks():
    copies = {name: row["copies"] for name, row in summary(recorded_judging()).items()}
    assert copies["thumbnails"][1] > 0.95
    assert max(row[2] for name, row in copies.items() if name != "thumbnails") < 0.9


def test_the_figure_of_features_shows_a_mean_and_a_range_in_each_panel():
    figure = show_judging({"a": {"seen": (0.5, 0.1, 0.8), "copies": (0.2, 0.2, 0.2)}})
    assert [axes.get_title() for axes in figure.axes] == ["seen", "copies"]
    assert [list(line.get_xdata()) for axes in figure.axes for line in axes.lines] == [
        [0.1, 0.8],
        [0.5],
        [0.2, 0.2],
        [0.2],
    ]
