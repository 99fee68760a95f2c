"""The page about a run, and the advice in it: it holds all that it shows, trusts nothing from outside, and is right."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from dcgan_core.config import RECIPES, Config, InvalidInput
from dcgan_core.data import Dataset, scale
from dcgan_core.report import advise, write_report
from dcgan_core.report.charts import INK, chart
from dcgan_core.report.examination import answers, ask, nearest
from dcgan_core.report.pictures import frames
from dcgan_core.runtime import choose_machine
from dcgan_core.state import start
from dcgan_core.train import train

SETTINGS = {
    "image_size": 16,
    "latent_size": 8,
    "generator_width": 4,
    "discriminator_width": 4,
    "batch_size": 8,
    "total_images": 160,
    "log_every_images": 16,
    "sample_every_images": 40,
    "evaluate_every_images": 48,
}


@pytest.fixture(scope="module")
def trained(tiny_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("s3cr3t") / "first"
    train(Config(data=str(tiny_folder), **SETTINGS), out, progress=False)
    return out


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory) -> BeautifulSoup:
    out, _ = write_report(trained, tmp_path_factory.mktemp("page") / "page.html", device="cpu")
    return BeautifulSoup(out.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def read(run: Path, **where: object) -> BeautifulSoup:
    return BeautifulSoup(write_report(run, device="cpu", **where)[0].read_text(encoding="utf-8"), "html.parser")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decoded(address: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("L"))


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_needs_nothing_but_itself(page):
    for tag in page.find_all(True):
        for name, value in tag.attrs.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
                assert value.startswith(("data:image/", "#")), value
    assert not page.find_all(["link", "iframe", "object", "embed", "base"])
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    outside = re.findall(r"(?:https?:)?//[\w.]+", re.sub(r'xmlns(:\w+)?="[^"]*"|"data:[^"]*"', "", str(page)))
    assert outside == []


def test_the_page_tells_no_place_on_a_disk(trained, tiny_folder, tmp_path):
    text = write_report(trained, tmp_path / "page.html", device="cpu")[0].read_text(encoding="utf-8")
    assert "s3cr3t" not in text and str(tiny_folder.parent) not in text and str(tmp_path) not in text
    assert f"…/{tiny_folder.name}" in text


def test_headings_go_down_one_by_one_and_every_picture_has_a_text(page):
    levels = [int(tag.name[1]) for tag in page.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.find_all("img") and all(image.get("alt") for image in page.find_all("img"))
    assert page.find_all("svg") and all(drawn.get("aria-label") for drawn in page.find_all("svg"))
    names = [tag["id"] for tag in page.find_all(id=True)]
    assert len(names) == len(set(names)), "an id occurs once"
    assert {tag["aria-labelledby"] for tag in page.find_all("section")} <= set(names)


def test_the_slider_goes_through_every_saved_grid_and_the_last_one_is_shown(page, trained):
    film = page.find(id="film")
    images = film.find_all("img")
    saved = sorted((trained / "samples").glob("*.png"))
    assert [image["data-at"] for image in images] == [f"{int(path.stem):,}" for path in saved]
    assert [image.has_attr("hidden") for image in images] == [True] * (len(images) - 1) + [False]
    assert film.find("input")["max"] == str(len(images) - 1)
    for image, path in zip(images, saved, strict=True):
        assert np.array_equal(decoded(image["src"]), np.array(Image.open(path).convert("L")))


def test_numbers_and_curves_are_those_of_the_log(page, trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "frechet_distance" in line]
    best, last = min(measured, key=lambda line: line["frechet_distance"]), measured[-1]
    rows = {row.find("th").contents[0]: [cell.text for cell in row.find_all("td")] for row in page.find_all("tr")[1:]}
    shown = [float(value) for value in rows["Fréchet distance"]]
    wanted = [last["frechet_distance"]] + [best["frechet_distance"]] * (best is not last)
    assert shown == pytest.approx(wanted, rel=0.01)
    headings = [title.text for title in page.find_all("h3")]
    assert headings == ["Losses", "Fréchet distance"], "a folder has no classes, and no curves of them"
    for row in page.find(id="numbers").find_parent("section").find_all("tr")[1:]:
        assert row.find(class_="reading").text.strip().endswith("."), "each number has a sentence"


def test_settings_that_differ_come_first(page, tiny_folder):
    tables = page.find(id="settings").find_parent("section").find_all("table")
    changed = {row.find("th").text: [cell.text for cell in row.find_all("td")] for row in tables[0].find_all("tr")[1:]}
    assert changed.keys() == SETTINGS.keys() | {"data", "channels"} | RECIPES["default"].keys()
    assert changed["latent_size"] == ["8", "100"]
    unchanged = {row.find("th").text for row in tables[1].find_all("tr")[1:]}
    assert unchanged == set(Config().to_dict()) - set(changed)


def test_the_nearest_image_of_each_sample_is_a_training_image(page, tiny_folder):
    training = {np.array(Image.open(path).convert("L")).tobytes() for path in tiny_folder.iterdir()}
    pairs = page.find(class_="pairs").find_all("li")
    assert len(pairs) == 8
    for pair in pairs:
        sample, image = (decoded(one["src"]) for one in pair.find_all("img"))
        assert image.tobytes() in training and sample.tobytes() not in training


def test_making_the_page_changes_nothing_else(trained, tmp_path):
    torch.manual_seed(12_345)  # another state than that at the end of the run
    before, random = contents(trained), torch.get_rng_state()
    write_report(trained, tmp_path / "page.html", device="cpu")
    assert contents(trained) == before and torch.equal(torch.get_rng_state(), random)


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\u202e'


def test_what_comes_from_outside_is_text(copied, tmp_path):
    run = copied.rename(tmp_path / HOSTILE.replace("/", "∕"))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": HOSTILE, "data_root": HOSTILE}))
    sessions = json.loads((run / "provenance.json").read_text())
    hostile = {"command": HOSTILE, "device": HOSTILE, "torch": HOSTILE, "started": HOSTILE, "precision": HOSTILE}
    (run / "provenance.json").write_text(json.dumps([sessions[0] | hostile]))
    with pytest.warns(UserWarning, match="says otherwise"):
        found = read(run)
    assert len(found.find_all("script")) == 1 and "alert(1)" not in found.find("script").text
    assert not [tag for tag in found.find_all(True) for name in tag.attrs if name.startswith("on")]
    assert "49" not in found.find("h1").text and "{{ 7 * 7 }}" in found.find("h1").text
    assert "\u202e" not in str(found)


@pytest.mark.parametrize("damage", ["data", "samples", "checkpoint", "provenance", "metrics", "grid"])
def test_what_cannot_be_shown_is_left_out_and_named(copied, damage):
    where = {}
    if damage == "data":
        where = {"data": str(copied / "nowhere")}
    elif damage == "samples":
        shutil.rmtree(copied / "samples")
    elif damage == "grid":
        Image.new("L", (9, 9)).save(copied / "samples" / "000000040.png")
    elif damage == "metrics":
        (copied / "metrics.jsonl").unlink()
    else:
        name = {"checkpoint": "best.safetensors", "provenance": "provenance.json"}[damage]
        (copied / name).write_bytes(b"{")
    found = read(copied, **where)
    left_out = "Not in this report" in found.text
    assert left_out == (damage not in ("samples", "metrics"))
    there = {tag["id"] for tag in found.find_all("h2")}
    gone = {
        "data": {"nearest", "tree"},
        "samples": {"time"},
        "grid": {"time"},
        "checkpoint": {"samples", "nearest"},
        "provenance": {"sessions"},
        "metrics": {"curves", "numbers", "tree"},
    }[damage]
    everything = {"next", "samples", "time", "curves", "numbers", "nearest", "tree", "settings", "sessions", "publish"}
    assert there == everything - gone


def test_a_run_that_is_none_and_a_place_that_cannot_be_written_are_one_sentence(trained, tmp_path):
    with pytest.raises(InvalidInput, match="holds no run"):
        write_report(tmp_path)
    with pytest.raises(InvalidInput, match="cannot write the report"):
        write_report(trained, tmp_path / "missing" / "page.html", device="cpu")


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (64, 3), (128, 1)])
def test_a_long_run_makes_a_page_of_a_few_megabytes(tmp_path, size, channels):
    """Grids of noise, which no format makes small, at 120 moments."""
    config = Config(image_size=size, channels=channels)
    (tmp_path / "samples").mkdir()
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (size, size, 3), np.uint8)
    noise = Image.fromarray(smooth).resize((8 * size, 8 * size)).convert("L" if channels == 1 else "RGB")
    first = tmp_path / "samples" / f"{0:09}.png"
    noise.save(first)
    for number in range(1, 120):
        first.with_name(f"{1000 * number:09}.png").hardlink_to(first)
    found = frames(tmp_path, config)
    assert found[0][0] == 0 and found[-1][0] == 119_000 and len(found) >= 12
    assert sum(len(address) for _, address in found) < 6e6
    assert decoded(found[0][1]).shape[0] <= 512


def test_curves_are_where_their_values_are():
    drawn = chart({"a": ([0, 10, 20, 40], [1.0, 3.0, 2.0, 2.0])}, title="A <title>")
    assert INK not in drawn and "var(--ink)" in drawn and "<style" not in drawn
    tree = ElementTree.fromstring(drawn)
    assert tree.get("aria-label") == "Chart: A <title>, over the images seen."
    lines = [one for one in tree.iter() if one.tag.endswith("path") and "var(--first)" in (one.get("style") or "")]
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", lines[0].get("d"))]
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points
    assert (x1 - x0) == pytest.approx(x2 - x1, rel=1e-3) and (x3 - x2) == pytest.approx(2 * (x1 - x0), rel=1e-3)
    assert (y0 - y1) == pytest.approx(2 * (y2 - y1), rel=1e-3) and y2 == y3 and y1 < y0, "up is less in SVG"


# ---------------------------------------------------------------------------------------------------------- the advice


def line(images: int, distance: float | None = None) -> dict[str, float]:
    found = {"images": images, "seconds": images / 1000, "discriminator_loss": 1.0, "generator_loss": 1.0}
    return found if distance is None else found | {"frechet_distance": distance}


FULL = Config(total_images=9_984, batch_size=64)  # 156 steps
WHOLE = 9_984


@pytest.mark.parametrize(
    ("distances", "seen", "tried"),
    [
        ([90, 30, 40, 60], "came at 4,992 images (distance 30)", "take --recipe default"),
        ([90, 60, 40, 20], "still getting better (distance 60, then 20)", "--total-images 19968"),
        ([90, 30, 31, 30.5], "Nothing looks ill", "sample"),
        ([90, 30, 33, 34], "Nothing looks ill", "sample"),  # worse by less than other latents would change
    ],
)
def test_advice_from_distances_over_time(distances, seen, tried):
    lines = [line(WHOLE * (number + 1) // len(distances), value) for number, value in enumerate(distances)]
    (found,) = advise(Path("runs/first"), FULL, lines)
    assert seen in found.seen and tried in found.to_try


def test_a_run_whose_discriminator_is_held_back_already_is_told_to_let_its_rates_fall():
    lines = [line(WHOLE // 2, 30), line(WHOLE, 60)]
    (found,) = advise(Path("r"), replace(FULL, r1_gamma=1.0, discriminator_norm="layer"), lines)
    assert "--rate-schedule cosine" in found.to_try and "--recipe" not in found.to_try


def test_advice_for_runs_that_were_stopped_never_measured_or_have_few_images():
    (stopped,) = advise(Path("runs/my first"), FULL, [line(WHOLE // 4)])
    assert "stopped at 2,496 of 9,984 images; the rest takes about 7 seconds" in stopped.seen
    assert stopped.to_try == "python -m dcgan_core resume 'runs/my first'", "it can be typed"
    (never,) = advise(Path("r"), replace(FULL, evaluate_every_images=0), [line(WHOLE)])
    assert "never measured" in never.seen
    flat = [line(WHOLE // 2, 30.0), line(WHOLE, 30.0)]
    (few,) = advise(Path("r"), FULL, flat, num_images=100)
    assert "only 100 images, and each was shown 100 times" in few.seen and "--augment" in few.to_try
    assert not advise(Path("r"), replace(FULL, augment=("flip",)), flat, num_images=100)[0].is_worry
    assert not advise(Path("r"), FULL, flat, num_images=2_000)[0].is_worry
    assert advise(Path("r"), FULL, [])


def test_advice_can_be_typed_and_the_page_names_no_folder_above_the_run(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"total_images": 320}))
    _, advice = write_report(copied, device="cpu")
    assert "stopped at 160 of 320" in advice[0].seen
    assert any(str(copied) in one.to_try for one in advice)
    text = BeautifulSoup((copied / "report.html").read_text(encoding="utf-8"), "html.parser").text
    assert str(copied.parent) not in text and [one.seen for one in advice if one.seen not in text] == []


def log(**changes: float) -> dict[str, list[float]]:
    """Two looks at a game in which nothing is wrong, but for the changes."""
    fine = {"loss D": 1.2, "loss G": 1.0, "darkest": -1.0, "gradient G": 2.0, "gap": 0.0}
    fine |= {"right on real": 0.7, "right on fake": 0.7, "diversity": 0.9, "motion": 0.3, "updates": 1000}
    return {name: [value, value] for name, value in (fine | changes).items()}


@pytest.mark.parametrize(
    ("changes", "illness"),
    [
        ({}, None),
        ({"loss D": math.nan}, "overflow"),
        ({"right on real": 1.0, "right on fake": 0.99, "gradient G": 50.0}, "discriminator too strong"),
        ({"diversity": 0.2}, "collapsed"),
        ({"motion": 2.0}, "circling"),
        ({"gap": 1.0, "darkest": 0.0}, None),  # mistakes that a run of the package has not
    ],
)
def test_the_tree_names_what_is_wrong_and_the_advice_says_what_to_try(changes, illness):
    found = answers(log(**changes), Config())
    assert [one.illness for one in found if one.answer == "yes"] == [illness] * (illness is not None)
    flat = [line(WHOLE // 2, 30.0), line(WHOLE, 30.0)]
    advice = advise(Path("r"), FULL, flat, answers=found)[0]
    assert advice.is_worry == (illness is not None)


def test_questions_that_make_no_sense_for_a_run_are_not_asked():
    strong = {"right on real": 1.0, "right on fake": 1.0, "gradient G": 50.0}
    critic = Config(loss="wasserstein-clipping", discriminator_norm="layer")
    found = {one.illness: one for one in answers(log(**strong, motion=math.nan), critic)}
    young = answers(log(diversity=0.1, motion=3.0, updates=20), Config())
    found |= {one.illness: one for one in young if one.illness == "collapsed"}
    for illness in ("discriminator too strong", "circling", "collapsed"):
        assert found[illness].answer == "not asked" and found[illness].why


def test_a_game_is_played_on_for_as_long_as_there_is_time(tiny_dataset, cpu):
    config = Config(data="tiny", channels=1, **SETTINGS)
    for seconds, asked in ((0.001, True), (1.0, False)):
        state = start(config, cpu)
        state.step = 1_000
        with torch.no_grad():
            state.generator.layers[0].weight.mul_(50)  # so that its images differ, and the last question is reached
        found = {one.illness: one.answer for one in ask(state, tiny_dataset, cpu, seconds)}
        assert state.step == (1_011 if asked else 1_001)
        if "circling" in found:
            assert (found["circling"] != "not asked") == asked


def test_a_generator_without_any_variety_is_found_collapsed(tiny_dataset, cpu):
    state = start(Config(data="tiny", channels=1, **SETTINGS | {"generator_learning_rate": 1e-9}), cpu)
    with torch.no_grad():
        state.generator.layers[0].weight.zero_()  # every latent gives the same image
    state.step = 1_000
    found = {one.illness: one.answer for one in ask(state, tiny_dataset, cpu, 0.001)}
    assert found["collapsed"] == "yes"


def test_copies_of_training_images_are_found_and_new_images_are_not():
    images = torch.randint(0, 256, (60, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    dataset = Dataset("noise", images, None, ())
    copies = scale(images[[5, 9, 33, 2]]) + 0.01
    new = scale(torch.randint(0, 256, (4, 1, 16, 16), generator=torch.Generator().manual_seed(1)))
    others = torch.randint(0, 256, (400, 1, 16, 16), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    found = nearest(torch.cat([copies, new]), dataset, Dataset("noise", others, None, ()))
    assert torch.equal(found.images[:4], images[[5, 9, 33, 2]])
    assert found.copies.share == 0.5 and min(found.shares[4:]) > 0.8 and found.num_images == 60
    assert nearest(new, dataset).copies is None, "without held-out images there is nothing to judge by"
    flat = [line(WHOLE // 2, 30.0), line(WHOLE, 30.0)]
    first, *_ = advise(Path("r"), FULL, flat, nearest=found)
    assert "50% of the samples seem to be copies of training images" in first.seen


def test_images_that_are_all_equal_or_one_alone_are_no_measure_and_no_copies_are_claimed():
    for images in (torch.full((9, 1, 16, 16), 7, dtype=torch.uint8), torch.full((1, 1, 16, 16), 7, dtype=torch.uint8)):
        found = nearest(scale(images[:1]), Dataset("flat", images, None, ()), Dataset("flat", images, None, ()))
        assert found.copies is None and found.shares == [math.inf]


# ----------------------------------------------------------------------------------------------------------- commands


def flags(tiny_folder: Path, out: Path) -> list[object]:
    given = [(f"--{name.replace('_', '-')}", value) for name, value in SETTINGS.items()]
    return ["train", "--data", tiny_folder, "--out", out, "--device", "cpu", *(part for pair in given for part in pair)]


def test_train_and_resume_write_the_page_and_say_in_four_lines_where_everything_is(run, tiny_folder, tmp_path):
    out = tmp_path / "run"
    code, output, errors = run(*flags(tiny_folder, out))
    assert code == 0, errors
    lines = output.splitlines()
    assert len(lines) == 5 and "convolutions" in lines[0]
    assert "160 images" in lines[1] and str(out / "samples") in lines[1]
    assert lines[2].startswith("To read that distance: ") and " real images score " in lines[2]
    assert "To try: " in lines[3] and lines[4] == f"report: {out / 'report.html'}"
    (out / "report.html").unlink()
    code, output, errors = run("resume", out, "--total-images", 240)
    assert code == 0 and (out / "report.html").exists() and "240 images" in output, errors
    code, output, _ = run("report", out, "--out", tmp_path / "page.html")
    assert code == 0 and output.splitlines()[-1] == str(tmp_path / "page.html")


def test_the_page_can_be_switched_off(run, tiny_folder, tmp_path):
    code, output, _ = run(*flags(tiny_folder, tmp_path / "run"), "--no-report")
    assert code == 0 and not (tmp_path / "run" / "report.html").exists()
    assert len(output.splitlines()) == 5 and f"python -m dcgan_core report {tmp_path / 'run'}" in output


@pytest.mark.filterwarnings("always")  # as outside of the tests
def test_a_page_that_fails_costs_a_warning_and_nothing_else(run, tiny_folder, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr("dcgan_core.cli.training.write_report", fail)
    code, output, errors = run(*flags(tiny_folder, tmp_path / "run"))
    assert code == 0 and "done: 160 images" in output
    assert [line for line in errors.splitlines() if line.startswith("warning: ")] == [
        "warning: the run is done, but its report is not: a mistake of ours."
    ]


def test_a_process_that_is_not_the_first_makes_no_page(trained, tmp_path, monkeypatch, capsys):
    from dcgan_core.cli import training

    monkeypatch.setattr(training, "write_report", lambda *_, **__: pytest.fail("a page for each process"))
    training._finish(trained, replace(choose_machine("cpu", "float32"), rank=1), True)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_run_that_is_stopped_says_how_long_the_rest_takes(tiny_folder, tmp_path):
    """In a process of its own, which gets the signal."""
    long = [str(part) for part in flags(tiny_folder, tmp_path / "run")] + ["--total-images", "10000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dcgan_core", *long], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert re.search(r"stopped at [\d,]+ of 10,000,000 images; the rest takes about \d+ (minutes|hours|days)", output)
    assert f"python -m dcgan_core resume {tmp_path / 'run'}" in output
    assert not (tmp_path / "run" / "report.html").exists(), "a cluster waits for seconds only"


def test_the_page_is_not_written_through_a_link(copied, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (copied / "report.html").symlink_to(tmp_path / "mine.txt")
    write_report(copied, device="cpu")
    assert (tmp_path / "mine.txt").read_text() == "mine" and not (copied / "report.html").is_symlink()
