"""Chapter 16's sentences on drums, measured on the generators and the record that ship, with other seeds."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from dcgan_core.data.drums import DRUMS, render
from dcgan_core.laboratory.drum_codec import Codec
from dcgan_core.laboratory.drum_kit import (
    RECORD,
    Ear,
    distances,
    heard,
    hissed,
    played,
    recorded_drummer,
    training_drums,
)
from dcgan_core.laboratory.studies import read_lines

pytestmark = pytest.mark.usefixtures("one_thread")

LINES = read_lines(RECORD)
NUM = 200


@pytest.fixture(scope="module")
def hearing() -> dict[str, dict]:
    drums = training_drums()
    codec = Codec.fit(drums.sounds)
    ear, pictures = Ear.fit(drums, codec), codec.pictures(drums.sounds)
    real = render(NUM, seed=77)
    sources = {
        "real": (real.sounds, real.labels),
        "codec only": (codec.sounds(codec.pictures(real.sounds)), real.labels),
        "generator": (played(recorded_drummer(), codec, NUM, seed=77), None),
        "hiss": (hissed(NUM, seed=77), None),
    }
    found = {name: heard(ear, *each) for name, each in sources.items()}
    for name, (sounds, _) in sources.items():
        found[name]["to_training"] = float(distances(codec.pictures(sounds), pictures).median())
    return found


def all_of(hearing: dict[str, dict]) -> list[dict[str, dict]]:
    return [hearing, *(line["heard"] for line in LINES)]


def test_the_ear_is_right_about_real_drums_and_about_those_that_went_through_the_codec(hearing):
    for found in all_of(hearing):
        for name in ("real", "codec only"):
            assert found[name]["right"] / found[name]["num"] > 0.98


def test_the_ear_is_confident_about_most_hisses_although_they_are_no_drums(hearing):
    for found in all_of(hearing):
        assert found["hiss"]["sure"] / found["hiss"]["num"] > 0.5


def test_the_ear_is_confident_about_half_to_two_thirds_of_the_generated_sounds_and_of_far_more_of_the_hisses(hearing):
    for found in all_of(hearing):
        made, hiss = found["generator"], found["hiss"]
        assert 0.45 < made["sure"] / made["num"] < 0.7
        assert hiss["sure"] / hiss["num"] > made["sure"] / made["num"] + 0.15
        assert hiss["counts"][list(DRUMS).index("snare")] / hiss["num"] > 0.9


def test_generated_spectrograms_are_up_to_three_tenths_further_from_the_training_sounds_than_real_ones_and_hisses_far(
    hearing,
):
    for found in all_of(hearing):
        real, made, hiss = (found[name]["to_training"] for name in ("real", "generator", "hiss"))
        assert 0.95 < made / real < 1.3 and hiss > 1.6 * real and hiss > 1.3 * made


def test_each_seed_neglects_a_drum_and_not_all_the_same_one():
    rarest = []
    for line in LINES:
        found = line["heard"]["generator"]
        interval = binomtest(min(found["counts"]), found["num"]).proportion_ci(method="wilson")
        assert interval.low > 0 and interval.high < 1 / len(DRUMS)
        rarest.append(list(DRUMS)[found["counts"].index(min(found["counts"]))])
    assert [line["seed"] for line in LINES] == [0, 1, 2]
    assert rarest == ["clap", "tom", "tom"]


def test_claps_are_rare_among_the_sounds_of_the_generator_that_the_chapter_plays(hearing):
    found = hearing["generator"]
    claps = found["counts"][list(DRUMS).index("clap")]
    assert binomtest(claps, found["num"]).proportion_ci(method="wilson").high < 0.15
    assert min(found["counts"]) == claps > 0
