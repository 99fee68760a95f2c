"""A run that goes on with other images than before says so, once and rightly; with the same ones it says nothing."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch

from dcgan_core.config import InvalidInput
from dcgan_core.data import Dataset
from dcgan_core.runs import same_data
from dcgan_core.runs.same_data import fingerprint, note_data

IMAGES = torch.randint(0, 256, (6, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def dataset(images: torch.Tensor) -> Dataset:
    return Dataset("mine", images, None, ())


@pytest.fixture
def begin(tmp_path):
    """Begins another session of a run in a folder, with these images; returns the folder and what was said."""

    def session(images: torch.Tensor) -> tuple[Path, list[str]]:
        path = tmp_path / "provenance.json"
        before = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*before, {"device": "a machine"}]))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            note_data(tmp_path, dataset(images))
        return tmp_path, [str(one.message) for one in said]

    return session


def changed() -> torch.Tensor:
    """The same but for the last pixel."""
    images = IMAGES.clone()
    images[-1, 0, -1, -1] ^= 1
    return images


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES, []),
        (IMAGES[:5], ["6 images then, 5 now"]),
        (changed(), ["as many, 6, but other pixels"]),
        (IMAGES.flip(0), ["as many, 6, but other pixels"]),
    ],
)
def test_other_images_than_in_the_session_before_are_said(begin, images, words):
    assert begin(IMAGES)[1] == [], "the first session has none before it"
    _, said = begin(images)
    assert len(said) == len(words) and all(word in one for word, one in zip(words, said, strict=True))


def test_what_counts_is_the_session_before_not_the_first(begin):
    assert [len(begin(images)[1]) for images in (IMAGES, IMAGES[:5], IMAGES[:5], IMAGES)] == [0, 1, 0, 1]


def test_a_session_holds_the_fingerprint_of_its_images(begin):
    for images in (IMAGES, IMAGES[:5]):
        out, _ = begin(images)
    sessions = json.loads((out / "provenance.json").read_text())
    assert [entry["data"] for entry in sessions] == [fingerprint(dataset(one)) for one in (IMAGES, IMAGES[:5])]
    assert [entry["data"]["num_images"] for entry in sessions] == [6, 5] and sessions[0]["device"] == "a machine"


@pytest.mark.parametrize("told", [{}, {"data": None}, {"data": "photos"}])
def test_a_session_that_told_nothing_of_its_images_is_no_reason_to_warn(begin, tmp_path, told):
    (tmp_path / "provenance.json").write_text(json.dumps([{"device": "a machine"} | told]))
    assert begin(IMAGES)[1] == []


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(begin, monkeypatch):
    """And the warning comes all the same."""
    begin(IMAGES)

    def note(out: Path, facts: dict[str, object]) -> None:
        raise InvalidInput(f"cannot write into {str(out)!r}.")

    monkeypatch.setattr(same_data, "note", note)
    assert len(begin(IMAGES[:5])[1]) == 1


def test_grey_images_in_three_channels_have_a_fingerprint():
    """They take the memory of one channel, so their values do not lie one after the other."""
    shown = IMAGES.expand(-1, 3, -1, -1)
    assert fingerprint(dataset(shown)) == fingerprint(dataset(shown.contiguous())) != fingerprint(dataset(IMAGES))
