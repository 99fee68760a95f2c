"""What did the unlabelled data buy? Classifiers that are given few labels, on features that were learnt without any.

`python -m dcgan_core.laboratory.labels --keep runs/labels --data-root data` measures and writes the record that ships
with the package. What it holds already is not measured again; several processes with other data may share the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dcgan_core import models, recorded
from dcgan_core.data import load, unscale
from dcgan_core.laboratory.few_labels import Labelled, Probed, draw, probe
from dcgan_core.laboratory.kept import Named, kept, under
from dcgan_core.laboratory.outcomes import append
from dcgan_core.laboratory.pretraining import (
    class_game,
    game_config,
    play_class_games,
    play_game,
    train_autoencoder,
    untrained,
    with_statistics_of,
    with_weights,
)
from dcgan_core.laboratory.representations import (
    Represent,
    on_one_scale,
    patch_dictionary,
    pixels,
    pooled_layers,
    principal_components,
)
from dcgan_core.laboratory.studies import command_line, read_lines
from dcgan_core.laboratory.supervised import NUM_OTHERS, accuracy, labelled_by, train_network
from dcgan_core.metrics.features import shipped_classifier
from dcgan_core.runtime import choose_machine, provenance
from dcgan_core.state import draw_latents, sample

DATA = {"letters": "glyphs", "digits": "mnist", "clothes": "fashion-mnist"}  # the classifiers that ship, too
RECORDED = {"letters": "glyphs32", "clothes": "fashion32"}  # runs that ship
TOTAL_IMAGES = 128_000  # shown to the discriminator, and to the autoencoder
MOMENTS = (2_048, 8_192, 32_768)  # at which a discriminator is kept, besides the start and the end
NUM_UNLABELLED = 20_000
NUM_TEST = NUM_HIDDEN = 4_000  # of the test split; the hidden ones choose C, and nothing else
NUM_SCALED = 5_000  # unlabelled images that bring features to one scale

BUDGETS = (1, 3, 10, 30, 100)  # labels in each class
STAGES = ((1, 10), (100,), (3, 30))  # of the networks: stopped early, the study has some of each kind
NUM_DRAWS, NUM_NETWORKS = 20, 5  # of the labelled images, for linear classifiers and for networks
DISCRIMINATOR = "discriminator"
METHODS = (DISCRIMINATOR, "k-means patches", "untrained", "pixels", "principal components", "autoencoder")
LAYERS = tuple(f"layer {number}" for number in (1, 2, 3))  # of the discriminator
OVER_TIME = tuple(f"after {images}" for images in MOMENTS)
MIXED, LONGER = "statistics as trained", "longer run"
LOOKED_CLOSER = (1, 10)  # budgets of all that is no method of its own
PLAIN, AUGMENTED, GENERATED, UNLABELLED = "as they are", "augmented", "augmented + generated", "augmented + unlabelled"
NETWORKS = (PLAIN, AUGMENTED, GENERATED, UNLABELLED)
CLASS_GAMES = "augmented + a GAN per class"
GAMES_OF, GAMES_AT = ("digits",), (10, 100)  # data sets and budgets: each draw takes a game for every class
RECORD = Path(__file__).with_suffix(".jsonl")


class Bench:
    """One data set, and everything that learns from its unlabelled images; networks are trained when needed."""

    def __init__(self, data: str, root: Path, keep: Path, out: Path, total_images: int) -> None:
        train, test = (load(DATA[data], root=root, split=split, say=False) for split in ("train", "test"))
        assert train.labels is not None and test.labels is not None
        self.data, self.keep, self.out = data, keep, out
        self.images, self.labels = train.images[:NUM_UNLABELLED], train.labels[:NUM_UNLABELLED]
        end = NUM_TEST + NUM_HIDDEN
        self.test: Labelled = test.images[:NUM_TEST], test.labels[:NUM_TEST]
        self.hidden: Labelled = test.images[NUM_TEST:end], test.labels[NUM_TEST:end]
        self.machine = choose_machine()
        self.config = game_config(DATA[data], 0, total_images)

    @cached_property
    def game(self) -> Named:
        """The generator of a run on the unlabelled images, and its discriminator by the images that it had seen."""
        return self._kept("game", self._played)

    @cached_property
    def autoencoder(self) -> Named:
        """The encoder that has seen as many of these images."""
        return self._kept("autoencoder", lambda: train_autoencoder(self.images, self.config, self.machine).state_dict())

    def _played(self) -> Named:
        pair = play_game(self.images, self.config, self.machine, MOMENTS)
        named = {f"generator.{name}": value for name, value in pair.generator.state_dict().items()}
        for images, weights in pair.over_time.items():
            named |= {f"{images}.{name}": value for name, value in weights.items()}
        return named

    def _kept(self, what: str, make: Callable[[], Named]) -> Named:
        path = self.keep / f"{self.data}-{self.config.seed}-{what}.safetensors"
        tensors, facts = kept(path, make, provenance(self.machine))
        known = {(line.get("data"), line.get("network")) for line in read_lines(self.out)}
        if (self.data, what) not in known:
            append(
                self.out, kind="making", data=self.data, network=what, config=self.config.to_dict(), provenance=facts
            )
        return tensors

    def discriminator(self, images: int | None = None) -> models.Discriminator:
        """The discriminator after so many images, by default at the end."""
        end = max(int(name.split(".")[0]) for name in self.game if name[0].isdigit())
        return with_weights(self.config, under(str(end if images is None else images), self.game))

    def representation(self, name: str) -> Represent:
        """One of the methods, or of what is looked at more closely."""
        if name == "pixels":
            return pixels
        if name == "principal components":
            return principal_components(self.images)
        if name == "k-means patches":
            return patch_dictionary(self.images)
        if name == MIXED:
            return pooled_layers(self.discriminator().eval())
        if name in LAYERS:
            layers, number = self.representation(DISCRIMINATOR), LAYERS.index(name)
            return lambda images: [layers(images)[number]]
        return pooled_layers(with_statistics_of(self._network(name), self.images))

    def _network(self, name: str) -> models.Discriminator:
        if name == "untrained":
            return untrained(self.config)
        if name == "autoencoder":
            return with_weights(self.config, self.autoencoder)
        if name == LONGER:
            return recorded.load(RECORDED[self.data]).discriminator
        return self.discriminator(int(name.split()[1]) if name in OVER_TIME else None)

    def probes(self, name: str, budgets: tuple[int, ...]) -> Iterator[tuple[int, list[Probed]]]:
        """What a linear classifier makes of a representation: for each budget, every draw."""
        represent = self.representation(name)
        blocks = represent(self.images)
        scaled_by = [block[:NUM_SCALED] for block in blocks]
        features = on_one_scale(blocks, scaled_by)
        hidden, test = ((on_one_scale(represent(part[0]), scaled_by), part[1]) for part in (self.hidden, self.test))
        for per_class in budgets:
            rows = [draw(self.labels, per_class, seed) for seed in range(NUM_DRAWS)]
            yield per_class, [probe((features[chosen], self.labels[chosen]), hidden, test) for chosen in rows]

    def networks(self, per_class: int) -> dict[str, list[float]]:
        """Accuracies of networks that learn from the labelled images, alone or with others, in each of a few draws.

        right: shares of the labels of `others` that are what a classifier says that has learnt from all labels.
        """
        generator, _ = models.build(self.config)
        generator.load_state_dict(under("generator", self.game))
        judge = shipped_classifier(DATA[self.data])
        names = [*NETWORKS, *(f"right, {name}" for name in (GENERATED, UNLABELLED))]
        found: dict[str, list[float]] = {name: [] for name in names}
        for seed in range(NUM_NETWORKS):
            rows = draw(self.labels, per_class, seed)
            given, config = (self.images[rows], self.labels[rows]), replace(self.config, seed=seed)
            found[PLAIN].append(accuracy(train_network(given, config, self.machine, augment=False), self.test))
            teacher = train_network(given, config, self.machine, augment=True)
            found[AUGMENTED].append(accuracy(teacher, self.test))
            made = unscale(sample(generator, draw_latents(NUM_OTHERS, config.latent_size, seed=seed)))
            real = self.images[torch.randperm(len(self.images), generator=torch.Generator().manual_seed(seed))]
            for name, others in ((GENERATED, made), (UNLABELLED, real[:NUM_OTHERS])):
                labelled = labelled_by(teacher, others)
                network = train_network(given, config, self.machine, augment=True, others=labelled)
                found[name].append(accuracy(network, self.test))
                found[f"right, {name}"].append(accuracy(judge, labelled))
        return found

    def class_games(self, per_class: int) -> dict[str, list[float]]:
        """The same of networks that learn from the labelled images and from what a GAN for each class has made of them.

        These games see no other image, so that nothing has to be named by anybody.
        """
        judge, right = shipped_classifier(DATA[self.data]), f"right, {CLASS_GAMES}"
        found: dict[str, list[float]] = {CLASS_GAMES: [], right: []}
        for seed in range(NUM_NETWORKS):
            rows = draw(self.labels, per_class, seed)
            given, config = (self.images[rows], self.labels[rows]), replace(self.config, seed=seed)
            num_classes = int(self.labels.max()) + 1
            of_class = NUM_OTHERS // 2 // num_classes  # as many in all as of those that have to be named
            made = play_class_games(given, class_game(config), self.machine, of_class)
            others = made, torch.arange(num_classes).repeat_interleave(of_class)
            network = train_network(given, config, self.machine, augment=True, others=others)
            found[CLASS_GAMES].append(accuracy(network, self.test))
            found[right].append(accuracy(judge, others))
        return found


def measure(bench: Bench, name: str, budgets: tuple[int, ...]) -> None:
    """Adds the probes of a representation that the record does not hold yet, a line for each budget."""
    done = [(line.get("data"), line.get("features"), line.get("per_class")) for line in read_lines(bench.out)]
    if left := tuple(budget for budget in budgets if (bench.data, name, budget) not in done):
        for per_class, found in bench.probes(name, left):
            columns = {
                "inside": [round(each.inside, 5) for each in found],
                "hidden": [round(each.hidden, 5) for each in found],
                "inside_choices": [each.inside_choice for each in found],
                "hidden_choices": [each.hidden_choice for each in found],
            }
            append(bench.out, kind="probe", data=bench.data, features=name, per_class=per_class, **columns)


def measure_networks(
    bench: Bench, kind: str, play: Callable[[int], dict[str, list[float]]], budgets: tuple[int, ...]
) -> None:
    """Adds the networks that the record does not hold yet, a line for each budget."""
    lines = [line for line in read_lines(bench.out) if line["kind"] == kind and line["data"] == bench.data]
    for per_class in budgets:
        if per_class not in {line["per_class"] for line in lines}:
            found = {name: [round(value, 5) for value in each] for name, each in play(per_class).items()}
            append(bench.out, kind=kind, data=bench.data, per_class=per_class, accuracies=found)


def study(
    out: Path = RECORD,
    data: tuple[str, ...] = tuple(DATA),
    data_root: Path = Path("data"),
    keep: Path | None = None,
) -> None:
    """Measures what `out` does not hold yet: about two hours on one core.

    Args:
        out: File of findings, one JSON object a line; it may exist.
        data: Some of letters, digits and clothes.
        data_root: Folder of downloaded data sets.
        keep: Folder for the networks; with it, they are not trained again the next time.
    """
    torch.set_num_threads(1)
    append(out, kind="session", **provenance(choose_machine()))
    with TemporaryDirectory() as temporary:
        for name in data:
            bench = Bench(name, data_root, keep or Path(temporary), out, TOTAL_IMAGES)
            for features in METHODS:
                measure(bench, features, BUDGETS[:-1])
            measure_networks(bench, "networks", bench.networks, STAGES[0])
            closer = [*LAYERS, *OVER_TIME, MIXED, *([LONGER] if name in RECORDED else [])]
            for features in closer:
                measure(bench, features, LOOKED_CLOSER)
            for budgets in STAGES[1:]:
                measure_networks(bench, "networks", bench.networks, budgets)
            for features in METHODS:  # the most labels take longest
                measure(bench, features, BUDGETS)
            if name in GAMES_OF:
                measure_networks(bench, "class games", bench.class_games, GAMES_AT)


if __name__ == "__main__":
    command_line(study, "python -m dcgan_core.laboratory.labels")
