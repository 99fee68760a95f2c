"""What a file is that Pillow does not open, by its first bytes and its name, and what its owner can do about it."""

from __future__ import annotations

VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".3gp"}
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"}
RAW = {".arw", ".cr2", ".cr3", ".crw", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"}
TABLES = {".npz", ".npy", ".mat", ".h5", ".hdf5", ".parquet", ".arrow", ".feather", ".tfrecord", ".tfrecords", ".lmdb"}
TABLES |= {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".safetensors"}
VECTORS = {".svg", ".svgz", ".eps", ".ps", ".ai", ".wmf", ".emf"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
HEAD = 512  # bytes that are looked at

NOT_AN_IMAGE = "not readable as an image"
TABLE = "arrays, a table or weights, which are not read: save the images in it as PNG"
CONVERT = "which is not read: save it as JPEG or PNG"


def kind(name: str, head: bytes) -> str:
    """Why the file of this name, which begins with these bytes, is no picture: a phrase."""
    ending = "." + name.lower().rsplit(".", 1)[-1]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return f"HEIC, as telephones save it, {CONVERT}"
    if ending in RAW:
        return f"a raw photograph, {CONVERT}"
    if ending in VIDEOS or head[4:8] == b"ftyp":
        return "a video: save its frames as pictures"
    if ending in TABLES or head.startswith((b"\x93NUMPY", b"\x89HDF", b"PAR1")):
        return TABLE
    if head.startswith(b"PK\3\4") or ending in ARCHIVES:
        return "an archive within: unpack it, or name it alone if it is a zip"
    if ending in VECTORS or b"<svg" in text or text.startswith(b"%!ps"):
        return "a drawing of lines (SVG, EPS and the like), which is not drawn here: save it as PNG"
    if text.startswith(b"%pdf"):
        return "a document (PDF): save its pictures as JPEG or PNG"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return f"JPEG XL, {CONVERT}"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, perhaps in place of a picture that could not be downloaded"
    if text.startswith(b"version https://git-lfs"):
        return "a note of Git LFS in place of the file: fetch it with git lfs pull"
    return NOT_AN_IMAGE
