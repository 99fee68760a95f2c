"""The drawn scenes: reproducible, of every kind, no two alike, and painted as their parameters say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dcgan_core.data.houses import DOORS, FENCES, LAMP, ROOF_COLOURS, ROOFS, WALLS
from dcgan_core.data.landscapes import DAYTIMES, SEASONS, WEATHERS, Scene, paint
from dcgan_core.data.scenes import render, scene
from dcgan_core.data.trees import TREES


@pytest.fixture(scope="module")
def parameters() -> list[Scene]:
    return [scene(7, number) for number in range(4_000)]


def pixels(parameters: Scene, size: int = 64) -> np.ndarray:
    """Float (S, S, 3), 0 to 255."""
    return np.asarray(paint(parameters, size), float)


@pytest.mark.parametrize("image_size", [32, 64, 128])
def test_scenes_are_bytes_in_colour_of_the_size_that_was_asked_for(image_size):
    images = render(3, image_size=image_size).images
    assert images.shape == (3, 3, image_size, image_size) and images.dtype == np.uint8


def test_rendered_images_are_the_painted_ones_with_channels_first():
    found = render(2, image_size=32, seed=1)
    for image, parameters in zip(found.images, found.scenes, strict=True):
        np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(paint(parameters, 32)))


def test_same_arguments_give_the_same_pixels_and_parameters():
    first, second = (render(6, image_size=32, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    assert first.scenes == second.scenes


def test_a_scene_does_not_depend_on_how_many_are_drawn_or_on_any_global_random_state():
    np.random.seed(0)
    whole = render(6, image_size=32, seed=3)
    np.random.seed(1)
    last = render(2, image_size=32, seed=3, first=4)
    np.testing.assert_array_equal(whole.images[4:], last.images)
    assert whole.scenes[4:] == last.scenes


def test_no_two_scenes_are_alike_within_a_seed_or_across_seeds(parameters):
    images = [image.tobytes() for seed in (0, 1) for image in render(150, image_size=32, seed=seed).images]
    assert len(set(images)) == 300
    assert len(set(parameters)) == len(parameters)


def test_the_pictures_follow_from_the_parameters_alone():
    """A scene of other clouds and grass is another picture; an equal one is the same."""
    one = replace(scene(0, 0), weather="cloudy")
    np.testing.assert_array_equal(pixels(one), pixels(replace(one)))
    assert np.abs(pixels(one) - pixels(replace(one, seed=one.seed + 1))).max() > 20


def test_every_kind_occurs(parameters):
    houses, trees = [each.house for each in parameters], [tree for each in parameters for tree in each.trees]
    for found, known in (
        ([each.daytime for each in parameters], DAYTIMES),
        ([each.season for each in parameters], SEASONS),
        ([each.weather for each in parameters], WEATHERS),
        ([each.fence for each in parameters], FENCES),
        ([each.mountains for each in parameters], (False, True)),
        ([each.roof for each in houses], ROOFS),
        ([each.floors for each in houses], (1, 2)),
        ([each.side for each in houses], (-1, 1)),
        ([each.wall for each in houses], WALLS),
        ([each.roof_colour for each in houses], ROOF_COLOURS),
        ([each.door for each in houses], DOORS),
        ([each.chimney for each in houses], (False, True)),
        ([each.kind for each in trees], TREES),
    ):
        counts = Counter(found)
        assert set(counts) == set(known)
        assert min(counts.values()) > 0.02 * len(found)


def test_roofs_seasons_and_times_of_day_are_uniform_within_sampling_error(parameters):
    for found in ([each.house.roof for each in parameters], [each.season for each in parameters]):
        counts = Counter(found)
        expected = len(found) / len(counts)
        assert sum((count - expected) ** 2 / expected for count in counts.values()) < 20
    shares = Counter(each.daytime for each in parameters)
    assert all(abs(count - 1_000) < 120 for count in shares.values())


def test_it_snows_in_winter_and_rains_in_the_other_seasons(parameters):
    pairs = {(each.weather, each.season) for each in parameters}
    assert {season for weather, season in pairs if weather == "snow"} == {"winter"}
    assert {season for weather, season in pairs if weather == "rain"} == {"spring", "summer", "autumn"}


def test_every_house_stands_inside_the_picture_below_the_horizon_with_a_lamp_or_none_in_each_window(parameters):
    for each in parameters:
        house = each.house
        far = house.at(0.5 + 0.42)
        assert min(house.at(-0.5), far) >= 0 and max(house.at(-0.5), far) <= 1
        assert each.horizon + 0.1 < house.y < 0.9 and house.ridge > 0.05
        assert len(house.windows()) == len(house.lit) >= 1
        for left, top, right, bottom in house.windows():
            assert house.x - house.width / 2 < left < right < house.x + house.width / 2
            assert house.eaves < top < bottom < house.y


def test_no_tree_hides_the_front_of_the_house(parameters):
    for each in parameters:
        for tree in each.trees:
            if tree.y > each.house.y - 0.02:
                assert abs(tree.x - each.house.x) > 0.8 * each.house.width


def test_lamps_burn_at_night_and_never_by_day(parameters):
    lit = {time: [any(each.house.lit) for each in parameters if each.daytime == time] for time in DAYTIMES}
    assert sum(lit["day"]) == 0
    assert np.mean(lit["night"]) > 0.8 > np.mean(lit["dawn"])


CLEAR = replace(scene(0, 1), weather="clear", trees=(), mountains=False, fence="none", disc=(0.85, 0.1), daytime="day")


def house_with(**changes) -> Scene:
    """A clear day with a house in the middle."""
    house = replace(CLEAR.house, x=0.4, y=0.8, width=0.36, floors=1, side=1, num_windows=2, lit=(False, False))
    return replace(CLEAR, season="summer", horizon=0.5, house=replace(house, **changes))


def box_mean(image: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    size = len(image)
    part = image[round(top * size) : round(bottom * size), round(left * size) : round(right * size)]
    assert part.size
    return part.mean((0, 1))


def test_nights_are_darker_than_dusk_and_dusk_than_day():
    light = [pixels(replace(house_with(), daytime=time)).mean() for time in ("night", "dusk", "day")]
    assert light[0] < 0.5 * light[1] and light[1] < 0.9 * light[2]


def test_the_ground_is_white_in_winter_green_in_summer_and_brown_in_autumn():
    ground = {
        season: box_mean(pixels(replace(house_with(), season=season)), 0.75, 0.88, 0.98, 0.98) for season in SEASONS
    }
    assert ground["winter"].min() > 180
    red, green, blue = ground["summer"]
    assert green > red + 15 > blue + 30
    assert ground["autumn"][0] > ground["autumn"][1]


@pytest.mark.parametrize("where", [(0.2, 0.15), (0.85, 0.1)])
def test_the_sun_shines_where_it_stands_and_the_moon_too(where):
    for time in ("day", "night"):
        image = pixels(replace(house_with(), daytime=time, disc=where), 128)
        rows, columns = np.indices(image.shape[:2])
        brightest = image.sum(2) >= image.sum(2)[:50].max() - 12
        sky = brightest & (rows < 50)
        assert columns[sky].mean() / 128 == pytest.approx(where[0], abs=0.02)
        assert rows[sky].mean() / 128 == pytest.approx(where[1], abs=0.02)


def test_clouds_hide_the_sun_when_it_rains():
    image, rain = (pixels(replace(house_with(), weather=weather)) for weather in ("clear", "rain"))
    assert box_mean(image, 0.82, 0.07, 0.88, 0.13).min() > 200
    assert box_mean(rain, 0.82, 0.07, 0.88, 0.13).max() < 200


def test_a_lit_window_has_the_colour_of_lamps_whatever_the_light_outside():
    night = replace(house_with(lit=(True, False)), daytime="night", weather="clear")
    image = pixels(night, 256)
    lit, dark = night.house.windows()
    inside = [
        box_mean(image, left + 0.004, top + 0.004, right - 0.004, bottom - 0.004)
        for left, top, right, bottom in (lit, dark)
    ]
    assert inside[0][0] > 150 and inside[0][0] > inside[0][2] + 50, "yellow"
    assert inside[1].max() < 90
    left, top = lit[:2]
    corner = image[round((top + 0.008) * 256), round((left + 0.008) * 256)]
    assert np.abs(corner - np.array(LAMP)).max() < 12


def test_walls_and_doors_have_their_colour_on_the_side_in_the_sun():
    """The sun is on the left, and so is the front of a house whose side wall is seen on the right: full light."""
    image = pixels(replace(house_with(wall=WALLS[0], door=DOORS[2]), disc=(0.1, 0.1)), 256)
    front = box_mean(image, 0.4 - 0.17, 0.63, 0.4 + 0.17, 0.645)
    assert np.abs(front - np.array(WALLS[0])).max() < 12
    side = box_mean(image, 0.4 + 0.2, 0.72, 0.4 + 0.28, 0.74)
    assert side.mean() < 0.85 * front.mean()
    door = box_mean(image, 0.4 - 0.015, 0.72, 0.4 + 0.015, 0.78)
    assert np.abs(door - np.array(DOORS[2])).max() < 12


@pytest.mark.parametrize("roof", ROOFS)
def test_the_roof_reaches_to_the_ridge_and_has_its_colour_or_snow(roof):
    plain = house_with(roof=roof, roof_colour=ROOF_COLOURS[0], chimney=False, smoke=False, wall=WALLS[3])
    for season, is_right in (("summer", lambda c: c[0] > c[2] + 40), ("winter", lambda c: c.min() > 120)):
        image = pixels(replace(plain, season=season), 256)
        house = plain.house
        nothing = pixels(replace(plain, season=season, house=replace(house, x=5.0)), 256)
        changed = np.abs(image - nothing).max(2) > 60
        rows = changed[:, : round(0.72 * 256)].any(1).nonzero()[0]
        assert rows[0] / 256 == pytest.approx(min(house.ridge, house.eaves - 0.07 * house.width), abs=0.035)
        above = changed & (np.indices(changed.shape)[0] < 256 * (house.eaves - 0.004))
        share = np.mean([is_right(colour) for colour in image[above]])
        assert share > (0.1 if roof in ("gable", "gambrel", "flat") else 0.4), f"{season}: {share}"


def test_roofs_chimneys_and_fences_change_the_picture_where_they_are():
    bare = house_with(roof="saddle", chimney=False, smoke=False)
    with_chimney = replace(bare, house=replace(bare.house, chimney=True))
    difference = np.abs(pixels(bare) - pixels(with_chimney)).max(2) > 30
    rows = difference.nonzero()[0] / 64
    assert 3 < difference.sum() < 80 and rows.max() < bare.house.eaves + 0.05
    fenced = np.abs(pixels(bare) - pixels(replace(bare, fence="picket"))).max(2) > 30
    rows = fenced.nonzero()[0] / 64
    assert fenced.sum() > 60 and rows.min() > 0.77 and rows.max() < 0.9
    gate = fenced[round(0.82 * 64) : round(0.86 * 64), round(0.36 * 64) : round(0.44 * 64)]
    assert gate.mean() < 0.1, "the path goes through"


def test_edges_are_smooth():
    """A picture is near to one that was painted sixteen times as large and averaged; jagged edges are not."""
    differences = []
    for number in range(12):
        large = paint(scene(0, number), 256).resize((64, 64), Image.Resampling.BOX)
        differences.append(np.abs(pixels(scene(0, number)) - np.asarray(large, float)).mean())
    assert np.mean(differences) < 2.4, "2.8 if it is painted at twice the size, 5 at its own"


def test_mist_lies_on_the_land_and_not_on_the_sky():
    clear, fog = (pixels(replace(house_with(), weather=weather)) for weather in ("clear", "fog"))

    def contrast(image: np.ndarray) -> float:
        return float(image[28:52].std((0, 1)).mean())

    assert contrast(fog) < 0.75 * contrast(clear)
