"""A run as a replay: the frames are its sample grids, the curves its metrics, evaluations included."""

from __future__ import annotations

import base64
import io
import json
import shutil
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


def test_a_run_folder_with_other_pictures_in_it_is_shown_without_them_or_refused(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    Image.new("L", (128, 128)).save(copy / "samples" / "favourite.png")
    _, data, _ = opened(replay_folder(copy, alt="", caption=""))
    assert len(data["moments"]) == 5
    for content in (b"no picture", (tmp_path / "run" / "config.json").read_bytes()):
        (copy / "samples" / "000000000.png").write_bytes(content)
        with pytest.raises(InvalidInput, match="no sample grid"):
            replay_folder(copy, alt="", caption="")
    Image.new("L", (128, 64)).save(copy / "samples" / "000000000.png")
    with pytest.raises(InvalidInput, match="128 x 64"):
        replay_folder(copy, alt="", caption="")


def test_a_recorded_run_of_a_stranger_puts_nothing_into_the_page_but_text():
    """Its name, its device and its versions are texts that anybody can have written."""
    evil = "'\"></script><script>alert(1)</script><img src=x onerror=alert(1)>"
    honest = recorded.load(recorded.names()[0])
    session = honest.provenance[-1] | dict.fromkeys(("device", "precision", "torch", "started"), evil)
    run = replace(honest, name=evil, provenance=[session])
    page, harmless = (
        BeautifulSoup(replay_recorded(one, alt=evil, caption=evil).data, "html.parser") for one in (run, honest)
    )
    assert [element.name for element in page.find_all(True)] == [element.name for element in harmless.find_all(True)]
    assert page.figcaption.text == f"{evil} {run.caption()}" and page.img["alt"] == evil
