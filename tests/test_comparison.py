"""A comparison plays what the protocol says, measures it at the right time, and goes on where it was stopped."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace

import pytest
import torch

from dcgan_core.capture import Way
from dcgan_core.config import InvalidInput
from dcgan_core.data import load, scale
from dcgan_core.iteration import advance
from dcgan_core.laboratory import comparison, games, protocol
from dcgan_core.laboratory.comparison import compare
from dcgan_core.laboratory.games import Game, play
from dcgan_core.laboratory.outcomes import read, summarise, table
from dcgan_core.laboratory.protocol import COSTLY, METHODS, PILOTS, PLAIN, RATES
from dcgan_core.runtime import Machine, choose_machine

COSTS = dict.fromkeys(METHODS, 1.0) | {COSTLY: 5.0, "unrolled": 4.0}


@pytest.fixture(autouse=True, scope="module")
def few_images():
    """Data sets so small that drawing them takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 500, "test": 2_000})
        patch.setattr("dcgan_core.data.named.NUM_STACKED", {"train": 500, "test": 400})
        yield
    comparison._images.cache_clear()
    comparison._judge.cache_clear()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiny players and samples; the protocol is the module's own."""
    monkeypatch.setattr(protocol, "POINTS", replace(protocol.POINTS, generator_width=4, discriminator_width=4))
    monkeypatch.setattr(protocol, "IMAGES", replace(protocol.IMAGES, generator_width=2, discriminator_width=2))
    monkeypatch.setattr(comparison, "NUM_SAMPLES", {"points": 50, "letters": 40})
    monkeypatch.setattr(comparison, "NUM_STACKED_SAMPLES", 30)
    monkeypatch.setattr(comparison, "COST_ROUNDS", 1)
    monkeypatch.setattr(comparison, "COST_UPDATES", 1)


def test_play_looks_exactly_at_the_marks():
    made = itertools.count(1)
    count = [0]

    def update() -> None:
        count[0] = next(made)

    game = Game(update, lambda: [{"updates made": count[0]}])
    found = [(mark, seen[0]["updates made"]) for mark, _, seen in play(game, [7, 2, 7])]
    assert found == [(2, 2), (7, 7)]


def test_training_time_is_that_of_all_updates_and_of_nothing_else(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(games.time, "perf_counter", lambda: now[0])

    def takes(seconds):
        now[0] += seconds
        return [{}]

    game = Game(lambda: takes(1.0), lambda: takes(100.0))
    found = []
    for mark, seconds, _ in play(game, [2, 7]):
        found.append((mark, seconds))
        takes(1000.0)  # writing the outcome down
    assert found == [(2, 2.0), (7, 7.0)]


@dataclass
class Played:
    """A game that only counts its updates."""

    data: str
    method: str
    rate: float
    seeds: tuple[int, ...]
    updates: int = 0


def luck(method: str, rate: float, seed: int) -> float:
    """How far a made-up game is from perfect. Pilots do best at 1e-3, or 3e-4 with minimax, and other seeds worst."""
    is_pilot = seed >= 100
    return float((rate == (3e-4 if method == "minimax" else 1e-3)) != is_pilot)


@pytest.fixture
def counted(monkeypatch) -> list[Played]:
    """All games that are played, which only count, with made-up outcomes and costs."""
    games: list[Played] = []

    def begin(data, method, rate, seeds):
        game = Played(data, method, rate, tuple(seeds))
        games.append(game)

        def update():
            game.updates += 1

        def look():
            found = [{"overlap": 1 - luck(method, rate, seed), "of seed": seed, "at": game.updates} for seed in seeds]
            return [one | ({} if data == "ring" else {"frechet_distance": 1 - one["overlap"]}) for one in found]

        return Game(update, look)

    def image_game(data, method, rate, seed, machine, root):
        return begin(data, method, rate, [seed])

    monkeypatch.setattr(comparison, "point_game", begin)
    monkeypatch.setattr(comparison, "image_game", image_game)
    monkeypatch.setattr(comparison, "relative_costs", lambda *_: COSTS)
    monkeypatch.setattr(comparison, "real_images", lambda *_: {"num_samples": 1})
    return games


def test_points_are_played_at_every_rate_by_all_seeds_side_by_side(tmp_path, counted):
    path = tmp_path / "comparison.jsonl"
    found = compare(path, data=["ring"], methods=[PLAIN, COSTLY], num_seeds=2, num_updates=10, progress=False)
    seeds = (0, 1, *PILOTS["points"])
    expected = [("ring", method, rate, seeds) for method in (PLAIN, COSTLY) for rate in RATES["points"]]
    assert [(game.data, game.method, game.rate, game.seeds) for game in counted] == expected
    assert {(game.method, game.updates) for game in counted} == {(PLAIN, 50), (COSTLY, 10)}
    assert all(line["seed"] == line["of seed"] and line["updates"] == line["at"] for line in found)
    assert {(line["method"], *line["budgets"], line["updates"]) for line in found} == {
        *((PLAIN, "updates", "time", 10), (PLAIN, "longer", 50)),
        *((COSTLY, "time", 2), (COSTLY, "updates", 10)),
    }
    assert len(found) == 2 * 2 * len(RATES["points"]) * len(seeds)


def test_images_choose_each_methods_rate_by_its_pilots_on_letters_which_are_trained_no_longer(tmp_path, counted):
    path = tmp_path / "comparison.jsonl"
    data, methods = ["letters", "stacked digits"], ["minimax", PLAIN]
    compare(path, data=data, methods=methods, num_seeds=2, num_updates=10, progress=False)
    pilots = [game for game in counted if game.seeds == (100,)]
    assert {(game.data, game.method, game.rate) for game in pilots} == {
        ("letters", method, rate) for method in methods for rate in RATES["images"]
    }
    assert {game.updates for game in pilots} == {10}
    own = [game for game in counted if game.seeds != (100,)]
    assert [(game.data, game.method, game.rate, game.seeds) for game in own] == [
        (name, method, 3e-4 if method == "minimax" else 1e-3, (seed,))
        for name in data
        for seed in (0, 1)
        for method in methods
    ]
    assert {(game.method, game.updates) for game in own} == {("minimax", 10), (PLAIN, 50)}


def test_wherever_a_comparison_is_cut_only_what_is_missing_is_played_again(tmp_path, counted):
    path, settings = tmp_path / "comparison.jsonl", dict(methods=[PLAIN, COSTLY], num_seeds=1, num_updates=10)
    settings |= dict(data=["ring", "letters"], progress=False)

    def results(found):
        return sorted(json.dumps({**line, "seconds": 0}, sort_keys=True) for line in found)

    whole = results(compare(path, **settings))
    lines = path.read_text().splitlines()
    for kept in range(1, len(lines) + 1):
        path.write_text("\n".join(lines[:kept]) + "\n")
        counted.clear()
        assert results(compare(path, **settings)) == whole
        missing = [json.loads(line) for line in lines[kept:]]
        games = {(line["data"], line["method"], line["rate"]) for line in missing if line["kind"] == "outcome"}
        again = [(game.data, game.method, game.rate) for game in counted]
        assert set(again) == games
        alone = [game for game in counted if game.data == "letters"]
        assert len({(game.method, game.rate, game.seeds) for game in alone}) == len(alone)


def test_costs_are_measured_once(tmp_path, counted, monkeypatch):
    measured = []
    monkeypatch.setattr(comparison, "relative_costs", lambda *_: measured.append(1) or COSTS)
    for methods in ([PLAIN], ["minimax"]):
        compare(tmp_path / "new.jsonl", data=["ring"], methods=methods, num_seeds=1, num_updates=1, progress=False)
    assert measured == [1]


class Watched:
    """An image game with what its players were shown."""

    def __init__(self, monkeypatch, method: str, seed: int) -> None:
        self.real: list[torch.Tensor] = []
        self.trained: list[torch.Tensor] = []
        self.judged: list[torch.Tensor] = []
        begin = games.start

        def start(config, machine):
            state = begin(config, machine)

            def note(generator, inputs):
                (self.trained if generator.training else self.judged).append(inputs[0].detach())

            state.generator.register_forward_pre_hook(note)
            return state

        def step(state, real, machine):
            self.real.append(real)
            return advance(state, real, machine)

        monkeypatch.setattr(games, "start", start)
        monkeypatch.setattr(games, "ready", lambda state, machine: Way(step, {}))
        self.game = comparison.image_game("letters", method, 1e-3, seed, choose_machine("cpu", "float32"), "data")


def test_an_image_game_is_judged_by_latents_that_no_training_and_no_other_seed_has(monkeypatch):
    judged = []
    for seed in (0, 1, 100):
        watched = Watched(monkeypatch, PLAIN, seed)
        for _ in range(2):
            watched.game.update()
            watched.game.look()
        shown = torch.cat(watched.judged)
        assert torch.equal(*shown.chunk(2)), "the same at each look"
        judged.append(shown.chunk(2)[0])
        trained = torch.cat(watched.trained)
        assert len(trained) == 2 * protocol.IMAGES.batch_size
        assert torch.cdist(judged[-1], trained).min() > 0.1
        monkeypatch.undo()
    assert len(judged[0]) > 1 and len(torch.cat(judged).unique(dim=0)) == sum(map(len, judged))


def test_an_image_game_is_shown_new_images_in_an_order_of_its_seed(monkeypatch):
    shown = []
    for seed in (0, 1):
        watched = Watched(monkeypatch, PLAIN, seed)
        for _ in range(3):
            watched.game.update()
        shown.append(torch.cat(watched.real).flatten(1))
        assert len(shown[-1].unique(dim=0)) == 3 * protocol.IMAGES.batch_size
        monkeypatch.undo()
    assert not torch.equal(*shown)


@pytest.mark.parametrize(("method", "num_steps"), [(PLAIN, 1), (COSTLY, 5), ("unrolled", 1)])
def test_each_step_of_a_critic_gets_a_batch_of_its_own(monkeypatch, method, num_steps):
    watched = Watched(monkeypatch, method, 0)
    watched.game.update()
    (real,) = watched.real
    assert len(real) == num_steps * protocol.IMAGES.batch_size == len(torch.cat(watched.trained))
    assert len(real.flatten(1).unique(dim=0)) == len(real)


def test_points_are_judged_by_the_same_latents_at_each_look():
    game = comparison.point_game("ring", PLAIN, 1e-3, (0, 1))
    first = game.look()
    assert game.look() == first and [one["num_samples"] for one in first] == [50, 50]
    game.update()
    assert game.look() != first or first[0]["reached"] == 0


def test_a_comparison_of_points_plays_everything_and_its_table_says_so(tmp_path):
    path = tmp_path / "comparison.jsonl"
    found = compare(path, data=["ring"], methods=[PLAIN, "unrolled"], num_seeds=2, num_updates=4, progress=False)
    seeds = {0, 1, *PILOTS["points"]}
    assert {(one["method"], one["rate"], one["seed"]) for one in found if "updates" in one["budgets"]} == set(
        itertools.product([PLAIN, "unrolled"], RATES["points"], seeds)
    )
    longer = [one for one in found if "longer" in one["budgets"]]
    assert {one["method"] for one in longer} == {PLAIN} and all(one["updates"] >= 4 for one in longer)
    printed = table(read(path))
    assert "unrolled" in printed and "minimax" not in printed and "overlap" in printed
    assert summarise(read(path), "ring", "unrolled", "good").num_seeds == 2


def test_images_are_played_at_the_rate_that_the_pilots_chose(tmp_path):
    path = tmp_path / "comparison.jsonl"
    with pytest.raises(InvalidInput, match="no pilot of 'minimax' on letters"):
        compare(path, data=["stacked digits"], methods=["minimax", PLAIN], num_seeds=1, num_updates=1, progress=False)
    compare(path, data=["letters"], methods=["minimax", PLAIN], num_seeds=1, num_updates=2, progress=False)
    found = compare(
        path, data=["stacked digits"], methods=["minimax", PLAIN], num_seeds=1, num_updates=1, progress=False
    )
    chosen = {one["method"]: one["rate"] for one in found if one["data"] == "letters" and one["seed"] == 0}
    for method, rate in chosen.items():
        pilots = {
            one["rate"]: one["frechet_distance"]
            for one in found
            if one["data"] == "letters" and one["method"] == method and one["seed"] == 100
        }
        assert pilots[rate] == min(pilots.values())
    stacked = [one for one in found if one["data"] == "stacked digits"]
    assert stacked and all(one["num_modes"] == 1000 and chosen[one["method"]] == one["rate"] for one in stacked)


def test_where_iterations_can_be_recorded_no_method_may_do_without(monkeypatch, cpu):
    """Or it would be slower for a reason that is not its own, and its time would count against it."""
    asked = []

    def ready(state, machine):
        asked.append(machine.capture)
        return Way(lambda *given: advance(*given), {"captured": machine.capture == "on"})

    monkeypatch.setattr(games, "ready", ready)
    played = []
    for machine, no_graph in ((cpu, None), (cpu, "no card"), (replace(cpu, capture="off"), "switched off")):
        monkeypatch.setattr(Machine, "no_graph", property(lambda _, why=no_graph: why))
        played.append(comparison.image_game("letters", PLAIN, 1e-3, 0, machine, "data"))
        played[-1].update()
    assert asked == ["on", "off", "off"]
    assert [game.facts for game in played] == [{"captured": True}, {"captured": False}, {"captured": False}]


def test_a_comparison_that_was_stopped_goes_on_and_plays_nothing_twice(tmp_path, monkeypatch):
    path = tmp_path / "comparison.jsonl"
    settings = dict(data=["ring"], methods=[PLAIN, "minimax"], num_seeds=1, num_updates=3, progress=False)
    whole = compare(path, **settings)
    lines = path.read_text().splitlines()
    half = len(lines) // 2
    path.write_text("\n".join(lines[:half]) + "\n" + lines[half][:20])  # killed in the middle of a line
    played = []
    real = comparison.point_game
    monkeypatch.setattr(comparison, "point_game", lambda *game: played.append(game) or real(*game))
    again = compare(path, **settings)
    assert 0 < len(played) < 2 * len(RATES["points"])

    def result(line):
        return {name: value for name, value in line.items() if name not in ("seconds", "budgets", "updates")}

    def ends(found):
        return {json.dumps(result(one), sort_keys=True) for one in found if one["updates"] == 3}

    assert ends(again) == ends(whole)
    played.clear()
    compare(path, **settings)
    assert played == []


def test_a_line_that_a_kill_cut_short_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "comparison.jsonl"
    path.write_text('{"kind": "outc')
    compare(path, data=["ring"], methods=[PLAIN], num_seeds=1, num_updates=1, progress=False)
    assert read(path)[0]["kind"] == "session"


def test_games_of_another_length_are_not_mixed_into_one_file(tmp_path):
    path = tmp_path / "comparison.jsonl"
    settings = dict(data=["ring"], methods=["minimax"], num_seeds=1, progress=False)
    compare(path, num_updates=2, **settings)
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="holds games on ring of 2 updates, and these would have 3"):
        compare(path, num_updates=3, **settings)
    assert path.read_bytes() == before


def test_more_seeds_than_the_protocol_has_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"^num_seeds is 9, but ring has 8"):
        compare(tmp_path / "new.jsonl", data=["ring"], num_seeds=9)


@pytest.mark.parametrize(("name", "value"), [("data", "spiral"), ("methods", "hinge")])
def test_unknown_names_are_refused_before_anything_is_written(tmp_path, name, value):
    with pytest.raises(InvalidInput, match=f"^{name} has {value!r}, but knows only"):
        compare(tmp_path / "new.jsonl", **{name: [value]})
    assert not (tmp_path / "new.jsonl").exists()


def test_what_real_images_would_get_is_noted_once(tmp_path):
    path = tmp_path / "comparison.jsonl"
    for _ in range(2):
        compare(path, data=["letters", "ring"], methods=[], progress=False)
    (real,) = (line for line in read(path) if line["kind"] == "real")
    assert real["data"] == "letters" and real["num_samples"] == 2_000, "as many as are held out"
    assert real["covered"] == 26 and real["overlap"] > 0.9
    assert real["frechet_distance"] == pytest.approx(0, abs=1e-3), "they are what generated ones are compared with"


def test_the_judge_is_shown_held_out_images_in_the_range_of_the_generators(monkeypatch):
    shown = []
    monkeypatch.setattr(comparison, "_judge", lambda data, root: "judge")
    monkeypatch.setattr(comparison, "describe_images", lambda judge, images: shown.append(images))
    comparison.real_images("letters")
    held_out = load("glyphs", image_size=16, split="test").images
    assert torch.equal(shown[0], scale(held_out)) and (shown[0].min(), shown[0].max()) == (-1, 1)


def test_costs_are_ratios_of_times_in_the_same_round(monkeypatch):
    clock = itertools.count()  # seconds that nothing but the updates below takes
    now = [0.0]
    monkeypatch.setattr(games.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(comparison, "COST_ROUNDS", 3)

    def takes(seconds):
        def update():
            now[0] += seconds * (1 + next(clock) // 2)  # the machine gets slower from round to round

        return update

    assert comparison.in_turns({"plain": takes(1), "dear": takes(3)}, "plain") == {"plain": 1, "dear": 3}


def test_on_a_gpu_the_clock_waits_for_what_was_started(monkeypatch):
    now, started = [0.0], [0.0]

    def wait(device):
        now[0] += started[0]
        started[0] = 0.0

    def starts(seconds):
        def update():
            started[0] += seconds  # Python itself takes no time

        return update

    monkeypatch.setattr(games.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    updates = {"plain": starts(1), "dear": starts(3)}
    assert comparison.in_turns(updates, "plain", torch.device("cuda")) == {"plain": 1, "dear": 3}


def test_neither_warming_up_nor_a_single_slow_round_counts_as_a_cost(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(games.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(comparison, "COST_ROUNDS", 3)
    seconds = {"plain": iter([1.0, 1.0, 1.0, 1.0]), "dear": iter([900.0, 3.0, 700.0, 3.0])}

    def takes(name):
        def update():
            now[0] += next(seconds[name])

        return update

    assert comparison.in_turns({name: takes(name) for name in seconds}, "plain") == {"plain": 1, "dear": 3}
