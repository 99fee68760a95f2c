"""What a run that has ended says of its best and last generators, and what is made of a file that says nothing."""

from __future__ import annotations

import json

import pytest

from dcgan_core.runs.ending import read_evaluation

GOOD = {"images": 640, "frechet_distance": 31.5}


def test_measures_of_both_generators_are_read(tmp_path):
    for found in ({"last": GOOD}, {"best": GOOD | {"frechet_distance": 7}, "last": GOOD | {"recognised": None}}):
        (tmp_path / "evaluation.json").write_text(json.dumps(found))
        assert read_evaluation(tmp_path) == read_evaluation(str(tmp_path)) == found


def test_a_run_that_has_not_ended_has_no_measures(tmp_path):
    assert read_evaluation(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        '["last"]',
        json.dumps({"best": GOOD}),
        json.dumps({"best": 3, "last": GOOD}),
        json.dumps({"best": GOOD, "last": {"images": 640}}),
        json.dumps({"last": GOOD | {"images": "640"}}),
        json.dumps({"last": GOOD | {"frechet_distance": "31.5"}}),
    ],
)
def test_what_makes_no_sense_is_as_good_as_none(tmp_path, content):
    (tmp_path / "evaluation.json").write_text(content)
    assert read_evaluation(tmp_path) is None
