"""Lines of metrics and grids of samples: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.runs.journal import METRICS, Journal, forget_after, read_metrics


def line(images: int) -> bytes:
    return json.dumps({"images": images, "seconds": 1.0}).encode() + b"\n"


def test_going_back_drops_what_will_be_written_again_and_a_line_cut_short_but_no_other(tmp_path):
    (tmp_path / METRICS).write_bytes(line(8) + b"damaged\n" + line(16) + line(24) + b'{"images": 2')
    forget_after(tmp_path, 16)
    assert (tmp_path / METRICS).read_bytes() == line(8) + b"damaged\n" + line(16)


def test_a_last_line_without_its_end_gets_one_so_that_the_next_is_not_joined_to_it(tmp_path):
    (tmp_path / METRICS).write_bytes(line(8) + line(16).rstrip())
    forget_after(tmp_path, 16)
    Journal(tmp_path).write({"images": 24, "seconds": 1.0})
    assert [one["images"] for one in read_metrics(tmp_path)] == [8, 16, 24]


def test_a_line_that_makes_no_sense_hides_none_of_the_others(tmp_path):
    (tmp_path / METRICS).write_bytes(line(8) + b"damaged\n" + line(16))
    with pytest.warns(UserWarning, match=r"^line 2 of .* cannot be read: left out\.$"):
        assert [one["images"] for one in read_metrics(tmp_path)] == [8, 16]


def test_a_grid_is_square_has_the_pixels_of_the_samples_and_sorts_by_the_images_seen(tmp_path):
    journal = Journal(tmp_path)
    values = torch.tensor([-0.5, 0.0, 0.25, 0.5])
    for images in (8, 16, 100):
        journal.show(values.view(4, 1, 1, 1).expand(4, 1, 2, 2), images)
    paths = sorted((tmp_path / "samples").iterdir())
    assert [int(path.stem) for path in paths] == [8, 16, 100]
    pixels = np.array(Image.open(paths[0]).convert("L"))
    assert pixels[::2, ::2].tolist() == [[64, 128], [159, 191]]
    assert pixels.shape == (4, 4)


@pytest.mark.skipif(os.name == "nt", reason="needs links")
@pytest.mark.parametrize("name", ["samples", "tensorboard"])
def test_a_folder_that_is_a_link_is_refused(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="is a link"):
        Journal(tmp_path)
