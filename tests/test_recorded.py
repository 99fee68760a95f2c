"""Recorded runs: what ships loads, does what its record says, and a run of one's own can be exported."""

from __future__ import annotations

import json
import math
import shutil
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import EpsImagePlugin, Image
from safetensors.torch import load_file, save_file

from dcgan_core import recorded
from dcgan_core.config import InvalidInput
from dcgan_core.data import unscale
from dcgan_core.train import load_state, resume, sample, train

MEGABYTE = 2**20


def test_all_recorded_runs_together_are_under_20_megabytes():
    assert recorded.names()
    assert sum(path.stat().st_size for path in recorded.FOLDER.rglob("*")) < 20 * MEGABYTE


@pytest.mark.parametrize("name", recorded.names())
def test_a_recorded_run_holds_what_chapters_show(name):
    run = recorded.load(name)
    size, channels = run.config.image_size, run.config.channels
    assert run.samples.shape == (len(run.samples_at), recorded.NUM_COLUMNS, channels, size, size)
    assert run.samples_at == sorted(run.samples_at) and run.samples_at[0] == 0
    assert run.samples_at[-1] == run.metrics[-1]["images"]
    assert not run.generator.training and not run.discriminator.training
    assert run.provenance[-1]["command"].startswith("python -m dcgan_core ")
    assert run.provenance[-1]["device"] in run.caption()
    assert run.discriminator(run.generator(run.latents)).shape == (recorded.NUM_COLUMNS,)


@pytest.mark.parametrize("name", recorded.names())
def test_the_recorded_weights_draw_the_recorded_samples(name):
    """Weights in half precision: a few grey levels of 255 in a few pixels."""
    run = recorded.load(name)
    drawn = unscale(sample(run.generator, run.latents)).float()
    assert (drawn - run.samples[-1].float()).abs().mean() < 2


@pytest.mark.parametrize("name", recorded.names())
def test_model_card_states_the_recorded_numbers(name):
    card = (recorded.FOLDER / name / "MODEL_CARD.md").read_text()
    record = json.loads((recorded.FOLDER / name / "record.json").read_text())
    assert card == recorded.model_card(name, record, ships=True)
    assert "recorded for the book" in card


@pytest.mark.parametrize("name", recorded.names())
def test_a_recorded_run_tells_no_place_on_anybodys_disk(name):
    record = json.loads((recorded.FOLDER / name / "record.json").read_text())
    assert recorded.publishable(record) == record


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ({"captured": False}, "float32"),
        ({"captured": True}, "float32, iterations as a CUDA graph"),
        ({"captured": None}, "float32"),  # ended before anyone had tried
        ({"compiled": True, "captured": True}, "float32, compiled, iterations as a CUDA graph"),
        ({"precision": "bfloat16"}, "bfloat16"),
    ],
)
def test_card_and_caption_say_what_happened_in_each_session(session, said):
    run = recorded.load(recorded.names()[0])
    record = json.loads((recorded.FOLDER / run.name / "record.json").read_text())
    before = record["provenance"][-1] | {"precision": "float16", "compiled": False, "captured": False}
    record["provenance"] = [before, before | {"precision": "float32"} | session]
    card = recorded.model_card(run.name, record)
    assert "in `float16`, torch" in card and f"in `{said}`, torch" in card
    caption = replace(run, provenance=record["provenance"]).caption()
    assert f", float16, torch {before['torch']}; then " in caption and f", {said}, torch" in caption


def test_an_unknown_name_is_one_sentence_that_lists_what_there_is():
    with pytest.raises(InvalidInput, match=recorded.names()[0]) as caught:
        recorded.load("nothing")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_folder):
    """A run of someone's, in a folder that is nobody's business, resumed once by a command; and its copy."""
    from dcgan_core.config import Config

    config = Config(
        data=str(tiny_folder),
        image_size=16,
        latent_size=8,
        generator_width=4,
        discriminator_width=4,
        batch_size=8,
        total_images=80,
        sample_every_images=8,
        evaluate_every_images=0,
    )
    folder = tmp_path_factory.mktemp("export")
    train(config, folder / "run", progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [str(recorded.FOLDER.with_name("__main__.py")), "resume", str(folder / "run")])
        resume(folder / "run", total_images=160, progress=False)
    recorded.export(folder / "run", folder / "copy")
    return folder


def test_an_exported_run_is_the_run_in_half_precision(exported):
    copy, state = recorded.load(exported / "copy"), load_state(exported / "run")
    assert replace(copy.config, data=state.config.data) == state.config
    for mine, theirs in ((copy.generator, state.average), (copy.discriminator, state.discriminator)):
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-3, atol=1e-5)
            assert mine.state_dict()[name].dtype == value.dtype
        assert not mine.training
    assert len(copy.samples_at) <= recorded.NUM_MOMENTS
    assert copy.samples_at[0] == 0 and copy.samples_at[-1] == 160
    assert (unscale(sample(state.average, copy.latents)).float() - copy.samples[-1].float()).abs().mean() < 2


def test_a_copy_tells_no_place_on_its_authors_disk(exported, tiny_folder):
    copy = exported / "copy"
    assert str(exported) in (exported / "run" / "provenance.json").read_text()
    for name in ("record.json", "MODEL_CARD.md"):
        text = (copy / name).read_text(encoding="utf-8").encode().decode("unicode_escape")
        for path in (exported, tiny_folder):
            assert str(path) not in text and str(path.parent) not in text
    record = json.loads((copy / "record.json").read_text())
    assert record["config"]["data"].endswith(f"/{tiny_folder.name}")
    assert record["provenance"][1]["command"].startswith("python -m dcgan_core resume ")


def test_the_card_of_a_copy_shows_both_sessions_and_claims_nothing_of_the_book(exported):
    card = (exported / "copy" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "a program" in card and "dcgan_core resume" in card and "from 80 images on" in card
    assert "recorded for the book" not in card and "4 held-out images" in card


def test_the_caption_names_every_machine_of_a_run(exported):
    copy = recorded.load(exported / "copy")
    assert copy.caption().count("torch") == 1
    copy.provenance[0]["device"] = "another card"
    assert "another card" in copy.caption() and copy.provenance[1]["device"] in copy.caption()


def test_export_overwrites_nothing_and_needs_a_run(exported, tmp_path):
    with pytest.raises(InvalidInput, match="already exists"):
        recorded.export(exported / "run", exported / "copy")
    with pytest.raises(InvalidInput, match="holds no run"):
        recorded.export(tmp_path, tmp_path / "copy")


def test_a_copy_into_the_packages_folder_is_one_of_the_books(exported, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", exported)
    recorded.export(exported / "run", exported / "ours")
    assert "recorded for the book" in (exported / "ours" / "MODEL_CARD.md").read_text(encoding="utf-8")


def refusal(action, *arguments) -> str:
    with pytest.raises(InvalidInput) as caught:
        action(*arguments)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def damaged(path: Path, content: bytes | None) -> None:
    path.unlink() if content is None else path.write_bytes(content)


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of a part of `exported`, to be damaged."""

    def copy(part: str) -> Path:
        return Path(shutil.copytree(exported / part, tmp_path / part))

    return copy


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.jsonl", None),
        ("metrics.jsonl", b""),
        ("provenance.json", None),
        ("provenance.json", b""),
        ("provenance.json", b"[]"),
        ("provenance.json", b"{}"),
        ("provenance.json", b"[3]"),
        ("provenance.json", b'[{"device": 3}]'),
        ("provenance.json", b"\xff"),
        ("provenance.json", b"[" * 100_000),
        ("samples/000000000.png", b"no picture"),
        ("samples/000000000.png", None),
    ],
)
def test_a_run_that_lacks_something_is_not_exported_and_leaves_nothing(copied, tmp_path, name, content):
    run = copied("run")
    for path in (run / "samples").glob("*.png") if content is None and "samples" in name else ():
        path.unlink()
    if (run / name).exists():
        damaged(run / name, content)
    refusal(recorded.export, run, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_pictures_that_are_no_grids_of_the_run_are_left_out_or_refused(copied, tmp_path):
    run = copied("run")
    Image.new("L", (128, 128)).save(run / "samples" / "favourite.png")
    recorded.export(run, tmp_path / "new")
    Image.new("L", (64, 128)).save(run / "samples" / "000000000.png")
    assert "64 x 128" in refusal(recorded.export, run, tmp_path / "other")


def test_weights_beyond_half_precision_are_not_exported(copied, tmp_path, monkeypatch):
    state = load_state(copied("run"))
    with torch.no_grad():
        next(state.sampler.parameters()).fill_(1e6)
    monkeypatch.setattr(recorded, "load_state", lambda *_, **__: state)
    assert "half precision" in refusal(recorded.export, tmp_path / "run", tmp_path / "new")


def test_a_folder_that_cannot_be_written_is_one_sentence(exported, tmp_path):
    (tmp_path / "file").write_text("")
    refusal(recorded.export, exported / "run", tmp_path / "file" / "copy")
    (tmp_path / "link").symlink_to(tmp_path / "nothing" / "here")
    refusal(recorded.export, exported / "run", tmp_path / "link")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["record.json", "weights.safetensors", "samples.png"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"null", b"\xff\x00", b"[" * 100_000])
def test_a_copy_with_a_damaged_file_is_one_sentence(copied, name, content):
    copy = copied("copy")
    damaged(copy / name, content)
    refusal(recorded.load, copy)


def edit(copy: Path, change) -> Path:
    record = json.loads((copy / "record.json").read_text())
    change(record)
    (copy / "record.json").write_text(json.dumps(record))
    return copy


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["config"].pop("loss"),
        lambda record: record["config"].update(generator_width=10**7),
        lambda record: record["config"].update(discriminator_width=10**15),
        lambda record: record["config"].update(latent_size=10**12),
        lambda record: record["config"].update(latent_size=10**30),
        lambda record: record["config"].update(latent_size=8.0),
        lambda record: record["config"].update(image_size=16.0),
        lambda record: record["config"].update(latent_size=7),
        lambda record: record["config"].update(image_size=32),
        lambda record: record["config"].update(channels=3),
        lambda record: record["config"].update(spectral_norm=True),
        lambda record: record["config"].update(generator_width="4"),
        lambda record: record["config"].update(generator_width=None),
        lambda record: record.update(config=[]),
        lambda record: record.update(metrics=[]),
        lambda record: record.update(provenance=[]),
        lambda record: record["samples_at"].pop(),
        lambda record: record.pop("evaluation"),
    ],
)
def test_a_copy_whose_files_do_not_fit_each_other_is_one_sentence_at_once(copied, change):
    begin = time.perf_counter()
    refusal(recorded.load, edit(copied("copy"), change))
    assert time.perf_counter() - begin < 5, "memory or time was spent on what a text file asked for"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(copied, value):
    copy = copied("copy")
    weights = load_file(copy / "weights.safetensors")
    weights["generator.layers.0.weight"].view(-1)[0] = value
    save_file(weights, copy / "weights.safetensors")
    refusal(recorded.load, copy)


def test_a_tensor_too_many_or_too_few_is_refused(copied):
    copy = copied("copy")
    weights = load_file(copy / "weights.safetensors")
    save_file(weights | {"generator.more": torch.ones(1)}, copy / "weights.safetensors")
    refusal(recorded.load, copy)
    weights.pop("generator.layers.0.weight")
    save_file(weights, copy / "weights.safetensors")
    refusal(recorded.load, copy)


@pytest.mark.parametrize("side", [9_000, 2**31 - 1])
def test_a_picture_that_would_unpack_to_gigabytes_is_not_unpacked(copied, side):
    copy = copied("copy")
    content = bytearray((copy / "samples.png").read_bytes())
    content[16:24] = struct.pack(">II", side, side)  # the size, in the first chunk, and then the chunk's sum
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (copy / "samples.png").write_bytes(content)
    begin = time.perf_counter()
    refusal(recorded.load, copy)
    assert time.perf_counter() - begin < 5


def test_opening_a_copy_runs_and_writes_nothing(copied, tmp_path):
    """Pickles in the place of any of its files."""
    proof = tmp_path / "proof"
    for name in ("record.json", "weights.safetensors", "samples.png"):
        copy = copied("copy")
        torch.save(Trap(proof), copy / name)
        before = sorted(path.name for path in copy.iterdir())
        refusal(recorded.load, copy)
        assert sorted(path.name for path in copy.iterdir()) == before and not proof.exists()
        shutil.rmtree(copy)


def test_samples_that_are_a_program_are_given_to_no_interpreter(copied, monkeypatch):
    """Pillow gives PostScript to Ghostscript, whatever the file is called."""
    copy, started = copied("copy"), []
    with Image.open(copy / "samples.png") as picture:
        picture.save(copy / "samples.png", format="EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments: started.append(arguments))
    refusal(recorded.load, copy)
    assert started == []


class Trap:
    """Unpickling this would create a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))
