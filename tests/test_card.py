"""Model cards and published records: nothing from outside is Markdown or HTML there, and no place on a disk is told."""

from __future__ import annotations

import copy
import json
import os
import shlex

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dcgan_core.config import Config, InvalidInput
from dcgan_core.runs.card import check_record, code, model_card, publishable

FUZZ = int(os.environ.get("DCGAN_FUZZ", 0))  # examples; 1 means many
MANY = settings(max_examples=max(FUZZ, 5_000) if FUZZ else 60, deadline=None)
SESSION = {
    "device": "a card",
    "precision": "float32",
    "torch": "2.14",
    "started": "2026-11-27T01:38:23+00:00",
    "command": "python -m dcgan_core train --data glyphs --out runs/first",
    "cpu_cores": 2,
}
RECORD = {
    "config": Config(channels=1).to_dict(),
    "samples_at": [0, 64],
    "evaluation": {
        "frechet_distance": 20.6,
        "classes_covered": 26,
        "recognised": 0.679,
        "num_classes": 26,
        "num_samples": 2000,
        "num_reference": 10_000,
        "features": "letter classifier",
    },
    "metrics": [{"images": 64, "seconds": 90.0, "generator_loss": 1.5}],
    "provenance": [SESSION],
}


def changed(part: str, **values: object) -> dict:
    """The record with other values in its config, its evaluation, or its first entry of a list."""
    record = copy.deepcopy(RECORD)
    (record[part][0] if isinstance(record[part], list) else record[part]).update(values)
    return record


# ------------------------------------------------------------------------------------------------- Markdown and HTML

HOSTILE = ["`", "``", "```\n", "<script>alert(1)</script>", "<!--", "](http://a.b)", "![x](y)", "[x]: y", "\n\n# One\n"]
HOSTILE += ["\n- ", "*", "_", "**", "|", "$x$", "{{ x }}", "{% x %}", "&lt;", "\\", "\\`", "http://a.b", "<http://a.b>"]
HOSTILE += ["\r", "\u2028", "\u202e", "\ud800", "\x00", "\x1b[31m", "~~~", "---", "    ", "{raw}", "é", "猫", " "]
hostile = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), max_size=6).map("".join)


def read(card: str) -> tuple[list[str], list[str]]:
    """What a reader of Markdown makes of the card: its structure, and the texts of its code spans."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    structure, spans = [], []
    for token in parser.parse(card):
        structure.append(token.type)
        for child in token.children or ():
            if child.type == "code_inline":
                spans.append(child.content)
            structure.append(child.type)
    return structure, spans


def visible(text: str) -> str:
    """The text as a code span shows it: in one line, without what is not seen."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip() or " "


@MANY
@given(hostile)
def test_a_code_span_shows_any_text_and_nothing_else_happens(text):
    structure, spans = read(f"before {code(text)} after")
    assert structure == ["paragraph_open", "inline", "text", "code_inline", "text", "paragraph_close"]
    assert spans == [visible(text)]
    code(text).encode("utf-8")


@MANY
@given(st.lists(hostile, min_size=7, max_size=7))
def test_names_devices_and_commands_cannot_change_what_a_card_consists_of(texts):
    name, data, features, device, precision, torch, command = texts
    record = changed("provenance", device=device, precision=precision, torch=torch, command=f"x {command}")
    record["config"]["data"] = f"x{data}"
    record["evaluation"]["features"] = features
    harmless = changed("config", data="x")
    structure, spans = read(model_card(name, record))
    assert structure == read(model_card("name", harmless))[0]
    assert not {"html_inline", "html_block", "image", "link_open"} & set(structure)
    assert spans[0] == visible(name)


def test_a_card_that_is_not_escaped_would_be_seen():
    structure, _ = read("# <script>x</script>\n\n![a](b) `a` b`")
    assert {"html_inline", "image"} <= set(structure)


# ------------------------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ("/home/me/cats", "…/cats"),
        ("/home/me/My Pictures/cats", "…/cats"),
        ("/cats/", "…/cats"),
        ("~/cats", "…/cats"),
        ("~me", "~"),
        ("C:\\Users\\me\\cats", "…/cats"),
        ("d:/me/cats", "…/cats"),
        ("C:\\", "C:\\"),
        ("\\\\server\\me\\cats", "…/cats"),
        ("/home/me/..", "…/.."),
        ("/", "/"),
        ("cats", "cats"),
        ("data/cats", "data/cats"),
        ("../cats", "../cats"),
        ("data\\cats", "data\\cats"),
        ("/home/me/mnist", "…/mnist"),
    ],
)
def test_of_an_absolute_path_the_last_part_is_published(written, published):
    assert publishable(changed("config", data=written))["config"]["data"] == published
    assert publishable(changed("config", data_root=written))["config"]["data_root"] == published
    command = shlex.join(["python", "-m", "dcgan_core", "train", "--data", written, f"--out={written}"])
    expected = ["python", "-m", "dcgan_core", "train", "--data", published, f"--out={published}"]
    found = publishable(changed("provenance", command=command))["provenance"][0]["command"]
    assert shlex.split(found) == expected or found == " ".join(expected)


SECRET = "s3cr3t"
roots = st.sampled_from(["/", "//", "~/", "~s3cr3t/", "C:\\", "D:/", "\\\\"])
parents = st.sampled_from(
    [SECRET, f"{SECRET} folder", f"My {SECRET}", f"{SECRET}'s", f'"{SECRET}"', f"{SECRET}\n", "é="]
)
last_parts = st.one_of(
    st.sampled_from(["cats", "My cats", "mnist", "--out", "…", ".."]), st.text("ab '\"$`", min_size=1)
)


@st.composite
def paths(draw, whole_words: bool = False) -> str:
    """An absolute path below a folder that nobody else should hear of."""
    middle = draw(st.lists(parents, min_size=1, max_size=3))
    path = draw(roots) + draw(st.sampled_from("/\\")).join([*middle, draw(last_parts)])
    if whole_words:
        path = "".join(path.split())
    assume(not path.endswith(("/", "\\")))  # the last part was nothing but spaces
    return path


@MANY
@given(st.lists(paths(), min_size=4, max_size=4), paths(whole_words=True), st.booleans())
def test_no_folder_above_the_last_part_of_a_path_is_published(found, plain, quoted):
    data, data_root, out, run = found
    command = ["python", "-m", "dcgan_core", "train", "--data", data, "--data-root", data_root]
    command += ["--out", out, f"--run={run}"] if quoted else ["--out", plain]
    record = changed(
        "provenance",
        command=shlex.join(command) if quoted else " ".join(command),
        device=f"a card at {plain} ({plain})",
        notes=[{"more": plain}],
    )
    record["config"] |= {"data": data, "data_root": data_root}
    record["evaluation"]["features"] = f"{data} classifier"
    published = publishable(record)
    assert SECRET not in json.dumps(published, ensure_ascii=False)
    assert SECRET not in model_card("a", record)
    assert publishable(published) == published
    check_record(published, "it")


def test_a_path_within_another_one_is_left_to_that_one():
    command = "python -m dcgan_core train --data /a --out /a/s3cr3t/first --data-root runs/a"
    record = changed("provenance", command=command)
    record["config"] |= {"data": "/a", "data_root": "runs/a"}
    published = "python -m dcgan_core train --data …/a --out …/first --data-root runs/a"
    assert publishable(record)["provenance"][0]["command"] == published


def test_what_holds_no_path_is_published_as_it_is():
    assert publishable(RECORD) == RECORD


# -------------------------------------------------------------------------------------------- what a card says of a run


def test_a_card_shows_every_session_and_where_the_later_ones_began():
    record = copy.deepcopy(RECORD)
    record["provenance"] += [
        SESSION | {"command": "python -m dcgan_core resume runs/first", "resumed_at_images": 12_800, "device": "other"},
        SESSION | {"command": None, "resumed_at_images": 25_600},
    ]
    card = model_card("first", record)
    lines = [line for line in card.splitlines() if line.lstrip()[:2] in ("1.", "2.", "3.", "4.")]
    assert len(lines) == 3
    assert "train --data glyphs" in lines[0] and "from" not in lines[0] and "a card" in lines[0]
    assert "resume runs/first" in lines[1] and "from 12,800 images" in lines[1] and "other" in lines[1]
    assert "from 25,600 images" in lines[2] and "None" not in card
    assert "ordered_list_open" in read(card)[0]


def test_a_card_claims_for_other_peoples_runs_only_what_the_package_knows():
    ours, theirs = model_card("a", RECORD, ships=True), model_card("a", RECORD)
    for claim in ("recorded for the book", "selected by hand", "MIT for the code and the weights"):
        assert claim in ours and claim not in theirs
    for card in (ours, theirs):
        assert "depends on the licence of the data" in card and "freely" not in card


def test_only_a_data_set_with_a_held_out_part_is_called_held_out():
    assert "10,000 held-out images" in model_card("a", RECORD)
    for folder in ("cats", "/home/me/mnist", "./mnist"):
        card = model_card("a", changed("config", data=folder, held_out=0.0))
        assert "held-out images" not in card and "no held-out part" in card
        assert "10,000 held-out images" in model_card("a", changed("config", data=folder, held_out=0.1))


def test_a_program_may_have_given_other_images_than_the_config_names():
    assert "other images" in model_card("a", changed("provenance", command=None))
    assert "other images" not in model_card("a", RECORD)


def test_a_card_says_what_real_images_would_score_if_the_record_knows():
    scale = {"num_matched": 1_060, "matched_distance": 21.34, "real_distance": 3.21}
    card = model_card("a", changed("evaluation", **scale))
    assert "20.6 (in equal numbers, 1,060: 21.3, where real images score 3.2)" in card
    assert "equal numbers" not in model_card("a", RECORD)
    assert "equal numbers" not in model_card("a", changed("evaluation", **(scale | {"real_distance": None})))


@pytest.mark.parametrize(("seconds", "words"), [(20.4, "20 seconds"), (89, "89 seconds"), (600, "10 minutes")])
def test_a_short_training_is_not_said_to_take_no_time(seconds, words):
    record = copy.deepcopy(RECORD)
    record["metrics"][-1]["seconds"] = seconds
    assert f"real images in {words}, seed" in model_card("a", record)


def test_a_card_of_data_without_labels_has_no_classes():
    card = model_card("a", changed("evaluation", num_classes=None, classes_covered=None, recognised=None))
    assert "20.6" in card and "classes covered" not in card and "None" not in card


# ------------------------------------------------------------------------------------------------- incomplete records


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        *({**RECORD, part: value} for part in RECORD for value in (None, "x", 3)),
        *({**RECORD, part: []} for part in ("metrics", "provenance", "samples_at")),
        *({**RECORD, part: [value]} for part in ("metrics", "provenance") for value in (None, [], {}, "x")),
        *(
            changed("metrics", **{key: value})
            for key in ("images", "seconds")
            for value in (None, "1", [], True, 10**400)
        ),
        changed("metrics", generator_loss="1"),
        changed("metrics", seconds=float("inf")),
        *(changed("provenance", **{key: 3}) for key in ("device", "precision", "torch", "started", "command")),
        changed("provenance", resumed_at_images="1"),
        {**RECORD, "samples_at": ["0"]},
    ],
    ids=lambda record: json.dumps(record)[-60:],
)
def test_a_record_that_lacks_something_is_one_sentence(record):
    with pytest.raises(InvalidInput, match=r"^the run x ") as caught:
        check_record(record, "the run x")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_complete_record_passes():
    check_record(RECORD, "it")
    check_record(changed("metrics", generator_loss=float("nan"), frechet_distance=None), "it")
