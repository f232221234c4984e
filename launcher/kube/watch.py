"""A watch's answer -> events, one JSON document a line.

kubernetes.io, API concepts, "Efficient detection of changes": bookmarks, and 410 as a status or as an
event. An answer is cut into pieces anywhere, so what does not end with a newline waits for the next one. A
watch ends in three ways: after the time that was asked for, which is no error; in the middle of a line or
of a chunk, after which the caller goes on from the last event's version; or with an event of the type
ERROR, which is the `Status` that the answer would have been, had it been known at its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.kube.connections import ExchangeError, HttpResponse
from launcher.kube.errors import NoAnswerError
from launcher.kube.failures import RequestContext, read_failure
from launcher.objects import KubeObject, is_object
from trainer.protocol.codec import FormatError, decode
from trainer.protocol.untrusted import MAX_BYTES, shown

WATCH_S = 240
"""How long a watch is asked for; servers end one after five to ten minutes by themselves."""
GRACE_S = 15.0
BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something that happened to an object.

    Attributes:
        kind: ADDED, MODIFIED, DELETED, or BOOKMARK, which is a version to go on from and no change.
        item: The object; of a bookmark little more than its version.
    """

    kind: str
    item: KubeObject

    @property
    def version(self) -> str:
        """To go on from."""
        return str((self.item.get("metadata") or {}).get("resourceVersion", ""))


def read_watch(answer: HttpResponse, call: RequestContext) -> Iterator[WatchEvent]:
    """Read a watch's answer line by line, as it comes.

    Raises:
        NoAnswerError: It was cut off, or is none; an `ExpiredError` where its beginning is too old.
    """
    rest = b""
    try:
        for piece in answer.stream():
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > MAX_BYTES:
                raise NoAnswerError(
                    where=call, expected="changes", got=f"a line of more than {MAX_BYTES >> 20} MiB"
                )
            for line in filter(None, lines):
                yield _read(line, call)
    except ExchangeError as error:
        raise NoAnswerError(where=call, expected="changes", got=error) from error
    if rest:  # every change ends with its line
        raise NoAnswerError(where=call, expected="a change", got=shown(rest))


@dataclass(frozen=True, slots=True)
class _Event:
    """A line of a watch (`metav1.WatchEvent`)."""

    type: str
    object: Mapping[str, Any]  # in this class `object` is the field


def _read(line: bytes, call: RequestContext) -> WatchEvent:
    try:
        event = decode(_Event, line, where=str(call))
    except FormatError as error:
        raise NoAnswerError(where=call, expected="a change", got=f"{line[:80]!r}") from error
    kind, item = event.type, dict(event.object)
    if kind == "ERROR":  # the status that it would have begun with, had it been known then
        code = item.get("code")
        code = code if isinstance(code, int) and code else 500
        raise read_failure(call, code=code, body=json.dumps(item).encode())
    if not is_object(item):
        raise NoAnswerError(where=call, expected="a change of an object", got=shown(line))
    return WatchEvent(kind, item)
