"""Which files are images by their ending: one table for lists, predictions and whoever looks for data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

IMAGE_ENDINGS = frozenset(
    {".bmp", ".dib", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Of files that OpenCV 4.10 decodes in every build; in lower case."""


def is_image_name(name: str) -> bool:
    """Tell whether a file's name ends as those of images do, in whatever case."""
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS  # noqa: PTH122 - ten times as fast for many files


def describe_endings(names: Iterable[str]) -> str:
    """Count names by their endings, most frequent first: `12 .txt, 1 .gif, 1 without an ending`."""
    counts = Counter(os.path.splitext(name)[1].lower() for name in names)  # noqa: PTH122 - as above
    return ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in counts.most_common())
