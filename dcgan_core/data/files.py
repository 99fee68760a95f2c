"""Which files of a folder or a zip may be images, in a fixed order; and a word about everything that is passed over.

Nothing is unpacked to the disk: a member of a zip is read into memory, if it says honestly that it is small enough.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dcgan_core.config import InvalidInput
from dcgan_core.data.old_names import AS_THE_FORMAT_SAYS, name_in_field, read_names

# What systems and programs keep beside people's pictures; names that begin with a dot are passed over, too.
NOT_MEANT = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"}
MOST_UNPACKED = 512 * 2**20  # bytes of one member of a zip
MOST_RATIO = 200  # of its size to what it takes in the zip, from `FREE_UNPACKED` bytes on
FREE_UNPACKED = 16 * 2**20
WINDOWS = 0  # as a zip calls the system that it was made on
UTF_8 = 0x800  # the flag of a member whose name is in UTF-8


@dataclass(frozen=True, slots=True)
class File:
    """A file that may be an image; another size or time means another content."""

    name: str  # the path below the folder or inside the zip, with "/" between its parts
    size: int  # bytes
    modified: int  # nanoseconds; inside a zip, the checksum of the content


@dataclass(frozen=True)
class Source:
    """What a folder or a zip holds."""

    path: Path
    files: tuple[File, ...]
    left_out: dict[str, str]  # name to reason, of what cannot even be opened
    num_hidden: int  # files and folders that are not meant for people; what lies in such a folder is not counted
    open: Callable[[str], BinaryIO]  # by name; from several threads at once
    encoding: str = ""  # of names in a zip that do not say it: what was guessed, see `old_names`

    @property
    def name(self) -> str:
        """How it is called in a sentence. No data set of the package has such a name."""
        return printable(str(self.path)) + ("" if self.path.is_file() else os.sep)


def find_files(path: Path) -> Source:
    """Lists a folder, with all that lies below it, or a zip.

    Links to files are followed, links to folders are not: they may lead round in circles. Raises `InvalidInput` if the
    folder cannot be entered or the file is no zip.
    """
    return _in_zip(path) if path.is_file() else _in_folder(path)


def printable(name: str) -> str:
    """The name without characters that could move the cursor, change colours or turn the direction of writing."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode() for one in name
    )


def _is_hidden(name: str) -> bool:
    return (name.startswith(".") and name.strip(".") != "") or name.lower() in NOT_MEANT


def _sorted(files: list[File]) -> tuple[File, ...]:
    return tuple(sorted(files, key=lambda file: file.name.split("/")))


def _in_folder(path: Path) -> Source:
    files: list[File] = []
    left_out: dict[str, str] = {}
    num_hidden = 0
    to_enter = [""]
    while to_enter:
        below = to_enter.pop()
        try:
            with os.scandir(path / below) as entries:
                found = list(entries)
        except OSError as error:
            if not below:
                raise InvalidInput(f"the folder {str(path)!r} cannot be entered ({error.strerror}).") from error
            left_out[below] = f"a folder that cannot be entered ({error.strerror})"
            continue
        for entry in found:
            name = f"{below}/{entry.name}" if below else entry.name
            if _is_hidden(entry.name):
                num_hidden += 1
                continue
            try:
                about = entry.stat()
            except OSError as error:  # FileNotFoundError: of a link; ELOOP: it leads to itself
                what = "a link that leads nowhere" if entry.is_symlink() else f"cannot be opened ({error.strerror})"
                left_out[name] = what
                continue
            if stat.S_ISREG(about.st_mode):
                files.append(File(name, about.st_size, about.st_mtime_ns))
            elif not stat.S_ISDIR(about.st_mode):
                left_out[name] = "neither a file nor a folder"
            elif entry.is_symlink():
                left_out[name] = "a link to a folder, which is not followed: name that folder, or copy it here"
            else:
                to_enter.append(name)

    def open_file(name: str) -> BinaryIO:
        return (path / name).open("rb")

    return Source(path, _sorted(files), left_out, num_hidden, open_file)


def _in_zip(path: Path) -> Source:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InvalidInput(
            f"{str(path)!r} is no zip that can be read ({error}): get another copy, or unpack it."
        ) from error
    listed_members = [member for member in archive.infolist() if not member.is_dir()]
    names, encoding = _names(listed_members)
    listed = list(zip(names, listed_members, strict=True))
    members = dict(listed)  # of one name the last, as where a zip is unpacked
    hidden = {name for name in members if any(_is_hidden(part) for part in name.split("/"))}
    left_out = {name: why for name, one in members.items() if name not in hidden and (why := _refused(one))}
    for name, count in Counter(name for name, _ in listed if name not in hidden).items():
        for number in range(1, count):
            left_out[f"{name} ({number})"] = "another file of the same name comes later in the zip"
    files = [
        File(name, member.file_size, member.CRC)
        for name, member in members.items()
        if name not in hidden and name not in left_out
    ]

    def open_member(name: str) -> BinaryIO:
        return io.BytesIO(archive.read(members[name]))  # no more than the size it says; `zipfile` locks for threads

    return Source(path, _sorted(files), left_out, len(hidden), open_member, encoding)


def _names(members: list[zipfile.ZipInfo]) -> tuple[list[str], str]:
    """The names, with "/" between their parts, and in which encoding they were read, see `read_names`.

    On Windows, where no name can hold a "\\", some programs write that.
    """
    known = {number: name for number, member in enumerate(members) if (name := _known_name(member)) is not None}
    others = [number for number in range(len(members)) if number not in known]
    read, encoding = read_names([_bytes(members[number]) for number in others])
    known |= dict(zip(others, read, strict=True))
    return [
        known[number].replace("\\", "/") if member.create_system == WINDOWS else known[number]
        for number, member in enumerate(members)
    ], encoding


def _known_name(member: zipfile.ZipInfo) -> str | None:
    """The name, if the zip says how it is encoded."""
    if member.flag_bits & UTF_8:
        return member.filename
    return name_in_field(member.extra, _bytes(member))


def _bytes(member: zipfile.ZipInfo) -> bytes:
    """The name as it stands in the zip, which `zipfile` reads as the format says if nothing else is said."""
    return member.orig_filename.encode(AS_THE_FORMAT_SAYS).split(b"\0")[0]


def _refused(member: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip is not even opened, if so."""
    if member.flag_bits & 1:
        return "encrypted"
    size, packed = member.file_size, max(member.compress_size, 1)
    if size > MOST_UNPACKED or (size > FREE_UNPACKED and size > MOST_RATIO * packed):
        return f"would unpack from {packed / 2**20:,.1f} to {size / 2**20:,.0f} MiB"
    return None
