"""The bug museum of chapter 20: each exhibit is one mistake in `museum_script`, put there by replacing text.

So a difference between the healthy script and an exhibit is made from the sources, and never typed.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from dcgan_core.teaching import museum_script, museum_tests

HEALTHY = 0  # the number of the script without a mistake


@dataclass(frozen=True)
class Exhibit:
    """One mistake: what it is, the texts of the healthy script that it replaces, and the test that catches it."""

    name: str
    caught_by: Callable[[ModuleType], None]
    changes: tuple[tuple[str, str], ...]  # old text, which occurs exactly once, and new text


def _exhibit(name: str, caught_by: Callable[[ModuleType], None], *changes: tuple[str, str]) -> Exhibit:
    return Exhibit(name, caught_by, changes)


EXHIBITS = dict(
    enumerate(
        (
            _exhibit(
                "the discriminator's step is missing",
                museum_tests.test_the_discriminators_turn_changes_the_discriminator,
                ("        self.discriminator_optimizer.step()\n", ""),
            ),
            _exhibit(
                "a picture that wraps around",
                museum_tests.test_bright_edges_stay_bright_in_the_picture,
                ("    large = large.clamp(-1, 1)\n", "    large.clamp(-1, 1)\n"),
            ),
            _exhibit(
                "a sigmoid too many",
                museum_tests.test_logits_have_no_bounds,
                (
                    "        nn.Linear(2 * WIDTH * 16, 1),\n        nn.Flatten(0),\n",
                    "        nn.Linear(2 * WIDTH * 16, 1),\n        nn.Flatten(0),\n        nn.Sigmoid(),\n",
                ),
            ),
            _exhibit(
                "detached, and thrown away",
                museum_tests.test_the_discriminators_turn_leaves_no_gradient_in_the_generator,
                ("        fake = fake.detach()\n", "        fake.detach()\n"),
            ),
            _exhibit(
                "real images in 0..1",
                museum_tests.test_real_images_fill_the_range_of_tanh,
                ("    return pixels.float() / 127.5 - 1\n", "    return pixels.float() / 255\n"),
            ),
            _exhibit(
                "an average without its statistics",
                museum_tests.test_the_average_follows_the_running_statistics,
                (
                    "        now = self.generator.state_dict()\n"
                    "        for name, tensor in self.average.state_dict().items():\n"
                    "            if tensor.is_floating_point():\n"
                    "                tensor.lerp_(now[name], 1 - DECAY)\n",
                    "        for mine, theirs in zip(self.average.parameters(), self.generator.parameters()):\n"
                    "            mine.lerp_(theirs, 1 - DECAY)\n",
                ),
            ),
            _exhibit(
                "the same order in every epoch",
                museum_tests.test_every_epoch_has_an_order_of_its_own,
                ("manual_seed(self.seed + 1000 * epoch)", "manual_seed(self.seed)"),
            ),
            _exhibit(
                "the generator's loss has the wrong sign",
                museum_tests.test_the_generators_turn_makes_its_fakes_more_convincing,
                ("    return softplus(-fake_logits).mean()\n", "    return softplus(fake_logits).mean()\n"),
            ),
            _exhibit(
                "a penalty per pixel",
                museum_tests.test_the_penalty_adds_up_over_the_pixels,
                ("slopes.square().sum(dim=(1, 2, 3)).mean()", "slopes.square().mean()"),
            ),
            _exhibit(
                "gradients that were never cleared",
                museum_tests.test_a_turn_forgets_the_gradients_of_earlier_turns,
                ("        self.discriminator_optimizer.zero_grad()\n", ""),
            ),
            _exhibit(
                "sampling in train mode",
                museum_tests.test_a_latent_gives_the_same_image_in_any_company,
                ("        self.average.eval()\n", ""),
            ),
            _exhibit(
                "0.8 for the wrong argument",
                museum_tests.test_batch_normalisation_takes_any_scale_away,
                ("        nn.BatchNorm2d(2 * WIDTH),\n", "        nn.BatchNorm2d(2 * WIDTH, 0.8),\n"),
                ("        nn.BatchNorm2d(WIDTH),\n", "        nn.BatchNorm2d(WIDTH, 0.8),\n"),
            ),
            _exhibit(
                "a penalty without a gradient",
                museum_tests.test_the_penalty_has_a_gradient,
                ("    return GAMMA / 2 * slopes.square()", "    return GAMMA / 2 * slopes.detach().square()"),
            ),
            _exhibit(
                "a norm before tanh",
                museum_tests.test_only_tanh_limits_the_contrast,
                ("        nn.Tanh(),\n", "        nn.BatchNorm2d(1),\n        nn.Tanh(),\n"),
            ),
            _exhibit(
                "a distance in the wrong range",
                museum_tests.test_the_distance_agrees_with_an_independent_one,
                ("letter_classifier().features(images)", "letter_classifier().features(images.clamp(0, 1))"),
            ),
            _exhibit(
                "one network twice, the other never",
                museum_tests.test_the_generators_turn_leaves_the_discriminator_alone,
                (
                    "self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), RATE, BETAS)",
                    "self.generator_optimizer = torch.optim.Adam(self.discriminator.parameters(), RATE, BETAS)",
                ),
            ),
            _exhibit(
                "the memory of Adam is lost",
                museum_tests.test_a_stopped_training_goes_on_as_if_it_had_never_stopped,
                (
                    '        self.generator_optimizer.load_state_dict(state["generator_optimizer"])\n'
                    '        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])\n',
                    "",
                ),
            ),
            _exhibit(
                "an initialisation for another class",
                museum_tests.test_constructed_weights_are_drawn_as_the_paper_says,
                (
                    "if isinstance(layer, (nn.Linear, nn.ConvTranspose2d)):",
                    "if isinstance(layer, nn.Conv2d):",
                ),
            ),
            _exhibit(
                "contrast that is not there",
                museum_tests.test_a_faint_image_is_saved_as_a_faint_one,
                (
                    "    large = large.clamp(-1, 1)\n",
                    "    low, high = large.amin((1, 2, 3), keepdim=True), large.amax((1, 2, 3), keepdim=True)\n"
                    "    large = (large - low) / (high - low) * 2 - 1\n",
                ),
            ),
            _exhibit(
                "the slope of something else",
                museum_tests.test_the_penalty_depends_on_slopes_alone,
                ("    logits = discriminator(real)\n", "    logits = softplus(-discriminator(real))\n"),
            ),
            _exhibit(
                "labels the wrong way round",
                museum_tests.test_the_discriminators_turn_tells_real_from_fake_better,
                (
                    "    return softplus(-real_logits).mean() + softplus(fake_logits).mean()\n",
                    "    return softplus(real_logits).mean() + softplus(-fake_logits).mean()\n",
                ),
            ),
            _exhibit(
                "the best is never kept",
                museum_tests.test_the_best_generator_is_kept,
                ("        if measured < self.best_distance:\n", "        if measured > self.best_distance:\n"),
            ),
            _exhibit(
                "a fallback in silence",
                museum_tests.test_the_record_says_how_the_updates_were_made,
                ("kept = [tensor.detach().clone() for", "kept = [tensor.clone() for"),
                (
                    '        try:\n            self.turns = record(self.update)\n            self.made = "recorded"\n'
                    '        except RuntimeError as error:\n            self.made = f"one by one: {error}"\n',
                    '        self.made = "recorded"\n        try:\n            self.turns = record(self.update)\n'
                    "        except RuntimeError:\n            pass\n",
                ),
            ),
        ),
        start=1,
    )
)


def source(number: int = HEALTHY) -> str:
    """The text of the script with an exhibit's mistake, or without any."""
    text = inspect.getsource(museum_script)
    for old, new in EXHIBITS[number].changes if number else ():
        assert text.count(old) == 1, f"exhibit {number}: {old!r} occurs {text.count(old)} times"
        text = text.replace(old, new)
    return text


def script(number: int = HEALTHY) -> ModuleType:
    """A new module made of `source`; each call makes one of its own."""
    module = ModuleType(f"exhibit_{number}")
    exec(compile(source(number), module.__name__, "exec"), module.__dict__)
    return module


def difference(number: int) -> str:
    """What an exhibit changes, as a unified difference with two lines around it."""
    before, after = source().splitlines(), source(number).splitlines()
    lines = list(difflib.unified_diff(before, after, n=2, lineterm=""))[2:]
    return "\n".join(line for line in lines if not line.startswith("@@"))


def catches(test: Callable[[ModuleType], None], module: ModuleType) -> bool:
    """True if the test fails with an assertion on this script."""
    try:
        test(module)
    except AssertionError:
        return True
    return False


def matrix(numbers: Iterable[int] = (HEALTHY, *EXHIBITS)) -> dict[int, list[int]]:
    """For each of these scripts, the exhibits whose tests it fails. All of them take a few seconds."""
    return {
        number: [other for other, exhibit in EXHIBITS.items() if catches(exhibit.caught_by, script(number))]
        for number in numbers
    }
