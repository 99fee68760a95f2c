"""Sphinx extension: the picture of who imports whom in the package, and its list of rooms, read from the code.

Both are made from the import statements and docstrings while the page is built, so neither can be out of date.

- `{import-picture} PACKAGE` draws a staircase; its content is the caption.
- `{import-list} PACKAGE` lists each room with the first sentence of its docstring and the rooms that it imports.

A room is a module of the package, or a folder in it.
"""

import ast
import importlib.util
from html import escape
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

COLUMN, ROW, FONT_SIZE, NAME_WIDTH = 8, 15, 11, 72  # pixels where the picture is as wide as a phone


def imported(source):
    """Every module that a file imports, anywhere in it; `from package import name` counts as package.name too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room is meant"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def find_rooms(folder):
    """The rooms below the package's `folder`: name to its Python files, the one with the docstring first."""
    rooms = {path.stem: [path] for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")}
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        rooms[inner.name] = [inner / "__init__.py", *sorted(set(inner.glob("*.py")) - {inner / "__init__.py"})]
    return rooms


def read_imports(folder):
    """For each room the set of the other rooms that it imports, from the room that needs least to the one that needs
    most: of two rooms, one that imports the other always comes later.
    """
    rooms = find_rooms(folder)
    direct = {}
    for room, files in rooms.items():
        names = set().union(*(imported(path.read_text(encoding="utf-8")) for path in files))
        parts = [name.split(".") for name in names]
        direct[room] = {part[1] for part in parts if part[0] == folder.name and len(part) > 1} & set(rooms) - {room}

    def needs(room, above=()):
        assert room not in above, f"{' imports '.join([*above, room])}: a circle"
        return direct[room].union(*(needs(other, (*above, room)) for other in direct[room]))

    return {room: direct[room] for room in sorted(direct, key=lambda room: (len(needs(room)), room))}


def draw(imports, label):
    """The staircase as SVG: a step for each room, and left of a step a dot for each room that it imports."""
    rooms = list(imports)
    width, height = COLUMN * len(rooms) + NAME_WIDTH, ROW * len(rooms)
    parts = [
        f'<svg class="import-picture" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
        f'style="width: 100%; max-width: {1.6 * width:.0f}px" fill="currentColor" font-size="{FONT_SIZE}">'
    ]
    for row, room in enumerate(rooms):
        x, y = COLUMN * (row + 0.5), ROW * (row + 0.5)
        columns = sorted(rooms.index(other) for other in imports[room])
        importers = [lower for lower, other in enumerate(rooms) if room in imports[other]]
        left, bottom = COLUMN * (min([*columns, row]) + 0.5), ROW * (max([*importers, row]) + 0.5)
        parts.append(f'<path d="M{left} {y}H{x}V{bottom}" fill="none" stroke="currentColor" stroke-opacity="0.2"/>')
        for column in columns:
            title = f"<title>{room} imports {rooms[column]}</title>"
            centre = f'cx="{COLUMN * (column + 0.5)}" cy="{y}"'
            parts.append(f'<circle {centre} r="3" fill="var(--pst-color-primary, currentColor)">{title}</circle>')
        parts.append(f'<rect x="{x - 3}" y="{y - 3}" width="6" height="6"/>')
        parts.append(f'<text x="{x + 7}" y="{y + FONT_SIZE / 3:.1f}">{room}</text>')
    return "\n".join([*parts, "</svg>"])


def package_folder(name):
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


class ImportPicture(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"name": str}

    def run(self):
        imports = read_imports(package_folder(self.arguments[0]))
        number = sum(map(len, imports.values()))
        label = (
            f"A staircase of the {len(imports)} rooms of {self.arguments[0]}, from {next(iter(imports))} at the top, "
            f"which imports no other, to {list(imports)[-1]} at the bottom. Dots mark {number} imports, and all of "
            "them lie below the stairs. The list that follows says the same in words."
        )
        caption = nodes.caption()
        words, messages = self.parse_inline(" ".join(self.content))
        caption += words
        figure = nodes.figure("", nodes.raw("", draw(imports, label), format="html"), caption)
        self.add_name(figure)
        return [figure, *messages]


class ImportList(SphinxDirective):
    required_arguments = 1

    def run(self):
        folder = package_folder(self.arguments[0])
        files = find_rooms(folder)
        address = self.config.html_theme_options.get("repository_url", "")
        items = nodes.definition_list()
        for room, others in read_imports(folder).items():
            docstring = ast.get_docstring(ast.parse(files[room][0].read_text(encoding="utf-8")))
            sentence = docstring.replace("\n", " ").replace("`", "").split(". ")[0].rstrip(".")
            path = files[room][0].relative_to(folder.parent).as_posix().removesuffix("/__init__.py")
            link = nodes.reference("", "", nodes.literal("", room), refuri=f"{address}/blob/main/{path}")
            needs = f"Imports {', '.join(sorted(others))}." if others else "Imports no other room."
            definition = nodes.definition("", nodes.paragraph("", f"{sentence}. {needs}"))
            items += nodes.definition_list_item("", nodes.term("", "", link), definition)
        return [items]


def setup(app):
    app.add_directive("import-picture", ImportPicture)
    app.add_directive("import-list", ImportList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
