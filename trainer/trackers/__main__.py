"""`python -m trainer.trackers`: sends rows to one target, as its standard input says.

The first line is a `Request`, a later one an `Ending`; the end of the input without one is the end of who
asked, and so of this. Standard output is for `Told` alone: what libraries print is dropped.

What hangs in a service's library cannot be called back, not even by a thread, where it holds the
interpreter's lock. So an alarm of the kernel ends the process, and whoever started it starts another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from trainer.protocol.codec import FormatError, decode, encode
from trainer.protocol.environment import CODE, PATH_MAP
from trainer.protocol.pathmap import parse_path_map
from trainer.protocol.tracking import CREDENTIALS, MAX_LINE, Ending, Request, Told
from trainer.trackers.delivery import Delivery, describe_error
from trainer.trackers.registry import check_target, find_tracker
from trainer.trackers.tracker import TrackerError

CALL_S = 120
"""That a call of a tracker may take; `FTL_TRACK_CALL_S` is another."""
_NICER = 5
_MAX_SECRET = 64 * 1024
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*\s*=\s*\S", re.ASCII)
_TOKENS = {"mlflow": "MLFLOW_TRACKING_TOKEN", "wandb": "WANDB_API_KEY", "swanlab": "SWANLAB_API_KEY"}


def main() -> int:
    """Send until it is through; returns the exit code, which nobody needs."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    teller = _Teller(out)
    with contextlib.suppress(AttributeError, OSError):
        os.nice(_NICER)
    try:
        line = sys.stdin.buffer.readline(MAX_LINE)
        request = decode(Request, line, where="request", max_bytes=MAX_LINE)
        if os.environ.get(CODE):  # last, as for the ranks
            sys.path.append(os.environ[CODE])
        if not request.job:  # asked only whether it could
            check_target(request.target)
        else:
            cls = find_tracker(request.target)
            read_credentials(request.target.tracker, request.target.settings)
            tracker = cls()
    except (FormatError, TrackerError) as error:
        teller.tell(Told(event="refused", text=str(error)))
        return 1
    except Exception as error:  # noqa: BLE001 - of a class that others wrote
        teller.tell(Told(event="refused", text=describe_error(error)))
        return 1
    if not request.job:
        teller.tell(Told(event="ended"))
        return 0
    inbox = _Inbox(sys.stdin.buffer)
    delivery = Delivery(request=request, tracker=tracker, tell=teller.tell, wait=inbox.wait, guard=_guard)
    inbox.start(delivery, teller)
    is_all = delivery.run()
    teller.tell(
        Told(event="ended", left=0 if is_all else delivery.left, rows=delivery.sent, place=delivery.place)
    )
    teller.close()
    os._exit(0)  # what libraries do at exit may hang, too; a tracker's `end` has done what is needed


class _Teller:
    """Writes lines; after `close` nothing more."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._lock, self._is_closed = out, threading.Lock(), False

    def tell(self, told: Told) -> None:
        with self._lock:
            if self._is_closed:
                return
            try:
                self._out.write(json.dumps(encode(told)).encode() + b"\n")
            except OSError:  # who asked is gone
                os._exit(0)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True


class _Inbox:
    """Waits for the ending, and sees to it that it is kept."""

    def __init__(self, stdin: BinaryIO) -> None:
        self._stdin, self._known = stdin, threading.Event()
        self._ending: Ending | None = None

    def wait(self, seconds: float) -> Ending | None:
        """Wait, at most until the ending is known; pauses afterwards are whole."""
        if self._known.is_set():
            threading.Event().wait(seconds)
        else:
            self._known.wait(seconds)
        return self._ending

    def start(self, delivery: Delivery, teller: _Teller) -> None:
        if delivery.request.ending is not None:
            self._end(delivery.request.ending, delivery, teller)
        threading.Thread(target=self._read, args=(delivery, teller), daemon=True).start()

    def _read(self, delivery: Delivery, teller: _Teller) -> None:
        while line := self._stdin.readline(MAX_LINE):
            with contextlib.suppress(FormatError):
                self._end(decode(Ending, line, where="ending", max_bytes=MAX_LINE), delivery, teller)
        if self._ending is None or delivery.request.ending is not None:
            os._exit(0)  # who asked is gone

    def _end(self, ending: Ending, delivery: Delivery, teller: _Teller) -> None:
        self._ending = ending
        self._known.set()
        timer = threading.Timer(ending.within_s, self._give_up, (delivery, teller))
        timer.daemon = True
        timer.start()

    def _give_up(self, delivery: Delivery, teller: _Teller) -> None:
        teller.tell(Told(event="ended", left=max(delivery.left, 1), rows=delivery.sent))
        os._exit(0)


def _guard(begins: bool) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(int(os.environ.get("FTL_TRACK_CALL_S", CALL_S)) if begins else 0)


def read_credentials(tracker: str, settings: Mapping[str, str]) -> None:
    """Put what a mounted file holds into the environment of this process, for the service's library.

    Lines `NAME=value`, or a token alone.

    Raises:
        TrackerError: It cannot be read. What is said never has its content.
    """
    place = settings.get(CREDENTIALS)
    if place is None:
        return
    try:
        place = parse_path_map(os.environ.get(PATH_MAP)).apply(place)
        text = Path(place).read_text("utf-8")[:_MAX_SECRET]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8"
        raise TrackerError(f"{tracker}: {place}: expected a file of credentials: {reason.lower()}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) == 1 and tracker in _TOKENS and _VARIABLE.match(lines[0]) is None:
        os.environ[_TOKENS[tracker]] = lines[0]
        return
    for number, line in enumerate(lines, start=1):
        if _VARIABLE.match(line) is None:
            raise TrackerError(f"{tracker}: {place}: expected NAME=value in line {number}, or a token alone")
        name, _, value = line.partition("=")
        os.environ[name.strip()] = value.strip()


if __name__ == "__main__":
    sys.exit(main())
