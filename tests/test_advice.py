"""What a run has come to, and how long that was, in words; and advice at the edges of its rules."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dcgan_core.config import Config
from dcgan_core.report.advice import TREATMENTS, WORDS, advise, best_of, duration, evaluated, in_proportion, outcome
from dcgan_core.report.diagnosis import TREE
from dcgan_core.report.examination import IMPOSSIBLE, Answer

CONFIG = Config(total_images=12_800, batch_size=64)  # 200 steps


def line(images: int, distance: float | None = None) -> dict[str, float]:
    found = {"images": images, "seconds": images / 100}
    return found if distance is None else found | {"frechet_distance": distance}


def lines(*distances: float) -> list[dict[str, float]]:
    """Evenly over the whole run."""
    return [line(12_800 * number // len(distances), value) for number, value in enumerate(distances, 1)]


def seen(*distances: float, config: Config = CONFIG) -> str:
    return " ".join(one.seen for one in advise("r", config, lines(*distances)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a second"), (1.4, "a second"), (1.6, "2 seconds"), (89, "89 seconds"), (91, "2 minutes"),
        (600, "10 minutes"), (3_600, "60 minutes"), (5_401, "2 hours"), (86_400, "24 hours"), (200_000, "2 days"),
    ],
)  # fmt: skip
def test_durations_are_rounded_to_a_unit_of_which_there_are_several(seconds, words):
    assert duration(seconds) == f"about {words}"


def test_only_lines_with_a_distance_were_evaluated_and_the_first_of_equals_is_the_best():
    found = evaluated([line(1), line(2, math.nan), line(3, math.inf), line(4, 5.0), line(5, 3.0), line(6, 3.0)])
    assert [one["images"] for one in found] == [4, 5, 6]
    assert best_of(found)["images"] == 5
    assert evaluated([{"images": 1, "frechet_distance": None}]) == []


def test_a_distance_is_put_in_proportion_to_that_of_real_images_where_there_are_enough():
    measured = {"frechet_distance": 14.4, "num_matched": 1_060, "real_distance": 4.7252, "matched_distance": 14.73}
    found = in_proportion(measured)
    assert found == "1,060 real images score 4.73 against others, and as many samples 14.7"
    for name in ("num_matched", "real_distance", "matched_distance"):
        assert in_proportion(measured | {name: None}) is None
        assert in_proportion({key: value for key, value in measured.items() if key != name}) is None


def test_an_outcome_names_the_best_and_what_the_last_is_beside_it():
    best, last = {"images": 640, "frechet_distance": 31.53}, {"images": 12_800, "frechet_distance": 48.0}
    log = [line(640, 30.0), line(12_800, 50.0)]
    assert outcome([]) == "nothing was trained"
    assert outcome([line(640)]) == "640 images in about 6 seconds"
    assert outcome(log) == "12,800 images in about 2 minutes, best at 640 (Fréchet distance 30)"
    end = "12,800 images in about 2 minutes, best at "
    assert outcome(log, {"best": best, "last": last}) == end + "640 (Fréchet distance 31.5; of the last 48)"
    assert outcome(log, {"best": last, "last": last}) == end + "12,800 (Fréchet distance 48)"
    assert outcome(log, {"last": last}) == end + "12,800 (Fréchet distance 48)"


def test_each_illness_that_a_run_can_have_has_words_and_a_treatment():
    assert WORDS.keys() == TREATMENTS.keys() == {question.illness for question in TREE} - set(IMPOSSIBLE)


def test_what_was_answered_with_yes_comes_first_and_nothing_else_is_said_to_be_ill():
    found = [
        Answer("overflow", "?", "no", ""),
        Answer("collapsed", "?", "yes", ""),
        Answer("circling", "?", "not asked", ""),
    ]
    first, second = advise("r", CONFIG, [line(6_400)], answers=found)
    assert first.seen == WORDS["collapsed"] and "stopped at 6,400 of 12,800" in second.seen


def test_a_run_that_has_come_to_its_end_was_not_stopped():
    assert "stopped" not in seen(30, 30) and "stopped" not in seen(30, 30, config=replace(CONFIG, total_images=12_801))
    (stopped,) = advise("r", CONFIG, [line(3_200)])
    assert stopped.seen.endswith("the rest takes about 96 seconds.") or "about 2 minutes" in stopped.seen


@pytest.mark.parametrize(
    ("distances", "words"),
    [
        ((30, 20, 30, 30), "best samples came at 6,400"),
        ((30, 30, 20, 30), "Nothing looks ill"),  # at three quarters, and what came then is worse
        ((30, 20, 22, 22.9), "Nothing looks ill"),
        ((30, 20, 22, 23.1), "best samples came at 6,400"),
        ((90, 60, 40, 20), "still getting better (distance 60, then 20)"),
        ((90, 60, 58, 57.1), "Nothing looks ill"),
        ((90, 60, 58, 56.9), "still getting better (distance 60, then 56.9)"),
    ],
)
def test_a_best_is_lost_or_still_to_come_where_the_difference_is_more_than_chance(distances, words):
    assert words in seen(*distances)


def test_a_run_that_was_stopped_is_not_said_to_need_twice_as_long():
    found = advise("r", replace(CONFIG, total_images=25_600), lines(90, 60, 40, 20))
    assert len(found) == 1 and "stopped at" in found[0].seen


@pytest.mark.parametrize(("num_images", "said"), [(999, True), (1_000, False), (None, False)])
def test_fewer_than_a_thousand_images_are_few(num_images, said):
    found = advise("r", CONFIG, lines(30, 30), num_images=num_images)
    assert any("each was shown 13 times" in one.seen for one in found) == said
