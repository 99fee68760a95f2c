"""The bug museum: each mistake is caught by its own test and by no other, and the record holds every exhibit."""

from __future__ import annotations

import copy
import inspect
import json

import pytest
import torch

from dcgan_core.laboratory.outcomes import read
from dcgan_core.teaching import chapter_20, museum, museum_record, museum_script, museum_tests
from dcgan_core.teaching.museum import EXHIBITS, HEALTHY, script
from dcgan_core.teaching.packed import packed, unpacked


def test_there_are_at_least_sixteen_exhibits_and_each_has_a_name_and_a_test_of_its_own():
    assert len(EXHIBITS) >= 16 and list(EXHIBITS) == list(range(1, len(EXHIBITS) + 1))
    assert len({exhibit.name for exhibit in EXHIBITS.values()}) == len(EXHIBITS)
    assert len({exhibit.caught_by for exhibit in EXHIBITS.values()}) == len(EXHIBITS)


def test_every_test_of_the_file_to_copy_belongs_to_an_exhibit():
    written = {test for name, test in vars(museum_tests).items() if name.startswith("test_")}
    assert written == {exhibit.caught_by for exhibit in EXHIBITS.values()}


@pytest.mark.parametrize("number", [HEALTHY, *EXHIBITS])
def test_an_exhibit_is_caught_by_its_own_test_and_by_no_other_and_the_healthy_script_passes_all(number):
    assert museum.matrix([number]) == {number: [number] if number else []}


def test_a_test_that_stops_with_another_error_is_an_error_and_no_catch():
    def broken(module):
        raise AttributeError("no such name")

    assert museum.catches(lambda module: None, script()) is False
    with pytest.raises(AttributeError):
        museum.catches(broken, script())


def test_the_healthy_script_is_the_source_as_it_stands_and_every_call_makes_a_module_of_its_own():
    assert museum.source() == inspect.getsource(museum_script)
    first, second = script(), script()
    first.BATCH_SIZE = 1
    assert second.BATCH_SIZE == museum_script.BATCH_SIZE == 64


@pytest.mark.parametrize("number", EXHIBITS)
def test_a_difference_turns_the_healthy_script_into_the_exhibit(number):
    lines = museum.difference(number).splitlines()
    removed = [line[1:] for line in lines if line.startswith("-")]
    added = [line[1:] for line in lines if line.startswith("+")]
    healthy, ill = museum.source().splitlines(), museum.source(number).splitlines()
    assert removed or added
    assert len(removed) <= 6 and len(added) <= 6, "small enough to be overlooked"
    for line in set(removed) | set(added):
        change = added.count(line) - removed.count(line)
        assert ill.count(line) - healthy.count(line) == change
    assert len(ill) - len(healthy) == len(added) - len(removed)


@pytest.mark.parametrize("number", EXHIBITS)
def test_all_changes_of_an_exhibit_are_made(number):
    healthy, ill = museum.source(), museum.source(number)
    for old, new in EXHIBITS[number].changes:
        assert ill.count(new) == healthy.count(new) + 1 if new else ill.count(old) == 0


def test_a_change_whose_text_is_not_there_exactly_once_is_refused(monkeypatch):
    exhibit = EXHIBITS[1]
    for old in ("no such text", "self.generator"):
        monkeypatch.setitem(EXHIBITS, 1, museum.Exhibit(exhibit.name, exhibit.caught_by, ((old, ""),)))
        with pytest.raises(AssertionError, match="occurs"):
            museum.source(1)


# The healthy script


def test_the_script_plays_the_game_of_the_package():
    from dcgan_core.losses import discriminator_loss, non_saturating_generator_loss, slope_penalty

    real, fake = torch.randn(2, 8)
    assert torch.equal(museum_script.discriminator_loss(real, fake), discriminator_loss(real, fake))
    assert torch.equal(museum_script.generator_loss(fake), non_saturating_generator_loss(fake))
    network, images = museum_script.make_discriminator(), torch.randn(8, 1, 16, 16, requires_grad=True)
    ours = museum_script.penalty(network, images).item()
    assert ours == pytest.approx(museum_script.GAMMA * slope_penalty(network(images), images).item(), rel=1e-4)


def test_the_average_moves_by_a_fixed_share_towards_the_generator():
    training = museum_tests.begun(script())
    before = copy.deepcopy(training.average.state_dict())
    with torch.no_grad():
        for tensor in (*training.generator.parameters(), *training.generator.buffers()):
            if tensor.is_floating_point():
                tensor += 1
    training.update_average()
    for name, tensor in training.average.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor - before[name], torch.tensor(1 - museum_script.DECAY), atol=1e-5)


def test_preparing_leaves_the_weights_as_they_were_even_if_recording_changes_them():
    training = museum_tests.begun(script())
    networks = (training.generator, training.discriminator)
    before = [parameter.detach().clone() for network in networks for parameter in network.parameters()]

    def warms_up(turns):
        turns(training.batch())
        assert not museum_tests.same(before, [p.detach() for network in networks for p in network.parameters()])
        return turns

    training.prepare(warms_up)
    assert museum_tests.same(before, [p.detach() for network in networks for p in network.parameters()])


# The record


@pytest.fixture
def quick(monkeypatch):
    """Random pixels in place of letters, which take seconds to render."""
    monkeypatch.setattr(museum_record, "letters", lambda: (museum_tests.pixels(256), museum_tests.pixels(70, seed=1)))


def test_a_run_is_interrupted_once_halfway_and_an_exhibit_that_restores_everything_does_not_notice(quick, monkeypatch):
    module, restored = script(), []
    restore = module.Training.restore
    monkeypatch.setattr(
        module.Training, "restore", lambda self, state: (restored.append(state["numbers"][0]), restore(self, state))
    )
    found = museum_record.play(module, seed=0, num_updates=40)
    assert restored == [20]
    training = script().Training(*museum_record.letters(), 0)
    log = training.train(40)
    for curve in ("loss D", "loss G", "D(x)", "D(G(z))"):
        whole = [sum(line[curve] for line in log[start : start + 20]) / 20 for start in (0, 20)]
        assert found[curve] == pytest.approx(whole, rel=1e-3)


def test_a_record_that_was_stopped_goes_on_where_it_was(quick, tmp_path, monkeypatch):
    played = []
    monkeypatch.setattr(
        museum_record, "play", lambda module, seed: played.append((module.__name__, seed)) or dict(FOUND)
    )
    monkeypatch.setattr(museum_record, "runs", lambda: iter([(0, 0), (3, 0), (3, 1)]))
    path = tmp_path / "record.jsonl"
    museum_record.record(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    museum_record.record(path)
    assert played == [("exhibit_0", 0), ("exhibit_3", 0), ("exhibit_3", 1), ("exhibit_3", 1)]
    outcomes = [line for line in read(path) if line["kind"] == "outcome"]
    assert [(line["exhibit"], line["seed"], "picture" in line) for line in outcomes] == [
        (0, 0, True),
        (3, 0, True),
        (3, 1, False),
    ]


FOUND = {"distance": [1.0], "true_distance": 2.0, "picture": ""}


def test_a_picture_in_the_record_is_the_picture_that_was_made():
    pixels = museum_script.picture(torch.rand(3, 1, 16, 16) * 2 - 1)
    found = {"picture": packed(pixels.numpy())}
    assert torch.equal(torch.from_numpy(unpacked(json.loads(json.dumps(found))["picture"])), pixels)


def test_the_shipped_record_holds_every_exhibit_and_seed_once_and_says_where_it_comes_from():
    lines = read(museum_record.RECORD)
    sessions = [line for line in lines if line["kind"] == "session"]
    runs = [(line["exhibit"], line["seed"]) for line in lines if line["kind"] == "outcome"]
    assert sorted(runs) == sorted(museum_record.runs())
    assert all(line["command"] == "python -m dcgan_core.teaching.museum_record" and line["torch"] for line in sessions)
    assert museum_record.RECORD.stat().st_size < 1_000_000


def test_the_shipped_record_was_made_by_this_script():
    """The beginning of a run, again: on another machine rounding may differ, and so a little the curve."""
    run = next(line for line in museum_record.recorded() if line["exhibit"] == line["seed"] == 0)
    log = script().Training(*museum_record.letters(), 0).train(20)
    for curve in ("loss D", "loss G", "D(x)", "D(G(z))"):
        assert sum(line[curve] for line in log) / 20 == pytest.approx(run[curve][0], rel=0.02)


def test_a_folded_text_is_closed_and_holds_the_difference_and_the_test():
    shown = chapter_20.opened(4)
    page = shown._repr_html_()
    assert page.startswith("<details><summary>") and " open" not in page.split(">")[0]
    assert "fake.detach()" in page and "leaves_no_gradient" in page
    assert "detach" not in repr(shown)
