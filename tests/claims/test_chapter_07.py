"""What chapter 07 claims, measured."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median

import nbformat
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, softplus
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core import models, recorded
from dcgan_core.config import RECIPES, Config
from dcgan_core.data import Batches, Dataset, load, load_for, scale
from dcgan_core.losses import discriminator_loss, non_saturating_generator_loss
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.runtime import choose_machine
from dcgan_core.steps import frozen, update_discriminator, update_generator
from dcgan_core.teaching.lengths import curve, curves, recorded_lengths
from dcgan_core.teaching.settings import AS_IT_IS, recorded_settings, seeds_of
from dcgan_core.train import advance, draw_latents, read_metrics, sample, start, train

SEEDS = range(5)
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "07_training_loop.ipynb"
SMALL = Config(image_size=16, generator_width=8, discriminator_width=8, latent_size=32)


def players(seed: int) -> tuple[models.Generator, models.Discriminator, Tensor]:
    torch.manual_seed(seed)
    generator, discriminator = models.build(SMALL)
    return generator, discriminator, torch.randn(64, SMALL.latent_size)


@pytest.fixture(scope="module")
def letters() -> Tensor:
    return load("glyphs", image_size=16).images


def adam_steps(gradients: list[float], *, beta1: float) -> list[float]:
    """The steps that torch's Adam takes on one weight."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    adam = torch.optim.Adam([weight], lr=2e-4, betas=(beta1, 0.999))
    path = [0.0]
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        adam.step()
        path.append(weight.item())
    return [after - before for before, after in itertools.pairwise(path)]


def test_an_untrained_generator_makes_images_with_almost_no_contrast(letters):
    for seed in SEEDS:
        generator, _, latents = players(seed)
        assert generator(latents).std() < 0.2 * scale(letters).std()


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_norm_hides_the_scale_of_hidden_weights_but_not_of_the_last_layer(seed):
    generator, _, latents = players(seed)
    larger = copy.deepcopy(generator)
    weights = [module.weight for module in larger.modules() if isinstance(module, (nn.Linear, nn.ConvTranspose2d))]
    with torch.no_grad():
        for weight in weights[:-1]:
            weight *= 10
        images = generator(latents)
        assert (larger(latents) - images).abs().max() < 0.1 * images.abs().max()
        weights[-1].mul_(10)
        assert larger(latents).std() / images.std() > 5


def test_without_detach_the_generators_turn_fails_on_the_fakes_that_both_turns_share():
    generator, discriminator, latents = players(0)
    fake = generator(latents)
    softplus(discriminator(fake)).mean().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        softplus(-discriminator(fake)).mean().backward()


def test_per_image_the_leaked_gradient_is_weighted_by_d_and_the_wanted_one_by_one_minus_d():
    logits = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    (leaked,) = torch.autograd.grad(softplus(logits).sum(), logits)
    (wanted,) = torch.autograd.grad(softplus(-logits).sum(), logits)
    judged = torch.sigmoid(logits.detach())
    assert torch.allclose(leaked, judged) and torch.allclose(wanted, judged - 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_detach_the_leaked_gradient_points_away_from_the_wanted_one(seed):
    generator, discriminator, latents = players(seed)

    def gradient(loss: Tensor) -> Tensor:
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(generator.parameters()))])

    leaked = gradient(softplus(discriminator(generator(latents))).mean())
    wanted = gradient(softplus(-discriminator(generator(latents))).mean())
    assert cosine_similarity(leaked, wanted, dim=0) < -0.5


def test_without_detach_the_discriminators_turn_does_more_arithmetic_for_the_same_result():
    counts, gradients = [], []
    for detach in (True, False):
        generator, discriminator, latents = players(0)
        fake = generator(latents)
        with FlopCounterMode(display=False) as counter:
            softplus(discriminator(fake.detach() if detach else fake)).mean().backward()
        counts.append(counter.get_total_flops())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in discriminator.parameters()]))
    assert torch.equal(*gradients)
    assert counts[1] > 1.2 * counts[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_around_one_half_most_of_the_leak_and_of_the_wanted_gradient_cancels(seed):
    generator, discriminator, latents = players(seed)
    fake = generator(latents)
    logits = discriminator(fake)
    loss = softplus(logits).mean() + softplus(-logits).mean()
    parameters = list(generator.parameters())
    both = torch.autograd.grad(loss, parameters, retain_graph=True)
    wanted = torch.autograd.grad(softplus(-logits).mean(), parameters)
    assert torch.linalg.vector_norm(flat(both)) < 0.5 * torch.linalg.vector_norm(flat(wanted))


def flat(tensors) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def test_the_loop_on_the_page_trains_the_same_networks_as_the_functions(letters):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (loop,) = (cell.source for cell in notebook.cells if "def train_by_hand" in cell.source)
    names: dict = {"torch": torch, "softplus": softplus, "frozen": frozen}
    exec(loop.split("\n\n\nframes = ")[0], names)

    def new_players() -> tuple[models.Generator, models.Discriminator]:
        torch.manual_seed(3)
        config = replace(SMALL, latent_size=100)  # as on the page
        return models.build(config)

    batches = Batches(letters, batch_size=16, seed=0)
    by_hand, by_functions = new_players(), new_players()
    torch.manual_seed(4)
    names["train_by_hand"](*by_hand, batches, 3)

    generator, discriminator = by_functions
    adams = [torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999)) for player in by_functions]
    torch.manual_seed(4)
    for step in range(3):
        fake = generator(torch.randn(64, 100))
        update_discriminator(discriminator, adams[1], discriminator_loss, batches(step), fake)
        update_generator(discriminator, adams[0], non_saturating_generator_loss, fake)
    for hand, functions in zip(by_hand, by_functions, strict=True):
        assert all(torch.equal(*pair) for pair in zip(hand.parameters(), functions.parameters(), strict=True))


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    for gradient in (1e-3, 1.0, 1e3):
        assert adam_steps([gradient], beta1=0.5)[0] == pytest.approx(-2e-4, rel=1e-4)


def test_with_beta1_of_a_half_adam_follows_a_flipped_gradient_at_once_and_with_0_9_it_does_not():
    wrong = [
        sum(step < 0 for step in adam_steps([1.0] * 50 + [-1.0] * 50, beta1=beta1)[50:])
        for beta1 in (0.0, 0.5, 0.9, 0.99)
    ]
    assert wrong[:2] == [0, 0]
    assert 5 <= wrong[2] < wrong[3]


def test_the_discriminators_loss_is_lowest_against_a_generator_that_learns_nothing(letters):
    batches = Batches(letters, batch_size=64, seed=0)
    machine = choose_machine("cpu", "float32")
    papers_rate = replace(SMALL, generator_learning_rate=2e-4, discriminator_learning_rate=2e-4)
    playing, alone = start(papers_rate, machine), start(papers_rate, machine)
    for step in range(200):
        loss_playing, _ = advance(playing, batches(step), machine)
        with torch.no_grad():
            fake = alone.generator(torch.randn(64, SMALL.latent_size))
        loss_alone = update_discriminator(
            alone.discriminator, alone.discriminator_optimizer, discriminator_loss, batches(step), fake
        )
    assert loss_alone < 0.1 * loss_playing


def test_the_non_saturating_gradient_does_not_vanish_where_the_discriminator_is_confident():
    logits = torch.full((64,), -20.0, requires_grad=True)
    non_saturating_generator_loss(logits).backward()
    assert torch.allclose(logits.grad * 64, torch.tensor(-1.0))


def test_an_image_depends_on_the_rest_of_its_batch_in_train_mode_and_not_in_eval_mode():
    generator, _, _ = players(0)
    one, *company = draw_latents(129, SMALL.latent_size, seed=1).split([1, 64, 64])
    with torch.no_grad():
        in_train = [generator(torch.cat([one, others]))[0] for others in company]
        in_eval = [sample(generator, torch.cat([one, others]))[0] for others in company]
    assert (in_train[0] - in_train[1]).abs().max() > 1e-3
    assert (in_eval[0] - in_eval[1]).abs().max() < 1e-6


@cache
def learnt_and_judged(image_size: int) -> tuple[Dataset, Judge]:
    """What every run of that size would load for itself."""
    config = replace(SMALL, image_size=image_size)
    return load_for(config), judge_for(config)


def short_run(folder: Path, **changes) -> list[dict]:
    """The lines of metrics of a run at narrow widths, with evaluations."""
    config = replace(SMALL, **changes)
    dataset, judge = learnt_and_judged(config.image_size)
    train(config, folder, dataset=dataset, judge=judge, progress=False)
    return read_metrics(folder)


def test_in_the_recorded_run_of_letters_the_loss_is_lowest_early_and_the_images_are_better_later():
    metrics = recorded.load("glyphs32").metrics
    assert min(metrics, key=lambda line: line["generator_loss"])["images"] < metrics[-1]["images"] / 10
    lines = [line for line in metrics if "frechet_distance" in line]
    lowest, end = min(lines, key=lambda line: line["generator_loss"]), lines[-1]
    assert end["generator_loss"] > 1.2 * lowest["generator_loss"]
    assert end["frechet_distance"] < 0.9 * lowest["frechet_distance"] and end["recognised"] > lowest["recognised"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_in_a_short_run_of_narrow_networks_ten_times_the_papers_learning_rate_gets_further(tmp_path, seed):
    distances = {}
    for rate in (2e-4, 2e-3):
        lines = short_run(
            tmp_path / str(rate),
            seed=seed,
            generator_learning_rate=rate,
            discriminator_learning_rate=rate,
            total_images=19_200,
            log_every_images=19_200,
            evaluate_every_images=19_200,
            ema_halflife_images=2_000,
        )
        distances[rate] = lines[-1]["frechet_distance"]
    assert distances[2e-3] < distances[2e-4]


def test_in_the_recorded_run_on_clothes_the_distance_halves_after_the_lowest_loss_and_is_best_before_the_end():
    lines = recorded.load("fashion32").metrics
    total = lines[-1]["images"]
    lowest = min(lines, key=lambda line: line["generator_loss"])["images"]
    assert lowest < total / 8
    evaluations = [(line["images"], line["frechet_distance"]) for line in lines if "frechet_distance" in line]
    images, distances = zip(*evaluations, strict=True)
    then = next(distance for seen, distance in evaluations if seen >= lowest)
    assert distances[-1] / then < 0.55
    assert any(later > 1.2 * earlier for earlier, later in zip(distances, distances[3:], strict=False)), "rises again"
    assert images[distances.index(min(distances))] < total


STUDY = recorded_settings()


def shares_and_distances(setting: str, weights: str = "averaged") -> tuple[list[float], list[float]]:
    return tuple(seeds_of(STUDY, setting, measure, weights) for measure in ("recognised", "frechet_distance"))


def is_ahead(setting: str, other: str) -> bool:
    """Every seed of the one is ahead of every seed of the other, in both measures."""
    (share, distance), (other_share, other_distance) = map(shares_and_distances, (setting, other))
    return min(share) > max(other_share) and max(distance) < min(other_distance)


def test_at_the_papers_rate_every_seed_is_behind_the_default_after_equally_many_images():
    assert is_ahead(AS_IT_IS, "both rates 0.0002")


def test_at_twice_the_default_rate_one_run_of_three_fails_and_the_average_saves_the_others():
    assert sum(distance > 100 for distance in shares_and_distances("both rates 0.004")[1]) == 1
    averaged, raw = (shares_and_distances("both rates 0.004", weights)[1] for weights in ("averaged", "raw"))
    assert all(1.5 * mean < last for mean, last in zip(sorted(averaged)[:2], sorted(raw)[:2], strict=True))


def test_with_batches_of_32_every_seed_is_ahead_of_128_at_equally_many_images():
    assert is_ahead("batch 32", "batch 128")


def test_the_learning_rate_moves_the_result_more_than_the_batch_size():
    def spread(*settings: str) -> float:
        medians = [median(shares_and_distances(setting)[0]) for setting in (AS_IT_IS, *settings)]
        return max(medians) - min(medians)

    rates, batches = (f"both rates {rate}" for rate in ("0.0002", "0.001", "0.004")), ("batch 32", "batch 128")
    others = (["float32"], ["widths 36 and 36"], ["minibatch std"])
    assert spread(*rates) > spread(*batches) > max(spread(*one) for one in others)


def test_spectral_norm_in_place_of_batch_norm_is_behind_with_every_seed():
    assert is_ahead(AS_IT_IS, "spectral norm")


@pytest.mark.parametrize("setting", ["float32", "widths 36 and 36", "minibatch std"])
def test_some_settings_cannot_be_told_from_the_default(setting):
    assert not is_ahead(setting, AS_IT_IS) and not is_ahead(AS_IT_IS, setting)
    for own, default in zip(shares_and_distances(setting), shares_and_distances(AS_IT_IS), strict=True):
        assert min(default) <= median(own) <= max(default)


def test_averaged_weights_are_nearer_to_real_letters_in_nearly_every_run():
    played = [line for line in STUDY if line["kind"] == "outcome"]
    nearer = sum(line["averaged"]["frechet_distance"] < line["raw"]["frechet_distance"] for line in played)
    assert nearer >= 0.8 * len(played)
    averaged, raw = (shares_and_distances(AS_IT_IS, weights)[1] for weights in ("averaged", "raw"))
    assert all(mean < last for mean, last in zip(averaged, raw, strict=True))


def test_all_letters_are_covered_in_every_run_of_the_study():
    assert all(line["averaged"]["classes_covered"] == 26 for line in STUDY if line["kind"] == "outcome")


LENGTHS = recorded_lengths()


def over_time(data: str, change: str) -> dict[int, tuple[float, float]]:
    """Distance and share recognised, by thousands of images seen."""
    return {round(images / 1000): (distance, share) for images, distance, share in curve(LENGTHS, data, change)}


def test_on_mnist_the_plain_game_is_the_fastest_at_first_and_no_better_at_the_end_than_at_200_000_images():
    plain = over_time("mnist", "as it is")
    for change in ("R1, gamma 0.02", "R1", "R1, gamma 0.5"):
        assert plain[100][0] < 0.8 * over_time("mnist", change)[100][0]
    assert plain[475][0] > 0.95 * plain[200][0]


@pytest.mark.parametrize("change", ["R1", "R1, gamma 0.5"])
def test_on_mnist_with_r1_the_distance_goes_on_falling_to_less_than_half(change):
    found = over_time("mnist", change)
    assert found[475][0] < 0.55 * found[200][0]
    assert found[475][0] < over_time("mnist", "as it is")[475][0] / 2
    distances = [distance for _, (distance, _) in sorted(found.items())]
    for number in range(3, len(distances)):  # from 100,000 images on
        assert distances[number] < 1.2 * min(distances[: number + 1])


def test_on_letters_the_plain_game_wavers():
    distances = [distance for images, (distance, _) in over_time("letters", "as it is").items() if images >= 150]
    ups = [after > 1.1 * before for before, after in itertools.pairwise(distances)]
    assert any(ups) and max(distances) > 1.5 * min(distances)


def test_on_letters_gamma_decides():
    ends = [over_time("letters", change)[475][0] for change in ("R1, gamma 0.5", "R1")]
    assert ends[0] == pytest.approx(ends[1] / 2, rel=0.1)


def test_with_a_small_gamma_more_letters_are_recognised_while_the_distance_rises():
    found = over_time("letters", "R1, gamma 0.02")
    later = [found[images] for images in sorted(found) if images >= 150]
    distances, shares = zip(*later, strict=True)
    assert distances[-1] > 1.3 * distances[0] and min(distances) > 0.95 * distances[0]
    assert shares[-1] > 1.3 * shares[0]
    assert sum(after > before for before, after in itertools.pairwise(shares)) > 0.7 * (len(shares) - 1)


@pytest.mark.parametrize("data", ["letters", "mnist", "clothes"])
def test_with_every_seed_the_recipe_ends_nearer_than_at_200_000_images_and_loses_little_on_the_way(data):
    runs = curves(LENGTHS, data, "recipe")
    assert len(runs) == 3
    for run in runs:
        images, distances, _ = zip(*run, strict=True)
        assert images[-1] == 800_000 and distances[-1] < next(d for at, d, _ in run if at >= 200_000)
        for number, (at, distance) in enumerate(zip(images, distances, strict=True)):
            assert at <= 200_000 or distance < 1.2 * min(distances[:number])
        assert 0.8 < distances[0] / (40 if data == "clothes" else 80) < 1.25  # the figure's description
        assert distances[-1] < 10.5


def test_the_recipes_runs_are_of_the_length_and_machine_that_the_page_names():
    played = [line for line in LENGTHS if line["change"] == "recipe"]
    assert {entry["precision"] for line in played for entry in line["provenance"]} == {"bfloat16"}
    assert {entry["device"].rpartition(" with ")[2] for line in played for entry in line["provenance"]} == {"1 thread"}
    assert Config(**RECIPES["default"]).total_images * 4 == 800_000
    letters_covered = {
        row["classes_covered"]
        for line in played
        if line["data"] == "letters"
        for row in line["metrics"]
        if "classes_covered" in row and row["images"] >= 200_000
    }
    assert letters_covered == {26}


def test_on_a_cpu_in_bfloat16_the_plain_game_loses_on_mnist_what_it_had_reached():
    """The run that was played beside the recipe's: same data, seed, length and chip."""
    played = {
        line["change"]: [row["frechet_distance"] for row in line["metrics"] if "frechet_distance" in row]
        for line in LENGTHS
        if (line["data"], line["seed"], line["provenance"][0]["device_kind"]) == ("mnist", 0, "cpu")
    }
    plain, recipe = played["as it is"], played["recipe"]
    assert len(plain) == len(recipe) == 20
    assert (round(min(plain)), round(plain[-1])) == (34, 158)
    assert (round(min(recipe), 1), round(recipe[-1], 1)) == (6.2, 6.4)


def test_the_recipe_of_the_command_line_is_the_one_that_is_described():
    assert RECIPES["default"] == {
        "discriminator_norm": "none",
        "discriminator_initialisation": "he",
        "r1_gamma": 0.5,
        "minibatch_std": True,
    }
    assert RECIPES["plain"] == {}
