"""Changes the repository's address everywhere, for a fork: `make set-repository URL=https://github.com/ME/FORK`.

The address stands in _config.yml. Notebooks, pages, pyproject.toml and CITATION.cff cannot read it there, so they
repeat it; a test says that all agree.
"""

import re
import sys
from pathlib import Path

FILES = ("_config.yml", "*.md", "pyproject.toml", "CITATION.cff", "book/*.md", "notebooks/*.ipynb")
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")


def read_address(root):
    """The address in _config.yml."""
    return re.search(rf"^repository:\n  url: ({ADDRESS.pattern})$", (root / "_config.yml").read_text(), re.M)[1]


def set_address(root, new):
    """Rewrites the address in every file below `root` and returns the files that changed."""
    # On GitHub or on Colab; the look-ahead spares OWNER/NAME-2, which is another repository.
    old = re.compile(rf"((?:github\.com|google\.com/github)/){re.escape(slug(read_address(root)))}(?![\w-])")
    changed = []
    for path in sorted(path for pattern in FILES for path in root.glob(pattern)):
        before = path.read_text(encoding="utf-8")
        after = old.sub(rf"\g<1>{slug(new)}", before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def slug(address):
    """https://github.com/OWNER/NAME to OWNER/NAME."""
    return "/".join(address.split("/")[-2:])


def main():
    address = sys.argv[1].strip().rstrip("/").removesuffix(".git") if len(sys.argv) == 2 else ""
    if not ADDRESS.fullmatch(address):
        sys.exit("Say which address: make set-repository URL=https://github.com/ME/FORK")
    root = Path(__file__).resolve().parent.parent
    for path in set_address(root, address):
        print(f"changed {path.relative_to(root)}")


if __name__ == "__main__":
    main()
