"""Names in a zip that do not say how they are encoded: as they were meant if that can be told, else as the format says.

What nobody wrote as a name shows: signs between letters, alphabets that are mixed within a word, capitals after small
letters. Of characters for Chinese, Japanese and Korean, each standard keeps the usual ones together. (Libraries that
guess encodings want longer texts: of two Chinese words, `charset-normalizer` knew one pair in sixty.)
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence

AS_THE_FORMAT_SAYS = "cp437"  # of the first PCs; each byte is a character
UNKNOWN = "unknown"
# In the order in which they are tried: what Windows takes for zips, of which the first is what the format says, and
# then what it takes elsewhere.
ALPHABETS = {"cp437": "LATIN", "cp850": "LATIN", "cp852": "LATIN"} | {"cp866": "CYRILLIC", "cp1251": "CYRILLIC"}
ALPHABETS |= {"cp1252": "LATIN"}
USUAL = {  # ranges of the characters that are in use, by two bytes
    "cp932": ((0x829F, 0x8396), (0x889F, 0x9872), (0x8158, 0x815B)),
    "cp949": ((0xB0A1, 0xC8FE),),
    "gb18030": ((0xB0A1, 0xD7FE),),
    "big5": ((0xA440, 0xC67E),),
}
NEARLY_ALL = 0.8  # of the characters have to be usual ones
ENOUGH_KOREAN = 5  # characters: of fewer, Chinese ones may lie in the same range by chance
SPOKEN = {
    "cp850": "Western Europe (code page 850)",
    "cp852": "Central Europe (code page 852)",
    "cp866": "Cyrillic (code page 866)",
    "cp1251": "Cyrillic (Windows-1251)",
    "cp1252": "Western Europe (Windows-1252)",
    "cp932": "Japanese (Shift JIS)",
    "cp949": "Korean (code page 949)",
    "gb18030": "Chinese (GBK)",
    "big5": "Chinese (Big5)",
}
UNICODE_PATH = 0x7075  # a field of a member that repeats its name in UTF-8


def name_in_field(extra: bytes, name: bytes) -> str | None:
    """The name in UTF-8 that some programs add to a member, unless it belongs to another name."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and field[:1] == b"\1" and field[1:5] == struct.pack("<L", zlib.crc32(name)):
            return _in_utf8(field[5:])
    return None


def read_names(names: Sequence[bytes]) -> tuple[list[str], str]:
    """Names that do not say how they are encoded, and how they were read: "" if that is as it should be, else a key of
    `SPOKEN`, or `UNKNOWN`. Different names stay different.
    """
    in_utf8 = [_in_utf8(name) for name in names]
    if None not in in_utf8:
        return [name for name in in_utf8 if name is not None], ""  # macOS writes it and does not say so
    encoding = _encoding(sorted({name for name in names if not name.isascii()}))
    texts = [name.decode(encoding or AS_THE_FORMAT_SAYS) for name in names]
    if len(set(texts)) < len(set(names)):
        texts, encoding = [name.decode(AS_THE_FORMAT_SAYS) for name in names], None
    return texts, "" if encoding == AS_THE_FORMAT_SAYS else encoding or UNKNOWN


def _in_utf8(name: bytes) -> str | None:
    try:
        return name.decode("utf-8")
    except UnicodeError:
        return None


def _encoding(names: Sequence[bytes]) -> str | None:
    """In which of the encodings all these names look like names, if there is one."""
    for encoding, alphabet in ALPHABETS.items():
        try:
            if _are_words("\n".join(name.decode(encoding) for name in names), alphabet):
                return encoding
        except UnicodeError:
            continue
    shares = {}
    for encoding in USUAL:
        try:
            shares[encoding] = _share_of_usual("".join(name.decode(encoding) for name in names), encoding)
        except UnicodeError:
            continue
    best = max(shares, key=lambda encoding: shares[encoding], default="")
    return best if best and shares[best] >= NEARLY_ALL else None


def _are_words(text: str, alphabet: str) -> bool:
    """True if somebody may have written this, in letters of one alphabet."""
    longest = 0
    for word in re.findall(r"[^\W\d_]*[^\x00-\x7f]+[^\W\d_]*", text):
        foreign = [one for one in word if not one.isascii()]
        if not all(unicodedata.name(one, "").startswith(alphabet) for one in foreign):
            return False
        if alphabet == "LATIN" and (len(foreign) == len(word) > 1 or re.search(r"[^\x00-\x7f]{3}", word)):
            return False  # accents stand alone or in pairs, and not without other letters
        if alphabet != "LATIN" and len(foreign) < len(word):
            return False
        cases = "".join("U" if one.isupper() else "l" for one in word)
        if re.search("lU|UUl", cases):
            return False
        longest = max(longest, len(word))
    return alphabet == "LATIN" or longest > 2


def _share_of_usual(text: str, encoding: str) -> float:
    """How many of the characters that are not ASCII are among the usual ones of an encoding."""
    codes = [int.from_bytes(one.encode(encoding), "big") for one in text if not one.isascii()]
    usual = [any(low <= code <= high and code & 0xFF >= 0x40 for low, high in USUAL[encoding]) for code in codes]
    if encoding == "cp949" and len(codes) < ENOUGH_KOREAN:
        return 0.0
    return sum(usual) / len(codes)
