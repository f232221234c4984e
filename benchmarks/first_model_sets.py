"""Six small data sets on which a first model is measured, four of them drawn, each of these with a trap.

| set | what tells its classes apart | trap |
|---|---|---|
| digits | scikit-learn's digits, as in the quick start | none |
| fashion | Fashion-MNIST, 200 images a class (Debian's package dataset-fashion-mnist) | none |
| shapes | the shape, in any colour at any place | 180, 20 and 20 images of the three classes |
| textures | the pattern, at any scale, angle and colour | a file that is empty, one cut off, one of text |
| colours | the colour of a shape, whichever it is | 3 % of the training images lie in a wrong folder |
| marks | a small mark on a large body (fine-grained) | one class's JPEGs are stored turned, as phones do |

Every image is drawn from a generator that is seeded by set, part, class and number, so that a set is the same
wherever it is made. Evaluations have none of the traps but the turned class.
"""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

Image = NDArray[np.uint8]
SIDE = 64
FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package has it; its files are those of github.com/zalandoresearch/fashion-mnist."""
_CLOTHES = ["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
_WRONG = 0.03
_EXIF_ORIENTATION, _TURNED = 0x0112, 6  # to be shown, it is turned by 90 degrees clockwise


def make_set(name: str, folder: Path, *, fashion: Path = FASHION) -> None:
    """Make a set as folders `train/CLASS` and `val/CLASS`, unless it is there.

    Args:
        name: One of `SETS`.
        folder: Where; what is there half is made anew.
        fashion: Folder with the four files of Fashion-MNIST.
    """
    if (folder / "made").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    SETS[name](folder, fashion)
    (folder / "made").touch()


def _digits(folder: Path, _: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for index, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        small = (pixels * (255 / 16)).astype("uint8")
        image = cv2.resize(small, (32, 32), interpolation=cv2.INTER_CUBIC)
        _write(folder / ("val" if index % 5 == 0 else "train") / str(digit) / f"{index:04d}.png", image)


def _fashion(folder: Path, source: Path) -> None:
    for part, prefix, each in (("train", "train", 200), ("val", "t10k", 50)):
        raw = gzip.decompress((source / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
        labels = np.frombuffer(
            gzip.decompress((source / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8
        )
        images = np.frombuffer(raw[16:], np.uint8).reshape(-1, 28, 28)
        for label, name in enumerate(_CLOTHES):
            for index in np.flatnonzero(labels == label)[:each].tolist():
                _write(folder / part / name / f"{index:05d}.png", images[index])


def _shapes(folder: Path, _: Path) -> None:
    for name, train in (("circle", 180), ("square", 20), ("star", 20)):
        _draw_class(folder, "shapes", name, train, 40, _shape_in_any_colour)


def _textures(folder: Path, _: Path) -> None:
    for name in ("stripes", "checks", "dots", "rings", "grain"):
        _draw_class(folder, "textures", name, 64, 24, _texture)
    for path, keep in (("dots/0007.png", 0), ("checks/0011.png", 900)):
        file = folder / "train" / path
        file.write_bytes(file.read_bytes()[:keep])
    (folder / "train" / "grain" / "0005.png").write_text("this is no image\n")


def _colours(folder: Path, _: Path) -> None:
    for name in _HUES:
        _draw_class(folder, "colours", name, 60, 24, _shape_of_a_hue)
    draws, names = np.random.default_rng(5), list(_HUES)
    files = sorted((folder / "train").rglob("*.png"))
    chosen = draws.choice(len(files), round(_WRONG * len(files)), replace=False).tolist()
    wrong = []
    for file in (files[index] for index in chosen):
        other = names[(names.index(file.parent.name) + 1 + int(draws.integers(len(names) - 1))) % len(names)]
        moved = folder / "train" / other / f"{file.parent.name}-{file.name}"
        file.rename(moved)
        wrong.append(moved.relative_to(folder).as_posix())
    (folder / "wrong.txt").write_text("\n".join(sorted(wrong)) + "\n")


def _marks(folder: Path, _: Path) -> None:
    for name in ("bar", "cross", "dot", "ring"):
        _draw_class(folder, "marks", name, 90, 30, _marked_body, ending="jpg")
    for file in (folder / part / "cross" / f"{i:04d}.jpg" for part in ("train", "val") for i in range(90)):
        if file.exists():
            with Picture.open(file) as opened:
                stored = opened.rotate(90, expand=True)
            exif = Picture.Exif()
            exif[_EXIF_ORIENTATION] = _TURNED
            stored.save(file, quality=95, exif=exif)


SETS: dict[str, Callable[[Path, Path], None]] = {
    "digits": _digits, "fashion": _fashion, "shapes": _shapes, "textures": _textures, "colours": _colours,
    "marks": _marks,
}  # fmt: skip


def _draw_class(
    folder: Path, of: str, name: str, train: int, val: int,
    draw: Callable[[str, np.random.Generator], Image], *, ending: str = "png",
) -> None:  # fmt: skip
    for part, count in (("train", train), ("val", val)):
        for index in range(count):
            seed = zlib.crc32(f"{of}/{part}/{name}/{index}".encode())
            image = draw(name, np.random.default_rng(seed))
            _write(folder / part / name / f"{index:04d}.{ending}", image)


def _write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), image, quality)


def _backdrop(draws: np.random.Generator) -> Image:
    coarse = draws.integers(60, 196, (4, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def _with_noise(image: Image, draws: np.random.Generator) -> Image:
    noise = draws.normal(0, draws.uniform(3, 10), image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _put_shape(image: Image, name: str, colour: tuple[int, ...], draws: np.random.Generator) -> None:
    radius = SIDE * draws.uniform(0.2, 0.34)
    x, y = draws.uniform(radius, SIDE - radius, 2)
    if name == "circle":
        cv2.circle(image, (int(x), int(y)), int(radius), colour, -1)
        return
    corners = {"square": 4, "triangle": 3, "star": 10}[name]
    angles = draws.uniform(-0.4, 0.4) + 2 * np.pi * np.arange(corners) / corners
    radii = radius * np.where((np.arange(corners) % 2 == 1) & (name == "star"), 0.42, 1.0)
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
    cv2.fillPoly(image, [points.astype(np.int32)], colour)


def _shape_in_any_colour(name: str, draws: np.random.Generator) -> Image:
    image = _backdrop(draws)
    dark = bool(draws.integers(2))
    colour = tuple(int(value) for value in draws.integers(0 if dark else 210, 45 if dark else 256, 3))
    _put_shape(image, name, colour, draws)
    return _with_noise(image, draws)


_HUES = {"red": 0, "yellow": 28, "green": 60, "blue": 110, "violet": 145}
"""Of OpenCV: 0 to 179."""


def _shape_of_a_hue(name: str, draws: np.random.Generator) -> Image:
    grey = draws.integers(60, 196, (4, 4, 1), dtype=np.uint8).repeat(3, axis=2)
    image = np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    hue = (_HUES[name] + int(draws.integers(-8, 9))) % 180
    pixel = np.array([[[hue, draws.integers(150, 256), draws.integers(120, 256)]]], dtype=np.uint8)
    colour = tuple(int(value) for value in cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0])
    _put_shape(image, ("circle", "square", "star")[int(draws.integers(3))], colour, draws)
    return _with_noise(image, draws)


def _texture(name: str, draws: np.random.Generator) -> Image:
    angle, period = draws.uniform(0, np.pi), draws.uniform(7, 13)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    along = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period + draws.uniform(0, 6)
    across = (y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period + draws.uniform(0, 6)
    if name == "stripes":
        level = np.sin(along)
    elif name == "checks":
        level = np.sign(np.sin(along) * np.sin(across))
    elif name == "dots":
        level = np.where(np.cos(along) + np.cos(across) > 1.0, 1.0, -1.0)
    elif name == "rings":
        middle = draws.uniform(0.3 * SIDE, 0.7 * SIDE, 2)
        level = np.sin(np.hypot(x - middle[0], y - middle[1]) * 2 * np.pi / period)
    else:
        level = cv2.GaussianBlur(draws.normal(0, 1, (SIDE, SIDE)), (0, 0), period / 5)
        level = level / np.abs(level).max()
    dark, light = draws.integers(0, 100, 3), draws.integers(150, 256, 3)
    image = dark + (light - dark) * (level[..., None] + 1) / 2
    return _with_noise(image.astype(np.uint8), draws)


def _marked_body(name: str, draws: np.random.Generator) -> Image:
    """Draw an ellipse of any colour with a mark of a sixth of its length."""
    image = _backdrop(draws)
    body = tuple(int(value) for value in draws.integers(90, 220, 3))
    middle = draws.uniform(0.42 * SIDE, 0.58 * SIDE, 2)
    axes = (int(SIDE * draws.uniform(0.32, 0.4)), int(SIDE * draws.uniform(0.2, 0.28)))
    cv2.ellipse(image, (int(middle[0]), int(middle[1])), axes, draws.uniform(-25, 25), 0, 360, body, -1)
    x, y = (middle + draws.uniform(-8, 8, 2)).astype(int).tolist()
    ink, size = (20, 20, 20), 6
    if name == "bar":
        cv2.line(image, (x - size, y), (x + size, y), ink, 3)
    elif name == "cross":
        cv2.line(image, (x - size, y), (x + size, y), ink, 3)
        cv2.line(image, (x, y - size), (x, y + size), ink, 3)
    elif name == "dot":
        cv2.circle(image, (x, y), size - 1, ink, -1)
    else:
        cv2.circle(image, (x, y), size, ink, 2)
    return _with_noise(image, draws)
