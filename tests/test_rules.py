"""The rules of the contest: who plays with which knobs, that all have the same chances, and what chooses a setting."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace

import pytest

from dcgan_core.config import InvalidInput
from dcgan_core.laboratory import protocol, rules
from dcgan_core.laboratory.contenders import CONTENDERS, FOR_FEW, METHODS, PLAIN, RATES, Choice, Span, settings
from dcgan_core.laboratory.ensemble import COLLAPSES
from dcgan_core.laboratory.rules import (
    CHOSEN_BY,
    COURSES,
    PILOT,
    REPORTED,
    choose,
    groups,
    on_points,
    pilots,
    refuse_other_rules,
    reports,
    run_config,
    score,
)


def test_the_seven_of_before_play_and_the_modern_baseline_and_on_few_images_two_more():
    assert set(METHODS) == {*protocol.METHODS, "R1", "R1 + R2", "pairing + R1 + R2"}
    assert set(COURSES["few letters"].methods) >= {PLAIN, *FOR_FEW}
    assert all(course.methods == tuple(METHODS) for name, course in COURSES.items() if name != "few letters")


@pytest.mark.parametrize("num_draws", sorted({course.draws for course in COURSES.values()}))
def test_every_method_tries_equally_many_settings_and_the_same_pairs_of_rates(num_draws):
    tried = {method: settings(method, num_draws) for method in CONTENDERS}
    assert {len(found) for found in tried.values()} == {num_draws}
    rates = ["generator_learning_rate", "discriminator_learning_rate"]
    pairs = {method: [tuple(one[name] for name in rates) for one in found] for method, found in tried.items()}
    assert len(set(map(tuple, pairs.values()))) == 1
    assert all(generator != discriminator for generator, discriminator in pairs[PLAIN]), "each has its own"
    for method, found in tried.items():
        assert len({json.dumps(one) for one in found}) == num_draws
        knobs = {name for knob in CONTENDERS[method].knobs for name in knob.fields}
        assert {name for one in found for name in one} == {*rates, *knobs}
        assert found == json.loads(json.dumps(found)), "what is written down is what is played"


@pytest.mark.parametrize("method", CONTENDERS)
def test_each_knob_has_a_setting_in_every_part_of_its_range(method):
    found = settings(method, 8)
    for knob in (*RATES, *CONTENDERS[method].knobs):
        values = [one[name] for one in found for name in knob.fields[:1]]
        if isinstance(knob, Choice):
            counts = Counter(map(json.dumps, values))
            assert set(counts) == set(map(json.dumps, knob.options)) and min(counts.values()) >= 2
        else:
            shares = sorted(math.log(value / knob.low) / math.log(knob.high / knob.low) for value in values)
            assert all(place / 8 - 0.01 <= share <= (place + 1) / 8 + 0.01 for place, share in enumerate(shares))
        assert all(len({json.dumps(one[name]) for name in knob.fields}) == 1 for one in found)


def test_a_span_is_even_in_the_logarithm_and_rounds_to_three_digits():
    span = Span(("r1_gamma",), 1e-3, 10.0)
    assert [span.at(share) for share in (0, 0.25, 0.5, 0.75, 1)] == [0.001, 0.01, 0.1, 1.0, 10.0]
    assert span.at(1 / 3) == 0.0215
    assert [Choice((), (1, 5, 10)).at(share) for share in (0, 0.34, 0.67, 1)] == [1, 5, 10, 10]


@pytest.mark.parametrize("data", COURSES)
def test_every_setting_of_every_method_is_a_run_of_as_many_updates(data):
    course = COURSES[data]
    for method in course.methods:
        configs = [run_config(data, method, knobs, course.updates) for knobs in settings(method, course.draws)]
        assert len(set(map(str, configs))) == course.draws
        assert {config.total_steps for config in configs} == {course.updates}


def test_what_a_paper_fixes_is_not_tuned():
    def found(data: str, method: str) -> list:
        return [run_config(data, method, knobs, 10) for knobs in settings(method, 8)]

    betas = {"weight clipping": (0.0, 0.99), "gradient penalty": (0.0, 0.9), "R1": (0.0, 0.99)}
    betas |= {"R1 + R2": (0.0, 0.99), "pairing + R1 + R2": (0.0, 0.99)}
    unnormalised = {"spectral norm", "R1", "R1 + R2", "pairing + R1 + R2"}
    for method in METHODS:
        for data in ("ring", "letters"):
            assert {(one.beta1, one.beta2) for one in found(data, method)} == {betas.get(method, (0.5, 0.999))}
            assert {one.spectral_norm for one in found(data, method)} == {method == "spectral norm"}
            assert {one.minibatch_std for one in found(data, method)} == {method == "minibatch std"}
            assert all((one.unrolled_steps > 0) == (method == "unrolled") for one in found(data, method))
            assert all((one.r1_gamma > 0) == ("R1" in method) for one in found(data, method))
            assert all(one.r2_gamma == (one.r1_gamma if "R2" in method else 0) for one in found(data, method))
            losses = {"minimax": "minimax", "pairing + R1 + R2": "relativistic"}
            losses |= {"weight clipping": "wasserstein-clipping", "gradient penalty": "wasserstein-penalty"}
            assert {one.loss for one in found(data, method)} == {losses.get(method, "non-saturating")}
            steps = {1, 5} if method in ("weight clipping", "gradient penalty", "spectral norm") else {1}
            assert {one.discriminator_steps for one in found(data, method)} == steps
        norm = "layer" if method == "gradient penalty" else "none" if method in unnormalised else "batch"
        assert {one.discriminator_norm for one in found("letters", method)} == {norm}


def test_apart_from_that_all_play_with_the_same_networks_batches_and_data():
    own = {"loss", "beta1", "beta2", "spectral_norm", "minibatch_std", "mixture", "total_steps"}
    for method in METHODS:
        config = run_config("grid", method, settings(method, 8)[0], 10)
        changed = own | set(settings(method, 8)[0])
        assert replace(config, **{name: getattr(COLLAPSES, name) for name in changed}) == COLLAPSES
        assert config.mixture == "grid"


def test_every_contender_names_the_paper_that_fixes_what_it_fixes():
    assert all(re.search(r"\d{4}", one.source) and len(one.source) > 40 for one in CONTENDERS.values())
    assert all("arXiv" in one.source or "Goodfellow" in one.source for one in CONTENDERS.values())


@pytest.mark.parametrize("data", COURSES)
def test_no_seed_both_chooses_and_is_reported_and_there_are_enough_of_them(data):
    course = COURSES[data]
    assert not set(course.pilots) & set(course.seeds)
    assert len(set(course.pilots)) == len(course.pilots) >= 2
    assert len(set(course.seeds)) == len(course.seeds) >= (8 if on_points(data) else 5)


@pytest.mark.parametrize("data", COURSES)
def test_the_seeds_are_so_many_that_a_corrected_test_can_find_something(data):
    course, n = COURSES[data], len(COURSES[data].seeds)
    smallest = 2 / 2**n if course.num_images else 2 / math.comb(2 * n, n)
    comparisons = 3 * (len(course.methods) - 1)
    assert smallest * comparisons < 0.05
    fewer = 2 / 2 ** (n - 1) if course.num_images else 2 / math.comb(2 * (n - 1), n - 1)
    assert on_points(data) or fewer * comparisons > 0.05, "no more on images than that takes"


@pytest.mark.parametrize("data", COURSES)
def test_every_method_has_the_same_pilots_as_long_as_what_is_reported(data):
    course, methods = COURSES[data], COURSES[data].methods
    played = list(pilots(data, methods, course.updates))
    of_method = {method: [(*job[2:],) for job in played if job[1] == method] for method in methods}
    assert len(set(map(tuple, of_method.values()))) == 1 and len(set(played)) == len(played)
    budget = of_method[PLAIN]
    assert {draw for _, draw, _, _ in budget} == set(range(course.draws))
    assert {part for part, *_ in budget} == {PILOT}
    seeds = [seed for group in groups(data, PILOT) for seed in group]
    assert sorted(seeds) == sorted(course.pilots)
    after = list(reports(data, dict.fromkeys(methods, 3), course.updates))
    assert {job[5] for job in (*played, *after)} == {course.updates}
    assert {job[2:4] for job in after} == {(REPORTED, 3)} and len(after) == len(methods) * len(groups(data, REPORTED))
    assert sorted(seed for group in groups(data, REPORTED) for seed in group) == sorted(course.seeds)


def test_a_study_that_is_stopped_has_some_of_every_method():
    first = [job[1] for job in pilots("ring", METHODS, 10)][: len(METHODS)]
    assert first == list(METHODS)
    first = [job[1] for job in reports("letters", dict.fromkeys(METHODS, 0), 10)][: len(METHODS)]
    assert first == list(METHODS)


def pilot(draw: int, overlaps: list[list[float]], data: str = "ring", **changes) -> dict:
    """A line of pilots: `overlaps` has a list over the seeds for each look."""
    line = {"data": data, "method": PLAIN, "part": PILOT, "draw": draw, "seed": 500, "updates": 10, "finished": True}
    line |= {"seeds": list(COURSES[data].pilots), "knobs": settings(PLAIN, 8)[draw]}
    return line | {"history": {CHOSEN_BY: overlaps, "overlap": [[1.0] * 3 for _ in overlaps]}} | changes


def test_the_score_is_the_mean_over_the_later_half_of_the_looks_and_the_seeds():
    line = pilot(0, [[0.9, 0.9], [0.9, 0.9], [0.1, 0.3], [0.2, 0.4]])
    assert score(line) == pytest.approx((0.1 + 0.3 + 0.2 + 0.4) / 4)


def flat(values: list[float]) -> list[dict]:
    return [pilot(draw, [[0.0] * 3, [value] * 3]) for draw, value in enumerate(values)]


VALUES = [0.1, 0.2, 0.5, 0.3, 0.5, 0.0, 0.4, 0.1]


def test_the_setting_with_the_best_pilots_is_chosen_once_all_were_played():
    lines = flat(VALUES)
    assert choose(lines, "ring", PLAIN, 10) == 2, "the first of equal ones"
    assert choose(lines[:-1], "ring", PLAIN, 10) is None
    assert choose(lines, "ring", PLAIN, 20) is None and choose(lines, "ring", "minimax", 10) is None
    assert choose(lines, "grid", PLAIN, 10) is None


def test_what_is_reported_never_chooses():
    tempting = [pilot(0, [[1.0] * 8] * 2, part=REPORTED, seeds=list(range(8)), seed=0)]
    assert choose([*flat(VALUES), *tempting], "ring", PLAIN, 10) == 2
    assert choose(flat(VALUES)[1:] + tempting, "ring", PLAIN, 10) is None
    unread = [{name: value for name, value in line.items() if name != "history"} for line in tempting]
    assert choose([*flat(VALUES), *unread], "ring", PLAIN, 10) == 2, "its history is not even read"
    mixed_up = pilot(0, [[1.0] * 3] * 2, seeds=[500, 501, 3])
    with pytest.raises(AssertionError, match="a seed that is reported has chosen"):
        choose([*flat(VALUES), mixed_up], "ring", PLAIN, 10)


def test_on_images_a_setting_is_chosen_by_the_mean_over_the_pilots():
    first, second = COURSES["letters"].pilots
    lines = [
        pilot(draw, [[value]], "letters", seed=seed, seeds=[seed])
        for seed, values in ((first, [0.9, *[0.3] * 7]), (second, [0.0, 0.7, *[0.3] * 6]))
        for draw, value in enumerate(values)
    ]
    assert choose(lines, "letters", PLAIN, 10) == 1
    assert choose(lines[:-1], "letters", PLAIN, 10) is None


def test_a_file_that_was_begun_by_other_rules_is_refused(monkeypatch):
    lines = [*flat(VALUES), {"kind": "costs", "data": "ring"}]
    refuse_other_rules(lines)
    lines[3]["knobs"] = lines[2]["knobs"]
    with pytest.raises(InvalidInput, match=r"^setting 3 of 'non-saturating' on ring was another one"):
        refuse_other_rules(lines)
    for changed in ({"method": "a method that is gone"}, {"data": "spiral"}):
        with pytest.raises(InvalidInput, match="choose another file"):
            refuse_other_rules([flat(VALUES)[0] | changed])
    monkeypatch.setattr(rules, "COURSES", {"ring": replace(COURSES["ring"], draws=5)})
    with pytest.raises(InvalidInput, match="choose another file"):
        refuse_other_rules(flat(VALUES))
