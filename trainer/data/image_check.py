"""Reads images without training on them: `trainer check --images`, `trainer make-lists`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import PIL

from trainer.config.ops import DecodeImage
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.encoded import read_encoded
from trainer.data.image_cache import ImageCache, Verdict, mark_of
from trainer.data.ops.basic import decode_image
from trainer.data.rng import Stream
from trainer.errors import ImageError

_SCHEMA = 1
_KEEP_EVERY = 2000  # files: what an interrupted check has read need not be read again
_MAX_THREADS = 16

Done = Callable[[int], None]
"""Is told of how many more files something is known."""


def check_images(
    paths: Sequence[str], *, decode: DecodeImage | None = None, max_pixels: int = MAX_IMAGE_PIXELS,
    cache: ImageCache | None = None, done: Done = lambda _: None,
) -> dict[str, Verdict]:  # fmt: skip
    """Decode image files as training would, each once.

    Args:
        paths: Files; repeated ones are read once.
        decode: The config's first operation; OpenCV's where None.
        max_pixels: Files that claim more are bad.
        cache: What was found before; files that have not changed since are not read.
        done: Called as the work goes on.
    """
    decode = decode or DecodeImage()
    wanted = list(dict.fromkeys(paths))
    how = f"{_SCHEMA} cv2 {cv2.__version__} pillow {PIL.__version__} {decode.backend} {max_pixels}"
    absolute = {path: os.path.abspath(path) for path in wanted}  # noqa: PTH100 - links are not followed
    marks = {place: mark for place in absolute.values() if (mark := mark_of(place)) is not None}
    known = cache.find(marks, how=how) if cache is not None else {}
    verdicts = {path: known[place] for path, place in absolute.items() if place in known}
    done(len(verdicts))
    left = [path for path in wanted if path not in verdicts]
    threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)
    operation, rng = decode_image(decode), Stream(0).rng

    def read(path: str) -> Verdict:
        try:
            encoded = read_encoded(Path(path), max_pixels=max_pixels)
            operation(np.frombuffer(encoded.data, dtype=np.uint8), rng)
        except ImageError as error:
            return Verdict(problem=str(error))
        except OSError as error:
            return Verdict(
                problem=f"expected a readable image, got: {(error.strerror or str(error)).lower()}"
            )
        return Verdict(warning=encoded.warning)

    with ThreadPoolExecutor(threads, thread_name_prefix="reader") as pool:
        for begin in range(0, len(left), _KEEP_EVERY):
            part = left[begin : begin + _KEEP_EVERY]
            fresh: dict[str, Verdict] = {}
            for path, verdict in zip(part, pool.map(read, part), strict=True):
                fresh[path] = verdict
                done(1)
            verdicts |= fresh
            if cache is not None:
                _keep(cache, {absolute[path]: verdict for path, verdict in fresh.items()}, marks, how)
    return verdicts


def _keep(cache: ImageCache, fresh: Mapping[str, Verdict], marks: Mapping[str, str], how: str) -> None:
    # Of one that changed while it was read, or that is not there, nothing is kept.
    same = {path: said for path, said in fresh.items() if path in marks and mark_of(path) == marks[path]}
    cache.keep(same, marks, how=how)
