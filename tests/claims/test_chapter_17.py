"""Chapter 17's sentences: counted, read from the records that ship, or measured with wide margins, in turns."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import pytest
import torch

from dcgan_core import models
from dcgan_core.benchmark import gpu_parts, timing
from dcgan_core.benchmark.ladder import LEARNING_RATE, Row, core_loop, ladder
from dcgan_core.benchmark.processes import speeds
from dcgan_core.benchmark.timing import measure, pictures, work
from dcgan_core.cli import experiments
from dcgan_core.cli.experiments import benchmark
from dcgan_core.config import Config
from dcgan_core.data.scenes import render
from dcgan_core.runtime import choose_machine
from dcgan_core.teaching import budget
from dcgan_core.teaching.chapter_17 import layer_shares, recorded, recorded_on_cpu, recorded_processes, row_of
from dcgan_core.teaching.chapter_17_measuring import Drawer, fastest, layer_costs, queue, rate, shares, timeline
from dcgan_core.train import draw_latents

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parent.parent.parent
CELLS = nbformat.read(ROOT / "notebooks" / "17_going_fast.ipynb", as_version=4).cells
CODE = [cell.source for cell in CELLS if cell.cell_type == "code"]
TEXT = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
RATES = {"generator_learning_rate": LEARNING_RATE, "discriminator_learning_rate": LEARNING_RATE}
CONFIG = Config(channels=1, batch_size=64, **RATES)  # the chapter's
CARD, SMALL, CPU = recorded("ladder-64"), recorded("ladder-32"), recorded_on_cpu()
PROFILES = recorded("profile-64")
EAGER, GRAPH = PROFILES["eager"], PROFILES["as_trained"]
LADDERS = pytest.mark.parametrize("found", [CARD, SMALL], ids=["64", "32"])
ROWS = ["data on the device", "no waits", "fused Adam", "frozen discriminator", "channels-last", "moving average"]


def cell_with(text: str) -> str:
    """The one cell of code that holds this text."""
    (found,) = [source for source in CODE if text in source]
    return found


def speed(found: dict[str, Any], change: str) -> float:
    return row_of(found, change)["images_per_second"][0]


def overlap(one: list[float], other: list[float]) -> bool:
    """Whether two ranges, each after its median, can not be told apart."""
    return one[1] <= other[2] and other[1] <= one[2]


@pytest.fixture(scope="module")
def layers():
    machine = choose_machine("cpu", "float32")
    generator, discriminator = models.build(CONFIG)
    latents = draw_latents(CONFIG.batch_size, CONFIG.latent_size, seed=0)
    made = layer_costs(generator, latents.to(machine.device))
    with torch.no_grad():
        fake = generator(latents)
    return made, layer_costs(discriminator, fake)


# what an iteration has to do


def test_the_bill_by_hand_is_what_was_counted_on_the_card_at_both_sizes():
    for found, config in ((SMALL, gpu_parts.SPEED["32"]), (CARD, gpu_parts.SPEED["64"])):
        config = replace(config, batch_size=4)
        generator, discriminator = models.build(config)
        latents = draw_latents(4, config.latent_size, seed=0)
        with torch.no_grad():
            fake = generator(latents)
        made, judged = layer_costs(generator, latents, num_calls=1), layer_costs(discriminator, fake, num_calls=1)
        G, D = (sum(layer.flop for layer in stack) / 4 for stack in (made, judged))
        bill = 3 * G + 8 * D - made[0].flop / 4 - 2 * judged[0].flop / 4
        assert bill == row_of(found, "moving average")["flop_per_image"]
        assert bill + D == row_of(found, "tutorial loop")["flop_per_image"], "without freezing, D's weights as well"


def test_correcting_the_generator_is_two_fifths_of_the_bill_and_two_other_parts_a_fifth_each(layers):
    G, D = (sum(layer.flop for layer in stack) for stack in layers)
    namespace: dict[str, Any] = {"config": CONFIG, "made": layers[0], "judged": layers[1], "recorded": recorded}
    exec(cell_with("show_bill(bill)").replace("show_bill(bill);", ""), namespace)
    bill = namespace["bill"]
    parts = [part / sum(bill.values()) for part in bill.values()]
    assert parts == pytest.approx([0.2, 0.1, 0.2, 0.05, 0.05, 0.4], abs=0.02)
    assert bill["make the fakes"] * 64 == G and bill["judge real and fake"] * 32 == D


def test_layers_without_arithmetic_move_most_bytes_and_take_a_part_of_the_time(layers):
    found = layer_shares([*layers[0], *layers[1]])
    without = [sum(parts.get(kind, 0) for kind in ("batch normalisation", "activations")) for parts in found.values()]
    assert without[0] == 0 and without[1] > 0.5 and 0.01 < without[2] < 0.5
    assert found["FLOPs"]["convolutions"] > 0.9 and found["time"]["convolutions"] > 0.5


def test_bytes_of_a_layer_are_its_input_its_weights_and_its_output(layers):
    norm = layers[0][1]
    assert norm.name == "batch norm" and norm.num_bytes == 4 * (2 * 64 * 192 * 4 * 4 + 2 * 192)


# the roof


def test_on_a_processor_the_iteration_computes_at_more_than_half_the_speed_of_a_matrix_product():
    for change in (*ROWS, "tutorial loop"):
        assert row_of(CPU, change)["share_of_matrix_speed"] > 0.5


def test_one_by_one_the_card_reaches_less_than_a_tenth_of_its_roof_and_as_a_graph_several_times_as_much():
    plain, graph = (row_of(CARD, change) for change in ("moving average", "captured"))
    assert all(plain[what] == graph[what] for what in ("flop_per_image", "bytes_per_image", "precision"))
    assert 0.05 < max(plain["share_of_matrix_speed"], plain["share_of_copy_speed"]) < 0.1
    assert 3 < graph["images_per_second"][0] / plain["images_per_second"][0] < 5
    low = row_of(CARD, "captured, low precision")
    reached = [row["images_per_second"][0] * row["flop_per_image"] for row in (graph, low)]
    assert 1.2 < reached[1] / reached[0] < 1.6 and low["bytes_per_image"] < graph["bytes_per_image"]
    assert low["share_of_matrix_speed"] == pytest.approx(1 / 7, rel=0.05), "a seventh of the card's arithmetic"


def test_live_too_the_iteration_is_not_far_from_the_roof():
    """In processor time, and with a smaller batch: within a factor of three or four on any processor."""
    machine = choose_machine("cpu", "float32")
    config, matrix = replace(CONFIG, batch_size=32), torch.ones(512, 512)
    flop, _ = work(Row("", core_loop, machine), config, pictures(config, 64, 1))
    took = fastest(core_loop(config, pictures(config, 64, 1), machine), machine.device, 3)
    roof = 2 * 512**3 / fastest(lambda: matrix @ matrix, machine.device, 20)
    assert 0.2 < flop * 32 / took / roof < 1.2


# an iteration, seen by the profiler


def test_convolutions_take_most_of_an_iteration_and_gaps_are_a_small_part():
    namespace: dict[str, Any] = {}
    generator, _ = models.build(CONFIG)
    latents = draw_latents(CONFIG.batch_size, CONFIG.latent_size, seed=0)
    namespace |= {"config": CONFIG, "machine": choose_machine("cpu", "float32"), "latents": latents}
    namespace["fake"] = generator(latents).detach()
    exec(cell_with("def iteration()"), namespace)
    namespace["iteration"]()
    found = []
    for _ in range(3):
        parts, operations = timeline(namespace["iteration"])
        whole = max(each.end for each in [*parts, *operations])
        found.append(shares(operations, whole))
        names = [each.kind for each in sorted(parts, key=lambda each: each.begin)]
        assert names == ["fakes", "discriminator's turn", "generator's turn"]
    assert max(each["convolutions"] for each in found) > 0.5
    assert min(each["everything else"] for each in found) < 0.25
    assert all(sum(each.values()) == pytest.approx(1) for each in found)


def test_the_generators_turn_is_the_longest_by_what_it_computes(layers):
    G, D = (sum(layer.flop for layer in stack) for stack in layers)
    first, last = layers[0][0].flop, layers[1][0].flop
    assert 2 * D + 2 * G - first > 2 * D + 2 * (2 * D - last) > G


# the ladder, on a processor


def test_the_chapters_ladder_agrees_with_benchmark(tmp_path, monkeypatch):
    """The cell of the chapter and the command, on the same small networks: the same rows, work and losses; and ratios
    whose ranges, widened threefold for a machine that is busy with something else, overlap.
    """
    size = {"image_size": 16, "generator_width": 8, "discriminator_width": 8, "batch_size": 16}
    config = Config(channels=1, **size, **RATES)
    amounts = {"num_workers=budget(smoke=0, cpu=2, gpu=2)": "num_workers=2", "smoke=1, cpu=2": "smoke=2, cpu=2"}
    source = cell_with("live = measure(")
    for old, new in (amounts | {"smoke=1, cpu=5": "smoke=5, cpu=5"}).items():
        assert old in source
        source = source.replace(old, new)
    namespace: dict[str, Any] = {"config": config, "DEVICE": "cpu", "images": pictures(config, 256, 1)}
    namespace |= {"budget": budget, "choose_machine": choose_machine}
    for name in ("matrix_speed", "copy_speed"):  # which nobody compares here
        monkeypatch.setattr(timing, name, lambda *machine: 1e9)
    exec(source, namespace)
    monkeypatch.setattr(experiments, "pictures", lambda config: pictures(config, 256, 1))
    benchmark(tmp_path / "b.json", channels=1, **size, steps=2, repeats=5, device="cpu", compile="off")
    there = json.loads((tmp_path / "b.json").read_text())
    here = namespace["live"]
    for mine, theirs in zip(here["rows"], there["rows"], strict=True):
        assert mine["change"] == theirs["change"] and mine["skipped"] == theirs["skipped"]
        if not mine["skipped"]:
            for what in ("flop_per_image", "precision", "tolerance"):
                assert mine[what] == theirs[what], (mine["change"], what)
            # how much of the order of rows is drawn ahead for the other processes depends on chance
            assert mine["bytes_per_image"] == pytest.approx(theirs["bytes_per_image"], rel=0.02)
            assert max(each["largest_deviation"] for each in (mine, theirs)) < mine["tolerance"]
            for one, other in ((mine, theirs), (theirs, mine)):
                assert one["ratio"][1] < 3 * other["ratio"][2], "the lowest of one and the highest of the other"


def test_the_record_of_the_ladder_was_made_with_the_chapters_networks_and_losses():
    now = json.loads(json.dumps(CONFIG.to_dict()))
    assert CPU["config"] == {key: now[key] for key in CPU["config"]}, "fields that came later may be missing there"
    assert "/" not in CPU["machine"]["command"] and CPU["machine"]["threads"] == 1
    rows = ladder(CONFIG, choose_machine("cpu"), compile="off")
    assert (
        [row.change for row in rows]
        == [row["change"] for row in CPU["rows"]]
        == [row["change"] for row in CARD["rows"]]
    )
    row = Row("", core_loop, choose_machine("cpu", "float32"))
    flop, num_bytes = work(row, CONFIG, pictures(CONFIG, 64, 1))
    found = row_of(CPU, "moving average")
    unread = (20_000 - 64) * 32 * 32 / 64  # picking rows counts as reading the whole data set
    assert flop == found["flop_per_image"] and num_bytes + unread == pytest.approx(found["bytes_per_image"], rel=1e-3)
    for result in (CPU, CARD, SMALL):
        assert all(each["skipped"] or each["largest_deviation"] <= each["tolerance"] for each in result["rows"])


def test_on_a_processor_channels_last_is_the_first_row_that_helps_and_low_precision_the_first_that_is_worth_much():
    timed = [row for row in CPU["rows"] if not row["skipped"]]
    for row in timed[1:5]:
        assert row["ratio"][1] <= 1 <= row["ratio"][2], row["change"]
    assert row_of(CPU, "channels-last")["ratio"][1] > 1
    low, compiled = row_of(CPU, "low precision"), row_of(CPU, "compiled")
    assert low["ratio"][1] > 1.5 > max(row["ratio"][0] for row in timed if row["precision"] == "float32")
    assert overlap(low["ratio"], compiled["ratio"])
    (single, *_), (half, *_) = (CPU["matrix_flop_per_second"][name] for name in ("float32", "bfloat16"))
    assert half > 1.5 * single, "this chip multiplies bfloat16 faster"


# the ladder, on a card


@LADDERS
def test_data_on_the_device_help_then_nothing_for_six_rows_then_the_graph_more_than_all_before(found):
    device = row_of(found, "data on the device")["ratio"]
    assert 1.5 < device[0] < 1.8
    six = [row_of(found, change)["ratio"] for change in (*ROWS[1:], "low precision")]
    assert all(overlap(ratio, device) for ratio in six)
    assert min(ratio[0] for ratio in six) == six[-1][0], "low precision has the lowest median"
    before = max(device[0], *(ratio[0] for ratio in six))
    captured = row_of(found, "captured")["ratio"]
    assert captured[0] / before > before and 6 < captured[0] < 15


def test_a_graph_is_faster_in_bfloat16_at_64_pixels_and_not_at_32():
    plain, low = (
        [row_of(found, change)["images_per_second"] for found in (CARD, SMALL)]
        for change in ("captured", "captured, low precision")
    )
    assert low[0][1] > plain[0][2] and overlap(low[1], plain[1])
    gains = [low[0][0] / plain[0][0], low[1][0] / plain[1][0]]
    gains += [speed(found, "low precision") / speed(found, "moving average") for found in (CARD, SMALL, CPU)]
    assert min(gains) > 0.75 and max(gains) < 1.45
    assert row_of(CARD, "compiled")["skipped"] and row_of(SMALL, "compiled")["skipped"]


# bound by launches


def test_the_card_does_the_same_work_in_both_ways_and_waits_for_the_launches():
    busy = [found["seconds_per_step"] * found["busy"] for found in (EAGER, GRAPH)]
    assert busy[0] == pytest.approx(busy[1], rel=0.02)
    assert EAGER["busy"] == pytest.approx(1 / 7, rel=0.05) and GRAPH["busy"] > 0.9
    assert EAGER["launches_per_step"] == EAGER["kernels_per_step"] > 300 > 20 > GRAPH["launches_per_step"]
    launch = EAGER["seconds_per_step"] / EAGER["launches_per_step"]
    assert launch > 5 * launch * EAGER["busy"], "a launch takes many times as long as a kernel"


def test_the_model_of_the_queue_is_done_after_a_quarter_of_the_time_as_a_graph():
    launch = 1e6 * EAGER["seconds_per_step"] / EAGER["launches_per_step"]
    kernels = [launch * EAGER["busy"]] * 10
    (launches, apart), (once, together) = (queue(launch, kernels, together=at_once) for at_once in (False, True))
    assert len(launches) == 10 and len(once) == 1
    assert together[-1].end / apart[-1].end == pytest.approx(0.24, abs=0.03)
    assert all(before.end <= after.begin for before, after in pairwise(apart))


def test_without_launches_in_the_way_the_queue_takes_the_kernels_time():
    assert queue(1, [5, 5, 5])[1][-1].end == 16 and queue(0, [1, 2], together=True)[1][-1].end == 3


# batches, sources, and what surrounds the loop


def test_an_iteration_on_two_images_takes_more_than_twice_its_share_of_a_large_batch():
    machine = choose_machine("cpu", "float32")
    images = pictures(CONFIG, 64, 1)
    steps = {size: core_loop(replace(CONFIG, batch_size=size), images, machine) for size in (2, 32)}
    took = {size: fastest(step, machine.device, 4) for size, step in steps.items()}
    assert took[2] > 2 * took[32] * 2 / 32 and took[2] < took[32]


def test_a_tensor_gives_more_images_than_files_and_files_more_than_a_processor_trains():
    drawer = Drawer(render(8, seed=3).images, render(8, image_size=256, seed=3).images, 64)
    jpeg, png = (
        rate(lambda files=files: torch.stack([drawer.decode(file) for file in files]), 8, torch.device("cpu"))
        for files in (drawer.jpegs, drawer.pngs)
    )
    memory = rate(lambda: drawer.tensor.float() / 127.5 - 1, 8, torch.device("cpu"))
    assert memory > 10 * png > 10 * jpeg
    machine = choose_machine("cpu", "float32")
    trains = rate(
        core_loop(replace(gpu_parts.SPEED["64"], batch_size=4), drawer.tensor, machine), 4, machine.device, num_calls=2
    )
    assert jpeg > 1.5 * trains
    assert speed(CARD, "captured, low precision") > 5 * png, "several threads to feed the card"


def test_a_drawers_files_hold_its_pictures():
    images = render(3, seed=3).images
    drawer = Drawer(images, render(3, image_size=256, seed=3).images, 64)
    for row, image in enumerate(images):
        exact = torch.from_numpy(image).float() / 127.5 - 1
        torch.testing.assert_close(drawer.decode(drawer.pngs[row]), exact)
        assert (drawer.decode(drawer.jpegs[row]) - exact).abs().mean() < 0.1


def test_whole_runs_were_slower_than_their_iterations_and_less_so_with_a_thread_beside():
    inside, beside = (recorded("train-64", report) for report in ("h200-1", "h200-2"))
    assert inside["ratio"] < 0.6 < 0.7 < beside["ratio"] < 1
    for run in (inside, beside):
        assert run["pause_seconds"]["checkpoint"][0] > 100 * GRAPH["seconds_per_step"]


# several processes


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    namespace: dict[str, Any] = {"replace": replace, "models": models, "wide": gpu_parts.SPEED["64"]}
    exec(cell_with("def plan("), namespace)
    return namespace


def test_two_processes_of_the_record():
    line = recorded_processes()
    found = speeds(line)
    took = {name: median(each) for name, each in line["seconds"].items()}
    assert 1 < found["side by side"][0] < 2 and overlap(found["side by side"], found["shared"])
    assert min(found, key=lambda name: found[name][0] if name != "alone" else 9) == "split"
    assert took["exchange"] < 0.05 * took["shared"]
    assert line["gradient_bytes"] == 4 * sum(map(models.num_parameters, models.build(CONFIG)))


def test_the_plan_is_the_formula_with_the_numbers_of_the_architecture_page(plan):
    page = (ROOT / "book" / "architecture.md").read_text(encoding="utf-8")
    table = re.search(r"\| exchanges of batch statistics \| \d+ \| (\d+) \|", page)
    assert plan["NUM_STATISTICS"] == int(table[1])
    assert "20 µs within a computer and 50 µs between" in page
    assert [begin for _, _, begin in plan["LINKS"].values()] == [0, 20e-6, 50e-6, 50e-6]
    for cards in (1, 2, 8, 64):  # a ring: each card passes on one part of the gradients in each of 2 (N - 1) steps
        parts = sum(25e6 / cards for _ in range(2 * (cards - 1)))
        assert plan["exchange"](25e6, cards, 50e9, 0) == pytest.approx(parts / 50e9)


def test_as_planned_eight_cards_with_graphs_do_most_of_eight_times_the_work_and_without_less_than_twice(plan):
    def planned(profile: dict[str, Any]) -> list[float]:
        rows = plan["plan"](profile["seconds_per_step"]).values()
        return [cards * 128 / sum(row.values()) for (cards, *_), row in zip(plan["LINKS"].values(), rows, strict=True)]

    graphs, apart = planned(GRAPH), planned(EAGER)
    assert 4 < graphs[1] / graphs[0] < 8 and graphs[2] < graphs[1]
    assert 1 < apart[1] / graphs[0] < 2
    within = plan["plan"](GRAPH["seconds_per_step"])["8 cards, 1 machine"]
    assert within["batch statistics"] > within["gradients"]


# what a run costs


def test_costs_are_in_the_ratio_of_the_ladder():
    namespace: dict[str, Any] = {"row_of": row_of, "card": CARD, "low": "captured, low precision"}
    exec(cell_with("def cost("), namespace)
    hours, kwh, price = namespace["cost"](3600, 1, watts=500, price_per_hour=2, cards=3)
    assert (hours, kwh, price) == (1, 1.5, 6)
    slow, fast = (
        namespace["cost"](10**7, speed(CARD, change), 700, 3) for change in ("tutorial loop", "captured, low precision")
    )
    ratio = speed(CARD, "captured, low precision") / speed(CARD, "tutorial loop")
    assert [one / other for one, other in zip(slow, fast, strict=True)] == pytest.approx([ratio] * 3)


def test_the_loop_of_the_exercise_is_the_one_that_is_checked():
    import inspect

    from dcgan_core.teaching.slow_loop import slow_loop

    (shown,) = [node for node in ast.parse(cell_with("def slow_loop")).body if isinstance(node, ast.FunctionDef)]
    (checked,) = ast.parse(inspect.getsource(slow_loop)).body
    assert [ast.unparse(line) for line in shown.body] == [ast.unparse(line) for line in checked.body[1:]]


def test_in_the_slow_loop_three_parts_take_most_of_the_time_and_reading_the_losses_takes_none():
    from dcgan_core.teaching.chapter_17_exercises import _milliseconds

    took = _milliseconds()
    waits = sum(took[name] for name in ("read", "evaluate", "draw"))
    assert waits > 0.6 * sum(took.values()) and took["losses"] < 0.05 * took["update"]
    assert took["draw"] > took["read"]


def test_measuring_a_layer_changes_no_network():
    generator, _ = models.build(CONFIG)
    before = {name: value.clone() for name, value in generator.named_parameters()}
    layer_costs(generator, draw_latents(4, CONFIG.latent_size, seed=0), num_calls=1)
    assert all(torch.equal(value, before[name]) for name, value in generator.named_parameters())


def test_measure_is_what_benchmark_calls():
    assert benchmark.__globals__["measure"] is measure
