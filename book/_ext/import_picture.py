"""Sphinx extension: the picture of who imports whom in the package, and its list of rooms, read from the code.

Both are made from the import statements and docstrings while the page is built, so neither can be out of date.

- `{import-picture} PACKAGE` draws a staircase; its content is the caption.
- `{import-list} PACKAGE` lists each room with the first sentence of its docstring and the rooms that it imports; a
  folder opens into a staircase and a list of its own.

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
    """The rooms right below `folder`: name to its Python files, the one with the docstring first."""
    rooms = {path.stem: [path] for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")}
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        rooms[inner.name] = [inner / "__init__.py", *sorted(set(inner.glob("*.py")) - {inner / "__init__.py"})]
    return rooms


def read_imports(folder, package=None):
    """For each room in `folder` the set of the other rooms there that it imports, from the room that needs least to the
    one that needs most: of two rooms, one that imports the other always comes later. `package` is the folder's dotted
    name; the package's own folder has that of the folder.
    """
    rooms, prefix = find_rooms(folder), f"{package or folder.name}."
    direct = {}
    for room, files in rooms.items():
        names = set().union(*(imported(path.read_text(encoding="utf-8")) for path in files))
        inside = {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}
        direct[room] = inside & set(rooms) - {room}

    def needs(room, above=()):
        assert room not in above, f"{' imports '.join([*above, room])}: a circle"
        return direct[room].union(*(needs(other, (*above, room)) for other in direct[room]))

    return {room: direct[room] for room in sorted(direct, key=lambda room: (len(needs(room)), room))}


def draw(imports, label, folders=()):
    """The staircase as SVG: a step for each room, and left of a step a dot for each room that it imports.

    The steps of `folders` are hollow, and their names end in a slash.
    """
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
        hollow = ' fill="var(--pst-color-background, white)" stroke="currentColor"' if room in folders else ""
        parts.append(f'<rect x="{x - 3}" y="{y - 3}" width="6" height="6"{hollow}/>')
        name = f"{room}/" if room in folders else room
        parts.append(f'<text x="{x + 7}" y="{y + FONT_SIZE / 3:.1f}">{name}</text>')
    return "\n".join([*parts, "</svg>"])


def package_folder(name):
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


def folders_of(folder):
    """The names of the rooms in `folder` that are folders."""
    return {room for room, files in find_rooms(folder).items() if files[0].name == "__init__.py"}


def in_words(imports):
    """What a picture's label says."""
    number = sum(map(len, imports.values()))
    return (
        f"from {next(iter(imports))} at the top, which imports no other, to {list(imports)[-1]} at the bottom. Dots "
        f"mark {number} imports, and all of them lie below the stairs. The list that follows says the same in words."
    )


class ImportPicture(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"name": str}

    def run(self):
        folder = package_folder(self.arguments[0])
        imports, folders = read_imports(folder), folders_of(folder)
        label = (
            f"A staircase of the {len(imports)} rooms of {self.arguments[0]}, {len(folders)} of which are folders, "
            f"{in_words(imports)}"
        )
        caption = nodes.caption()
        words, messages = self.parse_inline(" ".join(self.content))
        caption += words
        figure = nodes.figure("", nodes.raw("", draw(imports, label, folders), format="html"), caption)
        self.add_name(figure)
        return [figure, *messages]


class ImportList(SphinxDirective):
    required_arguments = 1

    def run(self):
        folder = package_folder(self.arguments[0])
        return [self.rooms(folder, folder.name)]

    def rooms(self, folder, package):
        """A definition list of the rooms in `folder`; a room that is a folder holds one of its own."""
        files, inner = find_rooms(folder), folders_of(folder)
        address = self.config.html_theme_options.get("repository_url", "")
        items = nodes.definition_list()
        for room, others in read_imports(folder, package).items():
            docstring = ast.get_docstring(ast.parse(files[room][0].read_text(encoding="utf-8")))
            sentence = docstring.replace("\n", " ").replace("`", "").split(". ")[0].rstrip(".")
            root = folder.parents[package.count(".")]
            path = files[room][0].relative_to(root).as_posix().removesuffix("/__init__.py")
            name = f"{room}/" if room in inner else room
            link = nodes.reference("", "", nodes.literal("", name), refuri=f"{address}/blob/main/{path}")
            needs = f" Imports {', '.join(sorted(others))}." if others else " Imports no other room."
            definition = nodes.definition("", nodes.paragraph("", f"{sentence}.{needs}"))
            if room in inner and room != "teaching":  # a file for each chapter needs no picture
                definition += self.opened(folder / room, f"{package}.{room}")
            items += nodes.definition_list_item("", nodes.term("", "", link), definition)
        return items

    def opened(self, folder, package):
        """What a reader sees who opens a folder: its own staircase, and its rooms one by one."""
        imports = read_imports(folder, package)
        label = f"A staircase of the {len(imports)} rooms in {folder.name}, {in_words(imports)}"
        names = ", ".join(imports)
        begin = f'<details class="import-folder"><summary>{len(imports)} rooms: {escape(names)}</summary>'
        return [
            nodes.raw("", f"{begin}\n{draw(imports, label)}", format="html"),
            self.rooms(folder, package),
            nodes.raw("", "</details>", format="html"),
        ]


def setup(app):
    app.add_directive("import-picture", ImportPicture)
    app.add_directive("import-list", ImportList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
