"""Names in zips from before UTF-8: read as they were meant where it can be told, and never lost where it cannot."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dcgan_core.data import findings, load_folder
from dcgan_core.data.folder import read_images
from dcgan_core.data.old_names import ALPHABETS, SPOKEN, UNKNOWN, USUAL, name_in_field, read_names
from dcgan_core.data.parts import layout


def words(text: str) -> list[str]:
    return text.split()


pytestmark = pytest.mark.usefixtures("own_cache")

LATIN = words("été Übung café größe naïve Käfer Äpfel piñata élan forêt fenêtre père français Straße Mädchen español")
CYRILLIC = words("фото кошка собака Новая папка картинки цветы Москва поездка лето семья друзья пейзаж море небо")
WORDS = {
    "cp437": LATIN,
    "cp850": [*LATIN, "São", "coração", "maçã", "Ørsted"],
    "cp852": words("příliš žluťoučký kůň úpěl ďábelské zdjęcia łąka źródło"),
    "cp866": CYRILLIC,
    "cp1251": CYRILLIC,
    "cp1252": LATIN,
    "cp932": words("写真 猫 犬 新しいフォルダー 画像 花 桜 東京 旅行 夏休み 家族 友達 風景 料理 りんご ねこ カメラ"),
    "gb18030": words("照片 猫 狗 新建文件夹 图片 花 樱花 北京 上海 旅行 夏天 家人 朋友 风景 天空 美食 火车 苹果"),
    "big5": words("照片 貓 狗 新增資料夾 圖片 花 櫻花 台北 高雄 旅行 夏天 家人 朋友 風景 天空 美食 火車 蘋果"),
    "cp949": words("사진 고양이 개 새폴더 그림 꽃 벚꽃 서울 부산 여행 여름 가족 친구 풍경 바다 하늘 음식 기차"),
}


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(file, "PNG")
    return file.getvalue()


def zipped(path: Path, names: list[bytes], extra: list[bytes] | None = None, system: int = 3) -> Path:
    """A zip with these bytes for names, which says nothing of their encoding."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for number, name in enumerate(names):
            member = zipfile.ZipInfo(f"{number:02}".ljust(len(name), "x"))
            member.create_system = system
            member.extra = extra[number] if extra else b""
            archive.writestr(member, png(number))
    content = path.read_bytes()
    for number, name in enumerate(names):
        content = content.replace(f"{number:02}".ljust(len(name), "x").encode(), name)
    path.write_bytes(content)
    return path


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_words_of_every_encoding_are_read_as_they_were_meant(data):
    """Eight words of a language; of fewer, some could have been written in another one."""
    encoding = data.draw(st.sampled_from(sorted(WORDS)))
    words = data.draw(st.lists(st.sampled_from(WORDS[encoding]), min_size=8, max_size=16, unique=True))
    names = [f"photos/{word}/{number}.png" for number, word in enumerate(words)]
    texts, found = read_names([name.encode(encoding) for name in names])
    assert texts == names
    assert found in SPOKEN or encoding in ("cp437", "cp850"), "a guess is called one"


@pytest.mark.parametrize(("encoding", "word"), [(one, word) for one in ("cp437", "cp866") for word in WORDS[one]])
def test_a_single_word_is_enough_where_the_first_encodings_that_are_tried_are_meant(encoding, word):
    assert read_names([f"{word}.png".encode(encoding)])[0] == [f"{word}.png"]


@pytest.mark.parametrize(("word", "encoding"), [("été", "cp1252"), ("犬", "cp932"), ("猫", "cp932")])
def test_what_would_mix_alphabets_or_be_nothing_but_accents_is_read_in_another_way(word, encoding):
    """They would be "щtщ" in the encoding for Cyrillic, and "îó" and "öL" in that of the format."""
    assert read_names([f"{word}.png".encode(encoding)]) == ([f"{word}.png"], encoding)


def test_what_the_format_or_utf_8_says_is_no_guess_and_everything_else_is():
    assert read_names([b"a.png", b"b/c.png"]) == (["a.png", "b/c.png"], "")
    assert read_names(["é.png".encode(), "猫.png".encode()]) == (["é.png", "猫.png"], "")
    assert read_names(["café.png".encode("cp437")]) == (["café.png"], "")
    assert read_names(["кошка.png".encode("cp866")]) == (["кошка.png"], "cp866")
    assert read_names([]) == ([], "")


def test_a_name_that_could_be_utf_8_by_chance_is_read_as_its_neighbours_are():
    """The four bytes of the first word in GBK are two other letters in UTF-8."""
    names = ["图片/1.png", "照片/2.png", "新建文件夹/3.png"]
    assert names[0].encode("gb18030").decode("utf-8") == "ͼƬ/1.png"
    assert read_names([name.encode("gb18030") for name in names]) == (names, "gb18030")


def test_every_encoding_that_is_guessed_can_be_named():
    assert set(SPOKEN) == (set(ALPHABETS) | set(USUAL)) - {"cp437"}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=12), max_size=12))
def test_any_bytes_are_text_and_different_ones_stay_different(names):
    texts, encoding = read_names(names)
    assert len(texts) == len(names) and len(set(texts)) == len(set(names))
    assert encoding in {"", UNKNOWN, *SPOKEN}
    assert read_names(names) == (texts, encoding), "always the same"


def test_two_names_that_one_encoding_would_make_equal_stay_two():
    """Shift JIS has "∵" twice."""
    names = ["写真新しい".encode("cp932") + code + b".png" for code in (b"\x81\xe6", b"\x87\x9a")]
    assert names[0].decode("cp932") == names[1].decode("cp932")
    texts, encoding = read_names(names)
    assert len(set(texts)) == 2 and encoding == UNKNOWN


def test_classes_of_a_japanese_zip_are_named_and_the_guess_is_said(tmp_path, capsys):
    """The second byte of 表 is a "\\", which is no border between folders here."""
    names = [f"写真/{word}/{number}.png" for number, word in enumerate(("ねこ", "ねこ", "表", "いぬ"))]
    path = zipped(tmp_path / "photos.zip", [name.encode("cp932") for name in names], system=0)
    dataset = load_folder(path, image_size=8)
    assert dataset.class_names == ("いぬ", "ねこ", "表") and len(dataset.images) == 4
    notes = [line for line in capsys.readouterr().err.splitlines() if "encoded" in line]
    assert notes == [
        "note: the zip does not say how its names are encoded: they are read as Japanese (Shift JIS), which is a guess."
    ]


def test_names_that_cannot_be_told_are_readable_and_stable_and_said(tmp_path):
    path = zipped(tmp_path / "photos.zip", [b"\xb0\xc4\xff/1.png", b"\xb0\xc4\xfe/2.png"])
    found = read_images(path, image_size=8)
    assert set(found.names) == {"░─■/2.png", "░─\xa0/1.png"} and not found.left_out
    assert "no usual encoding makes words of them" in findings.advice(found, 1, layout(found.names))[0]


def field(name: bytes, text: str, checksum: int | None = None) -> bytes:
    content = b"\1" + struct.pack("<L", zlib.crc32(name) if checksum is None else checksum) + text.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


def test_a_name_that_is_repeated_in_utf_8_is_believed_if_it_belongs_to_it(tmp_path):
    """As Info-ZIP, 7-Zip and others write it: "猫" and "犬" alone could be anything."""
    names = ["猫/1.png".encode("cp932"), "犬/2.png".encode("cp932")]
    extra = [struct.pack("<HH", 0x5455, 1) + b"\0" + field(names[0], "猫/1.png"), field(names[1], "犬/2.png")]
    found = read_images(zipped(tmp_path / "told.zip", names, extra), image_size=8)
    assert set(found.names) == {"猫/1.png", "犬/2.png"} and found.source.encoding == ""
    assert name_in_field(field(b"a", "b", checksum=7), b"a") is None, "it was renamed since"
    for damaged in (b"", b"up", field(b"a", "b")[:6], b"\x75\x70\xff\xff\1", field(b"a", "b")[:-1] + b"\xff"):
        assert name_in_field(damaged, b"a") is None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=20),
            st.builds(
                lambda text, encoding: text.encode(encoding, "replace"),
                st.text(min_size=1, max_size=8),
                st.sampled_from(["cp437", "cp932", "gb18030", "cp1251", "utf-8"]),
            ),
        )
        .map(lambda name: name.replace(b"\0", b"").replace(b".", b""))
        .map(lambda name: b"i" + name + b"i.png"),
        min_size=1,
        max_size=8,
    ),
    system=st.sampled_from([0, 3]),
)
def test_no_image_of_a_zip_is_lost_whatever_its_names_are(tmp_path_factory, names, system):
    path = zipped(tmp_path_factory.mktemp("zip") / "photos.zip", names, system=system)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path) as archive:
            num_files = sum(not member.is_dir() for member in archive.infolist())
        found = read_images(path, image_size=8)
    assert len(found.names) + len(found.left_out) + found.source.num_hidden >= num_files
    assert not any("encoding" in why or "Unicode" in why for why in found.left_out.values())
