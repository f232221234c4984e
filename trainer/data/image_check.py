"""Reads images without training on them: `trainer check --images`, `make-lists` and `data-report`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import PIL

from trainer.config.ops import DecodeImage
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.encoded import read_encoded
from trainer.data.image_cache import ImageCache, Verdict, mark_of
from trainer.data.ops.basic import decode_image
from trainer.data.ops.registry import Pixels
from trainer.data.rng import Stream
from trainer.errors import ImageError

_SCHEMA = 1
_KEEP_EVERY = 2000  # files: what an interrupted check has read need not be read again
_MAX_THREADS = 16

Done = Callable[[int], None]
"""Is told of how many more files something is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measuring:
    """What is to be measured of images while they are read.

    Attributes:
        how: What the records depend on; those that were kept under another one are not used.
        measure: Makes a record of an encoded file and of its pixels, uint8 [H, W, 3], RGB.
        found: The records by path; filled, without files that cannot be read.
    """

    how: str
    measure: Callable[[bytes, Pixels], bytes]
    found: dict[str, bytes] = field(default_factory=dict)


def check_images(
    paths: Sequence[str], *, decode: DecodeImage | None = None, max_pixels: int = MAX_IMAGE_PIXELS,
    cache: ImageCache | None = None, done: Done = lambda _: None, measuring: Measuring | None = None,
) -> dict[str, Verdict]:  # fmt: skip
    """Decode image files as training would, each once.

    Args:
        paths: Files; repeated ones are read once.
        decode: The config's first operation; OpenCV's where None.
        max_pixels: Files that claim more are bad.
        cache: What was found before; files that have not changed since are not read.
        done: Called as the work goes on.
        measuring: What is to be measured as well. `decode` must make RGB then.
    """
    decode = decode or DecodeImage()
    wanted = list(dict.fromkeys(paths))
    how = f"{_SCHEMA} cv2 {cv2.__version__} pillow {PIL.__version__} {decode.backend} {max_pixels}"
    absolute = {path: os.path.abspath(path) for path in wanted}  # noqa: PTH100 - links are not followed
    marks = {place: mark for place in absolute.values() if (mark := mark_of(place)) is not None}
    known = cache.find(marks, how=how) if cache is not None else {}
    if measuring is not None:
        records = cache.find_facts(marks, how=measuring.how) if cache is not None else {}
        known = {place: said for place, said in known.items() if said.problem or place in records}
        measuring.found.update(
            (path, records[place])
            for path, place in absolute.items()
            if place in records and place in known and not known[place].problem
        )
    verdicts = {path: known[place] for path, place in absolute.items() if place in known}
    done(len(verdicts))
    left = [path for path in wanted if path not in verdicts]
    threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)
    operation, rng = decode_image(decode), Stream(0).rng

    def read(path: str) -> tuple[Verdict, bytes]:
        try:
            encoded = read_encoded(Path(path), max_pixels=max_pixels)
            pixels = operation(np.frombuffer(encoded.data, dtype=np.uint8), rng)
        except ImageError as error:
            return Verdict(problem=str(error)), b""
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return Verdict(problem=f"expected a readable image, got: {reason}"), b""
        record = measuring.measure(encoded.data, pixels) if measuring is not None else b""
        return Verdict(warning=encoded.warning), record

    with ThreadPoolExecutor(threads, thread_name_prefix="reader") as pool:
        for begin in range(0, len(left), _KEEP_EVERY):
            part = left[begin : begin + _KEEP_EVERY]
            fresh: dict[str, Verdict] = {}
            measured: dict[str, bytes] = {}
            for path, (verdict, record) in zip(part, pool.map(read, part), strict=True):
                fresh[path] = verdict
                if record:
                    measured[path] = record
                done(1)
            verdicts |= fresh
            # Of one that changed while it was read, or that is not there, nothing is kept.
            same = [path for path in part if _is_same(absolute[path], marks)]
            if cache is not None:
                cache.keep({absolute[path]: fresh[path] for path in same}, marks, how=how)
            if measuring is not None:
                measuring.found.update(measured)
                if cache is not None:
                    kept = {absolute[path]: measured[path] for path in same if path in measured}
                    cache.keep_facts(kept, marks, how=measuring.how)
    return verdicts


def _is_same(place: str, marks: Mapping[str, str]) -> bool:
    return place in marks and mark_of(place) == marks[place]
