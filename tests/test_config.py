"""What a run is, and what it may not be."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_core.config import LATER, Config, InvalidInput, Loss

FIELDS = [field.name for field in dataclasses.fields(Config)]
WRONG = [
    *[("image_size", value) for value in (48, 0, 4, 512, -32)],
    *[("channels", value) for value in (0, 2, 4)],
    *[("fit", "squeeze"), ("held_out", -0.1), ("held_out", 0.6), ("held_out", float("nan"))],
    *[(name, 0) for name in ("latent_size", "generator_width", "discriminator_width", "total_images")],
    *[(name, 0) for name in ("log_every_images", "sample_every_images", "checkpoint_every_images")],
    *[("upsampling", "bilinear"), ("loss", "wasserstein"), ("rate_schedule", "step")],
    *[("generator_initialisation", "xavier"), ("discriminator_initialisation", "orthogonal")],
    *[("dropout", value) for value in (-0.1, 1.0, float("nan"))],
    *[("batch_size", value) for value in (1, 0, -64)],
    *[("generator_learning_rate", value) for value in (0.0, -1e-4, 1.0, float("nan"), float("inf"))],
    *[("discriminator_learning_rate", value) for value in (0.0, -1e-4, 1.0, float("nan"), float("inf"))],
    *[(name, value) for name in ("penalty_weight", "clip_limit") for value in (0.0, -1.0, float("nan"))],
    *[(name, value) for name in ("r1_gamma", "r2_gamma") for value in (-1.0, float("nan"), float("inf"))],
    *[("augment", value) for value in (("colour", "shear"), ("flip", "flip"), ("flip ",))],
    *[("instance_noise", value) for value in (-0.1, float("nan"), float("inf"))],
    *[("instance_noise_until", value) for value in (0.0, 1.1, float("nan"))],
    *[("real_label", value) for value in (0.0, 1.1, float("nan"))],
    *[(name, value) for name in ("gamma_final_share", "rate_final_share") for value in (-0.1, 1.1, float("nan"))],
    *[("discriminator_norm", "instance"), ("discriminator_steps", 0)],
    *[("unrolled_steps", -1), ("evaluate_every_images", -1)],
    *[(name, value) for name in ("beta1", "beta2") for value in (-0.1, 1.0, float("nan"))],
    *[("ema_halflife_images", -1), ("seed", -1), ("seed", 2**32)],
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_with_field_value_and_what_is_allowed(name, value):
    with pytest.raises(InvalidInput) as caught:
        Config(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} is {value!r}, but must be ")
    assert message.endswith(".") and "\n" not in message


def test_a_run_shorter_than_a_batch_is_refused():
    with pytest.raises(InvalidInput, match="total_images is 63"):
        Config(batch_size=64, total_images=63)


def test_the_penalty_and_batch_norm_exclude_each_other():
    with pytest.raises(InvalidInput, match="discriminator_norm to layer or none"):
        Config(loss="wasserstein-penalty")
    for norm in ("layer", "none"):
        Config(loss="wasserstein-penalty", discriminator_norm=norm)


@pytest.mark.parametrize("loss", get_args(Loss))
def test_only_losses_with_labels_can_smooth_them(loss):
    if loss in ("non-saturating", "minimax"):
        assert Config(loss=loss, real_label=0.9).real_label == 0.9
    else:
        with pytest.raises(InvalidInput, match=f"real_label is 0.9, but the loss {loss} has no labels: set it to 1"):
            Config(loss=loss, real_label=0.9, discriminator_norm="none")


@pytest.mark.parametrize("name", ["r1_gamma", "r2_gamma"])
def test_slope_penalties_exclude_batch_norm_and_looking_ahead(name):
    with pytest.raises(InvalidInput, match=f"^{name} limits .* set discriminator_norm to layer or none"):
        Config(**{name: 0.1})
    with pytest.raises(InvalidInput, match=f"unrolled_steps is 2, but .* without {name}: set one of the two to 0"):
        Config(**{name: 0.1}, discriminator_norm="none", unrolled_steps=2)
    for norm in ("layer", "none"):
        assert Config(**{name: 0.1}, discriminator_norm=norm).slope_penalties == [name]


@pytest.mark.parametrize("loss", ["wasserstein-penalty", "wasserstein-clipping"])
def test_looking_ahead_is_refused_for_a_critic(loss):
    with pytest.raises(InvalidInput, match="unrolled_steps to 0"):
        Config(loss=loss, discriminator_norm="none", unrolled_steps=1)


def test_settings_that_nothing_reads_are_named():
    assert Config().without_effect() == []
    assert Config(penalty_weight=1.0, clip_limit=0.1).without_effect() == ["penalty_weight", "clip_limit"]
    assert Config(loss="wasserstein-clipping", clip_limit=0.1).without_effect() == []
    assert Config(loss="wasserstein-penalty", discriminator_norm="none", penalty_weight=1.0).without_effect() == []
    assert Config(gamma_final_share=0.1).without_effect() == ["gamma_final_share"]
    assert Config(rate_final_share=0.1).without_effect() == ["rate_final_share"]
    assert Config(rate_final_share=0.1, rate_schedule="linear").without_effect() == []
    assert Config(instance_noise_until=0.1).without_effect() == ["instance_noise_until"]
    assert Config(instance_noise_until=0.1, instance_noise=0.1).without_effect() == []
    assert Config(r2_gamma=1.0, gamma_final_share=0.1, discriminator_norm="none").without_effect() == []


def test_an_iteration_shows_a_batch_for_each_discriminator_step():
    config = Config(batch_size=8, discriminator_steps=5, total_images=100)
    assert (config.images_per_step, config.total_steps) == (40, 2)
    with pytest.raises(InvalidInput, match="batch_size x discriminator_steps = 40"):
        Config(batch_size=8, discriminator_steps=5, total_images=39)


def test_every_field_has_a_default_and_a_help_text():
    lines = inspect.getsource(Config).splitlines()
    for name in FIELDS:
        (number,) = (i for i, line in enumerate(lines) if line.startswith(f"    {name}: "))
        assert lines[number + 1].strip().startswith('"""') and lines[number + 1].endswith('."""'), name
    assert Config() == Config()


def test_a_config_cannot_be_changed_and_takes_no_positions():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1
    with pytest.raises(TypeError):
        Config("glyphs")


@given(
    image_size=st.sampled_from([8, 16, 32, 64, 128, 256]),
    batch_size=st.integers(2, 1000),
    batches=st.integers(1, 1000),
    rest=st.integers(0, 10**6),
    dropout=st.floats(0, 1, exclude_max=True),
    generator_learning_rate=st.floats(0, 1, exclude_min=True, exclude_max=True),
    data=st.text(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_config_survives_json_and_counts_whole_batches(batch_size, batches, rest, **values):
    total_images = batches * batch_size + rest % batch_size
    config = Config(batch_size=batch_size, total_images=total_images, **values)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.total_steps == batches


def test_a_config_from_before_a_field_existed_means_what_it_meant_then():
    """Whatever the defaults become: these values switch off what was not there."""
    values = Config(seed=3).to_dict()
    old = {name: value for name, value in values.items() if name not in LATER}
    assert Config.from_dict(old) == dataclasses.replace(Config(seed=3), **LATER)
    assert {name: getattr(Config.from_dict(old), name) for name in LATER} == LATER
    assert Config.from_dict(values | {"gamma_final_share": 0.5}).gamma_final_share == 0.5


def test_fields_of_another_version_are_named():
    values = Config().to_dict()
    del values["seed"]
    with pytest.raises(InvalidInput, match=r"\(momentum, seed\)"):
        Config.from_dict(values | {"momentum": 0.5})


@pytest.mark.parametrize(("name", "value"), [("batch_size", True), ("dropout", False), ("seed", True)])
def test_true_is_no_number(name, value):
    with pytest.raises(InvalidInput, match=f"^{name} is {value}, but must be a"):
        Config(**{name: value})


def test_a_config_from_before_a_field_existed_holds_nothing_that_nothing_reads():
    """Else each older run would be warned of settings that it never had."""
    older = {name: value for name, value in Config().to_dict().items() if name not in LATER}
    assert Config.from_dict(older).without_effect() == []


@pytest.mark.parametrize("name", ["\n", "\x1b[31m", "a b", ""])
def test_an_unknown_field_of_any_name_stays_in_its_line(name):
    with pytest.raises(InvalidInput, match="unknown or missing fields") as caught:
        Config.from_dict(Config().to_dict() | {name: 1})
    assert ascii(name)[1:-1] in str(caught.value) and str(caught.value).isprintable()
