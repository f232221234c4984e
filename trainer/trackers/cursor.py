"""How far a target has got, durably: a small file a target, replaced whole.

It is written after rows have been taken. What a kill between the two leaves in doubt is asked of the service
(`Tracker.missing`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from trainer.protocol.codec import Count, FormatError, UnlessNone, decode, encode
from trainer.protocol.safe_files import make_folders, read_file, replace_file
from trainer.protocol.tracking import SCHEMA, Target
from trainer.trackers.rows import Place

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """What is kept of a target.

    Attributes:
        run_id: Whose rows these are.
        known: Id of the run at the service; None before it has one.
        offset, furthest: See `Place`.
        facts: That were sent last.
        report: SHA-256 of the report that was sent.
        ended: State and reason that it was ended with; None before.
    """

    run_id: str
    known: Annotated[str | None, UnlessNone()] = None
    offset: Count = 0
    furthest: Mapping[str, Count] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    report: str = ""
    ended: Annotated[str | None, UnlessNone()] = None

    @property
    def at(self) -> Place:
        """Where its file goes on."""
        return Place(offset=self.offset, furthest=self.furthest)

    def moved(self, place: Place) -> Cursor:
        """Return it with another place."""
        return replace(self, offset=place.offset, furthest=place.furthest)


def cursor_path(folder: Path, target: Target) -> Path:
    """Return where a target's cursor lies in a folder of them."""
    return folder / f"{target.key}.json"


def load_cursor(folder: Path, target: Target, *, run_id: str) -> Cursor:
    """Read a target's cursor; a new one where there is none of this run, or it is broken."""
    try:
        data = read_file(cursor_path(folder, target), max_bytes=_MAX_BYTES)
        found = decode(Cursor, data, where="cursor", schema=SCHEMA)
    except (FormatError, OSError):
        return Cursor(run_id=run_id)
    return found if found.run_id == run_id else Cursor(run_id=run_id)


def save_cursor(folder: Path, target: Target, cursor: Cursor) -> None:
    """Replace it.

    Raises:
        OSError: The folder cannot be written.
    """
    make_folders(folder, root=folder.parent)
    data = (json.dumps(encode(cursor, schema=SCHEMA)) + "\n").encode()
    replace_file(cursor_path(folder, target), data, root=folder)
