"""Random damage and forgery of everything that a run is read from: one sentence, or a run that works; nothing else.

A few examples in the ordinary run; `make fuzz` tries many more.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import warnings
import zipfile
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402

from dcgan_core.config import Config, InvalidInput  # noqa: E402
from dcgan_core.data import load_folder  # noqa: E402
from dcgan_core.data.contact_sheet import contact_sheet, describe  # noqa: E402
from dcgan_core.data.folder import read_images  # noqa: E402
from dcgan_core.laboratory.outcomes import outcomes, read  # noqa: E402
from dcgan_core.runs import checkpoint, journal  # noqa: E402
from dcgan_core.runtime import choose_machine  # noqa: E402
from dcgan_core.train import CHECKPOINT, load_state, read_config, read_metrics, train  # noqa: E402

EXAMPLES = int(os.environ.get("DCGAN_FUZZ", 15))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@pytest.fixture(scope="module")
def run(tiny_config, tiny_dataset, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fuzz") / "run"
    config = replace(tiny_config, total_images=48)
    train(config, out, machine=choose_machine("cpu", "float32"), dataset=tiny_dataset, progress=False)
    return out


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """A small tensor of any type and shape, of ordinary and of extreme values."""
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    made = torch.full(shape, draw(st.sampled_from([0.0, 1.0, -1.0, 255.0, float("nan"), float("inf"), 3e38])))
    return made.to(draw(st.sampled_from(DTYPES)))


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[str, Any, Any]]:
    """What is done to a checkpoint: tensors removed, replaced, added, or with one value changed; facts replaced."""
    which = st.integers(0, 10**6)
    change = st.one_of(
        st.tuples(st.just("remove"), which, st.none()),
        st.tuples(st.just("replace"), which, tensors()),
        st.tuples(st.just("value"), which, st.sampled_from([float("nan"), float("inf"), -1.0, 1e30])),
        st.tuples(st.just("add"), st.text(min_size=1, max_size=20), tensors()),
        st.tuples(st.just("fact"), st.sampled_from(["step", "config", "best", "line", "other"]), JSON),
    )
    return draw(st.lists(change, min_size=1, max_size=3))


@fuzz
@given(damage())
def test_a_forged_checkpoint_is_refused_in_one_sentence_or_fits(run, changes):
    found, facts = checkpoint.load(run / CHECKPOINT)
    for kind, which, what in changes:
        name = sorted(found)[which % len(found)] if isinstance(which, int) and found else ""
        if kind == "remove":
            found.pop(name, None)
        elif kind == "replace" and name:
            found[name] = what
        elif kind == "value" and name and found[name].numel():
            found[name] = found[name].clone()
            found[name].view(-1)[0] = what if found[name].is_floating_point() else 0
        elif kind == "add":
            found[which] = what
        elif kind == "fact":
            facts[which] = what
    forged = run.parent / "forged"
    shutil.rmtree(forged, ignore_errors=True)
    forged.mkdir()
    shutil.copy(run / "config.json", forged)
    checkpoint.save(forged / CHECKPOINT, found, facts)
    one_sentence_or(lambda: load_state(forged, choose_machine("cpu", "float32")))


def one_sentence_or(action) -> Any:
    """What the action returns, or None if it refused with one sentence. Anything else that it raises is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return action()
        except InvalidInput as error:
            message = str(error)
            assert message.endswith(".") and "\n" not in message, message
            return None


@fuzz
@given(st.binary(max_size=200), st.integers(0, 10**6), st.booleans())
def test_damaged_bytes_of_a_checkpoint_are_refused(run, garbage, place, cut):
    content = (run / CHECKPOINT).read_bytes()
    place %= len(content)
    damaged = content[:place] + garbage + (b"" if cut else content[place + len(garbage) :])
    path = run.parent / "damaged.safetensors"
    path.write_bytes(damaged)
    loaded = one_sentence_or(lambda: checkpoint.load(path))
    assert (loaded is None) == (damaged != content)


@fuzz
@given(st.dictionaries(st.sampled_from([field.name for field in fields(Config)]), JSON, min_size=1, max_size=3))
def test_a_config_with_any_values_is_refused_or_works(run, values):
    folder = run.parent / "config"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(Config().to_dict() | values))
    config = one_sentence_or(lambda: read_config(folder))
    if config is not None:
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@fuzz
@given(JSON | st.binary(max_size=60))
def test_a_config_of_any_shape_is_refused(run, value):
    folder = run.parent / "shape"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    assert one_sentence_or(lambda: read_config(folder)) is None


LINE = st.builds(
    lambda images, seconds, rest: json.dumps({"images": images, "seconds": seconds} | rest).encode(),
    st.integers(0, 10**6),
    st.floats(0, 1e6),
    st.dictionaries(st.sampled_from(["frechet_distance", "note"]), st.none() | st.floats(allow_nan=False), max_size=2),
)


@fuzz
@given(
    st.lists(LINE.map(lambda line: (line, True)) | st.binary(max_size=40).map(lambda line: (line, False)), max_size=8)
)
def test_among_any_lines_of_metrics_every_right_one_is_read_and_kept(run, lines):
    folder = run.parent / "metrics"
    folder.mkdir(exist_ok=True)
    lines = [(line.replace(b"\n", b" ").replace(b"\r", b" "), is_right) for line, is_right in lines]
    (folder / "metrics.jsonl").write_bytes(b"".join(line + b"\n" for line, _ in lines))
    right = [json.loads(line) for line, is_right in lines if is_right]
    assert [line for line in one_sentence_or(lambda: read_metrics(folder)) if line in right] == right
    journal.forget_after(folder, 10**6)
    assert (folder / "metrics.jsonl").read_bytes() == b"".join(line + b"\n" for line, _ in lines)


@fuzz
@given(st.lists(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40), max_size=6))
def test_a_record_of_a_comparison_with_any_lines_is_read_or_refused(run, lines):
    path = run.parent / "comparison.jsonl"
    path.write_bytes(b"\n".join(lines))
    one_sentence_or(lambda: outcomes(read(path)))


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16B"]
KINDS = ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "TGA", "ICO", "JPEG2000", "AVIF", "MPO", "PCX", "SGI"]
NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=12)
ENDINGS = st.sampled_from(["", ".png", ".JPG", ".tif", ".nef", ".heic", ".zip", ".svg", ".txt", ".mp4", " "])
HEADS = [b"", b"PK\3\4", b"\0\0\0\x18ftypheic", b"%PDF", b"<svg", b"II*\0", b"MM\0*", b"GIF89a", b"RIFF\0\0\0\0WEBP"]


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """The bytes of a picture of any mode, range, size, rotation, profile and format; some damaged, or none at all."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(HEADS)) + draw(st.binary(max_size=80))
    mode, format = draw(st.sampled_from(MODES)), draw(st.sampled_from(KINDS))
    low, high = draw(st.sampled_from([(0, 1), (0, 255), (0, 4095), (0, 65_535), (-1000, 10**6), (0, float("nan"))]))
    ramp = np.linspace(0, 1, 24 * 20).reshape(20, 24)
    kind = {"F": np.float32, "I": np.int32}.get(mode, np.uint16 if mode.startswith("I;") else np.uint8)
    with np.errstate(invalid="ignore"):
        image = Image.fromarray((low + (high - low) * ramp).astype(kind))
    image = image.resize(draw(st.sampled_from([(1, 1), (24, 20), (1, 40), (300, 2), (64, 64)])))
    options: dict[str, Any] = {"exif": b"Exif\0\0" + draw(st.binary(max_size=40))} if draw(st.booleans()) else {}
    if draw(st.booleans()):
        profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        for place, value in draw(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4)):
            profile[place] = value
        options["icc_profile"] = bytes(profile)
    if draw(st.booleans()):
        options |= {"save_all": True, "append_images": [image.rotate(90)]}
    if draw(st.booleans()):
        options["transparency"] = draw(st.integers(0, 255))
    file = io.BytesIO()
    try:
        image = image.convert(mode) if kind is np.uint8 else image
        image.save(file, format, **options)
    except Exception:
        return draw(st.binary(max_size=20))  # this format has no such pictures, which it says in many ways
    content = bytearray(file.getvalue())
    for place, value in draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3)):
        content[int(place * (len(content) - 1))] = value
    return bytes(content[: int(draw(st.sampled_from([1.0, 1.0, 0.99, 0.5])) * len(content))])


@fuzz
@given(
    st.lists(st.tuples(st.lists(NAMES, max_size=2), NAMES, ENDINGS, pictures()), max_size=6),
    st.sampled_from(["crop", "pad", "stretch"]),
    st.sampled_from([None, 1, 3]),
    st.booleans(),
)
def test_a_folder_of_pictures_of_any_kind_is_read_or_refused(tmp_path_factory, files, fit, channels, packed):
    folder = tmp_path_factory.mktemp("pictures")
    for above, name, ending, content in files:
        path = folder.joinpath(*(part for part in above if part not in (".", "..")), f"{name}{ending}")
        with suppress(OSError, ValueError):  # a name that this system does not take
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    source = folder
    if packed:
        source = folder.parent / f"{folder.name}.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in folder.rglob("*"):
                if path.is_file():
                    archive.writestr(str(path.relative_to(folder)), path.read_bytes())
    found = one_sentence_or(lambda: read_images(source, image_size=16, fit=fit, progress=False))
    if found is not None:
        shown = found.pixels
        assert shown.dtype == np.uint8 and shown.shape[2:] == (16, 16) and len(shown) == len(found.names)
        assert all(one.isprintable() or one == "\n" for one in describe(found, channels))
        assert all(reason and "\n" not in reason for reason in found.left_out.values())
        assert contact_sheet(found, channels).width > 16
        images = one_sentence_or(lambda: load_folder(source, image_size=16, fit=fit, channels=channels, say=False))
        assert len(images.images) == len(found.names)
    shutil.rmtree(folder)
