"""Changes the size of a config's images, in all places that must agree, and nothing else of the text.

PaddleClas's tutorial on fine-tuning names six (Q1 of its FAQ): `Global.image_shape`, the crop in training,
and the resize and the crop in evaluation and in `Infer`. TimmAutoAugment's `img_size` is one more.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from trainer.config.document import parse_document
from trainer.config.problems import ConfigError, KeyPath, Problem, format_path

_CHAINS: tuple[KeyPath, ...] = (
    ("DataLoader", "Train", "dataset", "transform_ops"),
    ("DataLoader", "Eval", "dataset", "transform_ops"),
    ("Infer", "transforms"),
)
_SIZES = {
    "RandCropImage": "size", "CropImage": "size", "RandomCropImage": "size", "RandCropImageV2": "size",
    "TimmAutoAugment": "img_size",
}  # fmt: skip


_ANCHOR = re.compile(r"(&\S+\s+|!\S+\s+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One value that becomes another.

    Attributes:
        line: From 1, of the value.
        before: As it was written.
        after: As it is written now.
    """

    path: KeyPath
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"line {self.line}: {format_path(self.path)}: {self.before} -> {self.after}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Edit:
    start: int
    end: int
    change: Change


def resize(content: bytes, size: int, *, name: str) -> tuple[bytes, tuple[Change, ...]]:
    """Set the size of the images.

    Args:
        content: The file's bytes.
        size: Side in pixels. `resize_short` keeps its ratio to the crop behind it.
        name: What messages call the file.

    Returns:
        The new bytes, and what was changed; nothing where all sizes are that already.

    Raises:
        ConfigError: It is no config, has no size, or has images that are no squares.
    """
    parse_document(content, name=name)  # refuses what is no config
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    text = content.decode("utf-8-sig")
    wanted = list(_wanted(yaml.compose(text, Loader=yaml.SafeLoader), size))
    problems = [
        Problem(
            file=name, line=node.start_mark.line + 1, path=path,
            message=f"expected a square, got {_sides(node)}; change the sizes of such images by hand",
        )
        for path, node, _ in wanted
        if len(set(_sides(node))) > 1
    ]  # fmt: skip
    if not wanted:
        message = "expected sizes of images, such as RandCropImage.size, got none"
        problems.append(Problem(file=name, message=message))
    if problems:
        raise ConfigError(problems)
    edits: dict[int, _Edit] = {}  # by place: an alias leads to a value once more
    for path, node, after in wanted:
        for where, scalar in _scalars(path, node):
            # PyYAML's mark stands before an anchor, which an alias elsewhere needs
            start = _ANCHOR.match(text, scalar.start_mark.index).end()  # type: ignore[union-attr]  # may be empty
            end = scalar.end_mark.index
            change = Change(
                path=where, line=scalar.start_mark.line + 1, before=text[start:end], after=str(after)
            )
            if change.before != change.after:
                edits[start] = _Edit(start=start, end=end, change=change)
    ordered = [edits[start] for start in sorted(edits)]
    for edit in reversed(ordered):
        text = text[: edit.start] + edit.change.after + text[edit.end :]
    return mark + text.encode(), tuple(edit.change for edit in ordered)


def _wanted(root: yaml.Node | None, size: int) -> Iterator[tuple[KeyPath, yaml.Node, int]]:
    shape = _find(root, ("Global", "image_shape"))
    if shape is not None:
        yield ("Global", "image_shape"), shape, size
    for path in _CHAINS:
        chain = _find(root, path)
        ops = [_only_item(item) for item in chain.value] if isinstance(chain, yaml.SequenceNode) else []
        for index, (op, given) in enumerate(ops):
            key, after = _SIZES.get(op, ""), size
            if op == "ResizeImage":
                key, after = _resized(given, crop=_crop_behind(ops[index + 1 :]), size=size)
            if (found := _find(given, (key,))) is not None:
                yield (*path, index, op, key), found, after


def _resized(given: yaml.Node | None, *, crop: int | None, size: int) -> tuple[str, int]:
    before = _number(_find(given, ("resize_short",)))
    if before is None:
        return "size", size
    return "resize_short", round(before * size / crop) if crop else size


def _crop_behind(ops: list[tuple[str, yaml.Node | None]]) -> int | None:
    for op, given in ops:
        if op == "CropImage":
            found = _find(given, ("size",))
            return _number(found.value[0] if isinstance(found, yaml.SequenceNode) else found)
    return None


def _scalars(path: KeyPath, node: yaml.Node) -> list[tuple[KeyPath, yaml.Node]]:
    """Return the two sides of a list, which end [C, H, W], or the one that stands for both."""
    if not isinstance(node, yaml.SequenceNode):
        return [(path, node)]
    return [((*path, index), item) for index, item in enumerate(node.value)][-2:]


def _sides(node: yaml.Node) -> list[str]:
    return [str(item.value) for _, item in _scalars((), node)]


def _number(node: yaml.Node | None) -> int | None:
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    return int(text) if text.isdecimal() else None


def _find(node: yaml.Node | None, path: KeyPath) -> yaml.Node | None:
    for key in path:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node


def _only_item(node: yaml.Node) -> tuple[str, yaml.Node | None]:
    if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
        return "", None
    name, value = node.value[0]
    return str(name.value), value
