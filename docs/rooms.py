"""Draw the rooms of the code and who imports whom, from the imports themselves: `make reference`.

python docs/rooms.py [FILE]

A room is a package below `launcher` or `trainer`, and `ftlaunch` as a whole. Each stands above all that it
imports: its row is the longest way of imports down to a room that imports none. An arrow is left out where a
longer way leads to the same room, which leaves what one has to know. Rooms that import each other would make
this endless; import-linter refuses them (pyproject.toml), and so does this.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from html import escape
from pathlib import Path

import grimp

HERE = Path(__file__).resolve().parent
_PACKAGES = ("ftlaunch", "launcher", "trainer")
_BOX, _GAP, _ROW, _MARGIN = (132, 28), 12, 70, 16
_COLOURS = {"ftlaunch": "#e8def8", "launcher": "#d6e4ff", "trainer": "#d9f2dc"}

Edges = dict[str, set[str]]


def imports() -> Edges:
    """Return which rooms each room imports."""
    graph = grimp.build_graph(*_PACKAGES)
    rooms = {"ftlaunch", *(room for package in _PACKAGES[1:] for room in graph.find_children(package))}
    rooms = {room for room in rooms if room == "ftlaunch" or graph.find_children(room)}
    found: Edges = {room: set() for room in rooms}
    for module in graph.modules:
        source = _room(module, rooms)
        for imported in graph.find_modules_directly_imported_by(module):
            target = _room(imported, rooms)
            if source and target and source != target:
                found[source].add(target)
    return found


def _room(module: str, rooms: set[str]) -> str | None:
    names = module.split(".")
    candidates = (names[0], ".".join(names[:2]))
    return next((name for name in candidates if name in rooms), None)


def heights(edges: Edges) -> dict[str, int]:
    """Return the row of each room, 0 for those that import none.

    Raises:
        ValueError: Rooms import each other.
    """
    rows: dict[str, int] = {}

    def row(room: str, above: tuple[str, ...]) -> int:
        if room in above:
            raise ValueError(f"expected imports that go one way, got {' → '.join((*above, room))}")
        if room not in rows:
            rows[room] = max((row(below, (*above, room)) + 1 for below in edges[room]), default=0)
        return rows[room]

    for room in sorted(edges):
        row(room, ())
    return rows


def without_shortcuts(edges: Edges) -> Edges:
    """Leave out each arrow whose end can be reached by a longer way."""

    def reached(room: str) -> set[str]:
        return {room}.union(*(reached(below) for below in edges[room]))

    return {
        room: {
            target
            for target in below
            if not any(target in reached(other) for other in below if other != target)
        }
        for room, below in edges.items()
    }


def draw(edges: Edges) -> str:
    """Return the picture as SVG."""
    rows: defaultdict[int, list[str]] = defaultdict(list)
    for room, height in heights(edges).items():
        rows[height].append(room)
    width = 2 * _MARGIN + max(len(row) for row in rows.values()) * (_BOX[0] + _GAP) - _GAP
    total = 2 * _MARGIN + max(rows) * _ROW + _BOX[1]
    places: dict[str, tuple[float, float]] = {}
    for height, row in rows.items():
        row.sort(key=lambda room: (_PACKAGES.index(room.split(".")[0]), room))
        step = width / len(row)
        for index, room in enumerate(row):
            places[room] = (step * (index + 0.5), total - _MARGIN - _BOX[1] / 2 - height * _ROW)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {total:.0f}" width="{width:.0f}" '
        'font-family="sans-serif" font-size="12" text-anchor="middle">',
        "<title>Rooms of ftlaunch, and which imports which</title>",
        f'<rect width="{width:.0f}" height="{total:.0f}" fill="white"/>',
        '<marker id="a" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 6 3 0 6z" fill="#667"/></marker>',
    ]
    kept = without_shortcuts(edges)
    for room in sorted(kept):
        for target in sorted(kept[room]):
            (x1, y1), (x2, y2) = places[room], places[target]
            y1, y2 = y1 + _BOX[1] / 2, y2 - _BOX[1] / 2
            bend = (y2 - y1) / 2
            parts.append(
                f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} '
                f'{x2:.0f} {y2:.0f}" fill="none" stroke="#99a" marker-end="url(#a)"/>'
            )
    for room, (x, y) in sorted(places.items()):
        colour = _COLOURS[room.split(".")[0]]
        parts.append(
            f'<rect x="{x - _BOX[0] / 2:.0f}" y="{y - _BOX[1] / 2:.0f}" width="{_BOX[0]}" height="{_BOX[1]}" '
            f'rx="5" fill="{colour}" stroke="#667"/><text x="{x:.0f}" y="{y + 4:.0f}">'
            f"{escape(room.replace('.', '/'))}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the picture."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "rooms.svg"
    path.write_text(draw(imports()), encoding="utf-8")


if __name__ == "__main__":
    main()
