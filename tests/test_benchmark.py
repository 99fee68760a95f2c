"""The rows of the speed ladder train the same GAN; what does not is refused; what cannot run says why. No timing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch

from dcgan_core import capture, iteration
from dcgan_core.benchmark import ladder, timing
from dcgan_core.benchmark.ladder import LEARNING_RATE, LossesDiffer, Row, core_loop, prepare, tutorial_loop
from dcgan_core.capture import Unavailable
from dcgan_core.config import Config
from dcgan_core.runtime import Machine, choose_machine

RATES = {"generator_learning_rate": LEARNING_RATE, "discriminator_learning_rate": LEARNING_RATE}
SMALL = Config(image_size=16, latent_size=8, generator_width=8, discriminator_width=8, batch_size=8, **RATES)
ON_A_CPU = [
    *("tutorial loop", "data on the device", "no waits", "fused Adam", "frozen discriminator", "channels-last"),
    "moving average",
]


@pytest.fixture
def images(tiny_dataset):
    return tiny_dataset.images


@pytest.fixture
def rows(cpu) -> list[Row]:
    return ladder.ladder(SMALL, cpu, compile="off", num_workers=0)


def row(rows: list[Row], change: str) -> Row:
    return next(row for row in rows if row.change == change)


def assert_same_training(rows, config, images):
    """What `prepare` checks; a mutant must be refused by it."""
    try:
        return prepare(rows, config, images)
    except LossesDiffer as error:
        raise AssertionError(str(error)) from error


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_rows_have_the_losses_of_the_first(rows, images, seed):
    running = assert_same_training(rows, replace(SMALL, seed=seed), images)
    assert [row.change for row, _ in running] == ON_A_CPU
    assert max(row.largest_deviation for row, _ in running) < 1e-4  # two layers deep, rounding hardly grows


def test_batches_from_worker_processes_are_the_same(images, cpu):
    first, second = (tutorial_loop(SMALL, images, cpu, num_workers=number) for number in (1, 0))
    for _ in range(7):  # into the second epoch
        torch.testing.assert_close(first(), second())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_stays_within_its_tolerance(rows, images, precision):
    low = Row("low", core_loop, choose_machine("cpu", precision))
    assert_same_training([rows[0], low], SMALL, images)
    assert low.largest_deviation > 0


def without_discriminator_update(monkeypatch):
    def skip(discriminator, optimizer, loss_function, real, fake, *, autocast, **_):
        with autocast:
            return loss_function(discriminator(real), discriminator(fake.detach())).detach()

    monkeypatch.setattr(iteration, "update_discriminator", skip)


def with_other_images(monkeypatch):
    right = ladder.Batches

    def other(images, *, batch_size, seed):
        return right(images, batch_size=batch_size, seed=seed + 1)

    monkeypatch.setattr(ladder, "Batches", other)


def with_another_learning_rate(monkeypatch):
    right = ladder.start

    def fast(config, machine):
        return right(replace(config, discriminator_learning_rate=10 * LEARNING_RATE), machine)

    monkeypatch.setattr(ladder, "start", fast)


def with_losses_that_are_no_numbers(monkeypatch):
    monkeypatch.setattr(ladder, "ready", lambda *_: (lambda *_: (torch.tensor(float("nan")), torch.tensor(0.7)), {}))


@pytest.mark.parametrize(
    "mutate",
    [without_discriminator_update, with_other_images, with_another_learning_rate, with_losses_that_are_no_numbers],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mutant_rows_that_train_something_else_are_refused(rows, images, monkeypatch, mutate, seed):
    def mutant(*given):
        mutate(monkeypatch)
        return core_loop(*given)

    with pytest.raises(AssertionError, match="the row 'mutant' has other losses"):
        assert_same_training([rows[0], Row("mutant", mutant, rows[0].machine)], replace(SMALL, seed=seed), images)


def test_low_precision_is_no_excuse_for_a_missing_update(rows, images, monkeypatch):
    without_discriminator_update(monkeypatch)
    low = Row("low", core_loop, choose_machine("cpu", "bfloat16"))
    with pytest.raises(AssertionError):
        assert_same_training([rows[0], low], SMALL, images)


def test_the_rows_below_the_tutorials_are_the_training_loop_itself(rows, images, monkeypatch):
    calls = []
    monkeypatch.setattr(capture, "advance", lambda *given: calls.append(given) or iteration.advance(*given))
    prepare([row(rows, "moving average")], SMALL, images)
    assert len(calls) == ladder.NUM_COMPARED


def multiply_adds(size: int, width: int, channels: int) -> list[tuple[int, int]]:
    """Of each 4x4 layer of either network, the smallest maps first: one per weight, at each place of its small side."""
    places = [side * side for side in (4, 8, 16, 32) if side < size]
    widths = [width * 2**i for i in reversed(range(len(places)))]
    return [
        place * 16 * before * after
        for place, before, after in zip(places, widths, [*widths[1:], channels], strict=True)
    ]


def flop_by_hand(config: Config) -> int:
    """Of an iteration with a shared fake batch and a frozen discriminator, per real image: 2 per multiply-add.

    Backward is one product for the inputs' and one for the weights' gradients. The generator runs forward once and
    backward once (no gradient for the latents). The discriminator runs forward three times; backward twice for its
    weights (no gradient for the images), and once for the fake images alone.
    """
    layers = multiply_adds(config.image_size, config.generator_width, config.channels)
    first = config.latent_size * 16 * config.generator_width * config.image_size // 8
    generator = 3 * sum(layers) + 2 * first
    layers = multiply_adds(config.image_size, config.discriminator_width, config.channels)
    last = 16 * config.discriminator_width * config.image_size // 8
    discriminator = 8 * (sum(layers) + last) - 2 * layers[-1]
    return 2 * (generator + discriminator)


def test_the_operations_are_those_counted_by_hand(rows, cpu):
    full = Config(image_size=64, channels=3, generator_width=64, discriminator_width=64, batch_size=2)
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    flop, _ = timing.work(row(rows, "moving average"), full, images)
    assert flop == flop_by_hand(full)
    assert round(flop / 1e9, 4) == 2.2746
    not_frozen, _ = timing.work(row(rows, "no waits"), full, images)
    assert round(not_frozen / 1e9, 4) == 2.4823


def test_bytes_are_those_of_inputs_and_outputs():
    ones = torch.ones(1000)
    with timing._Traffic() as traffic:
        ones.view(10, 100).add(ones.view(10, 100)).t()
    assert traffic.num_bytes == 3 * 4000


def test_a_row_that_cannot_run_says_why(rows, images, monkeypatch, cpu):
    assert {row.change: row.skipped for row in rows if row.skipped} == {
        "low precision": "convolutions in float32 (as asked)",
        "compiled": "switched off",
        "captured": "CUDA graphs need a CUDA device",
        "captured, low precision": "CUDA graphs need a CUDA device",
        "compiled and captured": "CUDA graphs need a CUDA device",
    }
    monkeypatch.setattr(ladder.shutil, "which", lambda name: None)
    assert row(ladder.ladder(SMALL, cpu), "compiled").skipped == "no C++ compiler was found"
    assert row(ladder.ladder(SMALL, cpu, compile="on"), "compiled").skipped is None

    def uncompilable(*given):
        raise Unavailable("one long sentence", "no backend")

    compiled = Row("compiled", uncompilable, replace(cpu, compiled=True))
    assert [row.change for row, _ in prepare([rows[0], compiled], SMALL, images)] == ["tutorial loop"]
    assert compiled.skipped == "no backend"

    def mistaken(*given):
        raise RuntimeError("a mistake of ours")

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        prepare([Row("a mistake of ours", mistaken, replace(cpu, compiled=True))], SMALL, images)


def test_after_a_recording_that_failed_no_other_row_tries(rows, images, monkeypatch, cpu):
    monkeypatch.setattr(Machine, "no_graph", property(lambda machine: None if machine.capture == "on" else "off"))
    tried = []

    def break_off(state, machine):
        tried.append(machine)
        raise Unavailable("one long sentence", "the first cause")

    monkeypatch.setattr(ladder, "ready", break_off)
    on = replace(cpu, capture="on")
    captured = [Row("captured", core_loop, on), Row("the same again", core_loop, on)]
    others = [Row("compiled", core_loop, replace(cpu, compiled=True)), rows[1]]
    assert [row.change for row, _ in prepare([rows[0], *captured, *others], SMALL, images)] == [
        "tutorial loop",
        "data on the device",
    ]
    assert [row.skipped for row in captured] == ["the first cause"] * 2 and len(tried) == 2


def test_the_result_holds_what_was_measured_and_on_what(rows, images, cpu, monkeypatch):
    monkeypatch.setattr(timing, "copy_speed", lambda device: 2e9)
    monkeypatch.setattr(timing, "matrix_speed", lambda precision, device: 3e9)
    result = json.loads(
        json.dumps(timing.measure(rows, SMALL, images, cpu, num_steps=1, num_repeats=3), allow_nan=False)
    )
    assert result.keys() == {
        *("config", "machine", "counts", "matrix_flop_per_second", "copy_bytes_per_second", "rows")
    }
    assert {"device", "torch", "threads", "precision"} <= result["machine"].keys()
    assert result["counts"] == {"steps": 1, "repeats": 3, "compared_steps": ladder.NUM_COMPARED}
    assert Config.from_dict(result["config"]) == SMALL
    assert [line["change"] for line in result["rows"]] == [row.change for row in rows]
    for line in result["rows"]:
        if line["skipped"]:
            assert line.keys() == {"change", "skipped"}
            continue
        for name in ("images_per_second", "ratio"):
            median, lowest, highest = line[name]
            assert 0 < lowest <= median <= highest
        assert line["largest_deviation"] <= line["tolerance"]
        assert (line["precision"], line["compiled"], line["captured"]) == ("float32", False, False)
        speed = line["images_per_second"][0]
        assert line["share_of_matrix_speed"] == pytest.approx(speed * line["flop_per_image"] / 3e9)
        assert line["share_of_copy_speed"] == pytest.approx(speed * line["bytes_per_image"] / 2e9)
    assert result["rows"][0]["ratio"] == [1, 1, 1]
    text = timing.table(result)
    assert all(row.change in text for row in rows)
    assert "skipped: CUDA graphs need a CUDA device" in text


def test_speeds_of_the_machine_are_measured(cpu):
    assert timing.copy_speed(cpu.device, num_calls=1) > 0
    assert timing.matrix_speed(torch.float32, cpu.device, num_calls=1) > 0


QUICK = (
    *("benchmark", "--image-size", "16", "--generator-width", "4", "--discriminator-width", "4", "--batch-size", "8"),
    *("--steps", "1", "--repeats", "1", "--device", "cpu", "--precision", "float32", "--compile", "off"),
)


@pytest.fixture
def run(monkeypatch, capsys, images):
    """Runs the command with few images, in this process: (exit code, standard output, standard error)."""
    dcgan_cli = pytest.importorskip("dcgan_core.cli", reason="the command line needs tyro")
    from dcgan_core.cli import experiments

    right = ladder.ladder
    monkeypatch.setattr(experiments, "pictures", lambda config: images)
    monkeypatch.setattr(experiments, "ladder", lambda *given, **named: right(*given, **named, num_workers=0))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dcgan_core", *map(str, arguments)])
        return dcgan_cli.main(), *capsys.readouterr()

    return call


def test_the_command_prints_a_table_and_writes_json(run, tmp_path):
    code, output, errors = run(*QUICK, "--out", tmp_path / "speed.json")
    assert code == 0, errors
    assert "tutorial loop" in output
    assert len(json.loads((tmp_path / "speed.json").read_text())["rows"]) == 12


def test_the_command_fails_loudly_when_losses_differ(run, monkeypatch, tmp_path):
    without_discriminator_update(monkeypatch)
    code, output, errors = run(*QUICK, "--out", tmp_path / "speed.json")
    assert code == 2
    assert "has other losses than the first row" in errors
    assert "images/s" not in output
    assert not (tmp_path / "speed.json").exists()


@pytest.mark.parametrize(
    ("flags", "word"), [(("--steps", "0"), "steps"), (("--repeats", "0"), "repeats"), (("--out", "no/where"), "out")]
)
def test_mistakes_on_the_command_line_are_one_sentence(run, flags, word):
    code, _, errors = run(*QUICK, *flags)
    assert code == 2
    assert errors.startswith(f"error: {word} is ")


def test_pictures_are_as_many_as_a_small_data_set():
    images = timing.pictures(replace(SMALL, channels=3), num_different=8, num_copies=3)
    assert images.shape == (24, 3, 16, 16)
    assert images.dtype == torch.uint8


@pytest.mark.gpu
def test_on_a_gpu_every_row_has_the_losses_of_the_first(images):
    machine = choose_machine("cuda")
    rows = ladder.ladder(SMALL, machine, num_workers=0)
    running = assert_same_training(rows, SMALL, images)
    assert {"captured", "captured, low precision"} <= {row.change for row, _ in running}


def constant(change: str, loss: float, machine: Machine) -> Row:
    """A row whose losses are always the same."""
    return Row(change, lambda *_: lambda: torch.full((2,), loss), machine)


def test_each_row_is_compared_with_the_first(images, cpu):
    """Not with the row above: small deviations would add up."""
    first, near, further = constant("first", 1.0, cpu), constant("near", 1.008, cpu), constant("further", 1.016, cpu)
    assert len(prepare([first, near], SMALL, images)) == 2
    with pytest.raises(LossesDiffer, match="the row 'further' has other losses"):
        prepare([first, near, further], SMALL, images)


@pytest.mark.parametrize("loss", [0.9, 1.1])
def test_a_row_whose_losses_are_lower_is_refused_too(images, cpu, loss):
    with pytest.raises(LossesDiffer):
        prepare([constant("first", 1.0, cpu), constant("second", loss, cpu)], SMALL, images)


def test_the_row_before_the_moving_average_has_none(rows, images, cpu, monkeypatch):
    configs, right = [], ladder.start
    monkeypatch.setattr(ladder, "start", lambda config, machine: configs.append(config) or right(config, machine))
    for change in ("channels-last", "moving average"):
        row(rows, change).build(SMALL, images, cpu)
    assert [config.ema_halflife_images for config in configs] == [0, SMALL.ema_halflife_images]


def test_speeds_are_medians_of_images_in_the_seconds_of_a_block(images, cpu, monkeypatch):
    """Two rows in turns, three times: 40 images in 1, 2 and 8 seconds, and in 2, 1 and 1."""
    taken = iter([1.0, 2.0, 2.0, 1.0, 8.0, 1.0])
    monkeypatch.setattr(timing, "seconds", lambda *_: next(taken))
    monkeypatch.setattr(timing, "copy_speed", lambda device: 1.0)
    monkeypatch.setattr(timing, "matrix_speed", lambda precision, device: 1.0)
    pair = [constant("first", 1.0, cpu), constant("second", 1.0, cpu)]
    first, second = timing.measure(pair, SMALL, images, cpu, num_steps=5, num_repeats=3)["rows"]
    assert first["images_per_second"] == [20, 5, 40] and second["images_per_second"] == [40, 20, 40]
    assert second["ratio"] == [2, 0.5, 8]
