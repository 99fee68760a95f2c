"""A run as a replay: the frames are its sample grids, the curves its metrics, evaluations included."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from dcgan_core import recorded
from dcgan_core.config import InvalidInput
from dcgan_core.teaching.run_replay import MOST_FRAMES, panels, replay_folder, replay_recorded
from dcgan_core.train import read_metrics, train


def opened(html) -> tuple[BeautifulSoup, dict, np.ndarray]:
    page = BeautifulSoup(html.data, "html.parser")
    sheet = Image.open(io.BytesIO(base64.b64decode(page.img["src"].split(",")[1])))
    return page, json.loads(page.select_one("script[type]").string), np.array(sheet.convert("L")).astype(float)


def frame(sheet: np.ndarray, data: dict, number: int, width: int, height: int) -> np.ndarray:
    row, column = divmod(number, data["columns"])
    return sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]


@pytest.fixture(scope="module")
def run(tiny_config, tmp_path_factory):
    out = tmp_path_factory.mktemp("replay") / "run"
    lengths = {"log_every_images": 8, "sample_every_images": 16, "evaluate_every_images": 32}
    train(replace(tiny_config, data="glyphs", total_images=64, **lengths), out, progress=False)
    return out


def test_a_run_folder_becomes_a_replay_of_its_grids_and_metrics(run):
    page, data, sheet = opened(replay_folder(run, rows=2, alt="Letters", caption="From noise."))
    assert data["moments"] == ["0 images", "16 images", "32 images", "48 images", "64 images"]
    for number, path in enumerate(sorted((run / "samples").glob("*.png"))):
        grid = np.array(Image.open(path).convert("L")).astype(float)[:32]
        assert np.abs(frame(sheet, data, number, 128, 32) - grid).mean() < 4  # lossy, but no other picture
    curves = {curve["name"]: [mark[0] for mark in curve["marks"]] for curve in data["curves"]}
    lines = {line["images"]: line for line in read_metrics(run)}
    assert [float(value) for value in curves["generator loss (nats)"][1:]] == pytest.approx(
        [lines[images]["generator_loss"] for images in (16, 32, 48, 64)], abs=0.006
    )
    assert curves["classes covered"] == [
        "–",
        "–",
        *(str(lines[images]["classes_covered"]) for images in (32, 32, 64)),
    ]
    assert len(page.select(".replay-chart")) == 4


def test_without_evaluations_only_the_losses_are_drawn():
    lines = [{"images": 8, "discriminator_loss": 1.0, "generator_loss": 2.0, "seconds": 1.0}]
    assert panels(lines) == [
        {"discriminator loss (nats)": ((8,), (1.0,)), "generator loss (nats)": ((8,), (2.0,))},
    ]
    unlabelled = [{"images": 8, "frechet_distance": 5.0, "recognised": None, "classes_covered": None}]
    assert panels(unlabelled) == [{"Fréchet distance": ((8,), (5.0,))}]


def test_of_a_long_run_the_last_moment_is_never_left_out(run, tmp_path):
    long = tmp_path / "run"
    (long / "samples").mkdir(parents=True)
    for name in ("config.json", "metrics.jsonl"):
        (long / name).write_bytes((run / name).read_bytes())
    for images in range(0, 1008, 8):
        Image.new("L", (128, 128)).save(long / "samples" / f"{images:09d}.png")
    _, data, _ = opened(replay_folder(long, alt="", caption=""))
    assert data["moments"][-1] == "1,000 images"
    assert MOST_FRAMES / 2 < len(data["moments"]) <= MOST_FRAMES


@pytest.mark.parametrize("name", recorded.names())
def test_a_recorded_run_becomes_a_small_replay_that_says_where_it_comes_from(name):
    run = recorded.load(name)
    html = replay_recorded(run, alt="Samples", caption="Look.")
    page, data, sheet = opened(html)
    assert page.figcaption.text == f"Look. {run.caption()}"
    assert data["moments"][-1] == f"{run.samples_at[-1]:,} images"
    side = run.config.image_size
    first = run.samples[-1, 0].float().mean(0).numpy()  # the first latent's image at the end
    there = frame(sheet, data, len(run.samples_at) - 1, 8 * side, 2 * side)[:side, :side]
    assert np.corrcoef(there.flatten(), first.flatten())[0, 1] > 0.98
    assert len(html.data) < 300_000


def test_a_folder_without_a_run_or_without_samples_is_refused(run, tmp_path):
    with pytest.raises(InvalidInput):
        replay_folder(tmp_path, alt="", caption="")
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    with pytest.raises(InvalidInput, match="no sample grids"):
        replay_folder(tmp_path, alt="", caption="")
