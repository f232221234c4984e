"""What is wrong with the lists and images of a data set, and what is odd about them.

A *problem* makes a training or its numbers wrong: an image that cannot be read, one in two lists, one
picture with two labels, a class that is measured and not trained. An *oddity* is what a person should look
at: dark, blurred, of one colour. Problems decide what a cleaned list leaves out and what a check exits with;
oddities never do, because a data set may be of dark pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer.config.list_doubts import UNBALANCED
from trainer.data.image_cache import Verdict
from trainer.insight.duplicates import Duplicates, find_duplicates
from trainer.insight.image_facts import FACTS, Facts
from trainer.insight.label_doubts import LabelDoubts
from trainer.protocol.lists import ListFile

_DARK, _BRIGHT, _PLAIN, _PLAIN_DARK = 25.0, 240.0, 5.0, 1.5
"""Bounds of brightness and contrast, of 255."""
_PLAIN_FURTHER = 2.0
"""An image of some contrast is plain only so many deviations below the set's median."""
_EXTREME_ASPECT = 4.0
_ENLARGED = 2.0
"""Times that an image is enlarged to fill the crop."""
_BLURRED_BELOW, _BLURRED_FURTHER = 20.0, 3.5
"""An image is blurred whose sharpness is below the first, and this many deviations below the set's median."""
_FEW_GREY, _FEW_TURNED = 0.1, 0.5
_GREY = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A list and what its images were found to be.

    Attributes:
        name: What it is for: training, evaluation, or a list's file name.
        listed: The list as it was read.
        paths: Image files; item i stands on line i + 1. Empty where the line is bad.
    """

    name: str
    listed: ListFile
    paths: Sequence[str]

    def place(self, index: int) -> str:
        """Say where a sample stands, such as `train_list.txt:17`."""
        return f"{self.listed.source}:{index + 1}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One line of a list."""

    split: str
    place: str
    path: str
    label: int

    @property
    def named(self) -> str:
        """The line and its image, if it names one: `train_list.txt:3: ball/001.jpg`."""
        return f"{self.place}: {self.path}" if self.path else self.place


Group: TypeAlias = tuple[Sample, ...]
"""Samples that belong together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        kind: A word for programs, such as `in-two-lists`.
        is_problem: It makes a training or its numbers wrong.
        title: A sentence for people, with the count.
        fix: What to do.
        groups: Samples that belong together; single ones are groups of one. At most `MAX_GROUPS`.
        count: Samples in all.
        details: A sentence for a group, by its place in `groups`, where there is more to say.
    """

    kind: str
    is_problem: bool
    title: str
    fix: str
    count: int
    groups: tuple[Group, ...] = ()
    details: Mapping[int, str] = field(default_factory=dict)


MAX_GROUPS = 200
"""Of a finding; the number of all is in its title."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCount:
    """A class, and how many samples of each split are of it; with several labels a sample counts in each."""

    label: int
    name: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataHealth:
    """What a data report says.

    Attributes:
        splits: Samples of each list, by name.
        classes: In the order of their labels; empty where lists have none.
        sizes: Width and height of the readable images, [N, 2] pixels, each file once.
        crop: Width and height that a training makes of them; None where that is not known.
        findings: Problems first, those of most samples first.
        leave_out: By split, places (from 0) of the lines that a cleaned list leaves out.
    """

    splits: Mapping[str, int]
    classes: tuple[ClassCount, ...]
    sizes: NDArray[np.uint32]
    crop: tuple[int, int] | None
    findings: tuple[Finding, ...]
    leave_out: Mapping[str, frozenset[int]]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Those that make a training or its numbers wrong."""
        return tuple(finding for finding in self.findings if finding.is_problem)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListDoubts:
    """What a small classifier thinks of the labels of lists.

    Attributes:
        lines: Split and place of each label that was looked at; rows of `found` count these.
        found: What it thinks.
    """

    lines: Sequence[tuple[int, int]]
    found: LabelDoubts


def examine(
    splits: Sequence[Split], verdicts: Mapping[str, Verdict], records: Mapping[str, bytes], *,
    names: Sequence[str] = (), crop: tuple[int, int] | None = None, doubts: ListDoubts | None = None,
) -> DataHealth:  # fmt: skip
    """Say what is wrong with lists and images.

    Args:
        splits: In the order of their importance: of an image in two lists, the first list's is left out.
        verdicts: On every path.
        records: Of `FACTS`, of every path that is readable.
        names: Of the classes, by label; what is missing is called by its number.
        crop: Width and height that a training makes of the images.
        doubts: What is thought of the labels; None where that was not asked for.
    """
    return _Examination(splits, verdicts, records, names, crop).run(doubts)


class _Examination:
    """The lines of all lists and the distinct files that they name."""

    def __init__(
        self, splits: Sequence[Split], verdicts: Mapping[str, Verdict], records: Mapping[str, bytes],
        names: Sequence[str], crop: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        self._splits, self._verdicts, self._names, self._crop = splits, verdicts, names, crop
        self._files = list(records)
        self._facts: Facts = np.frombuffer(b"".join(records.values()), dtype=FACTS)
        self._lines: dict[str, list[tuple[int, int]]] = {}  # path -> (split, place)
        for number, split in enumerate(splits):
            for place, path in enumerate(split.paths):
                if path:
                    self._lines.setdefault(path, []).append((number, place))
        self._leave_out: list[set[int]] = [set() for _ in splits]
        self._findings: list[Finding] = []

    def run(self, doubts: ListDoubts | None) -> DataHealth:
        self._bad_lines()
        self._unreadable()
        duplicates = find_duplicates(self._facts)
        self._copies(duplicates)
        classes = self._count_classes()
        self._classes(classes)
        self._odd()
        if doubts is not None:
            self._doubts(doubts)
        ordered = sorted(self._findings, key=lambda finding: (not finding.is_problem, -finding.count))
        return DataHealth(
            splits={split.name: len(split.paths) for split in self._splits},
            classes=tuple(classes),
            sizes=np.stack([self._facts["width"], self._facts["height"]], axis=1),
            crop=self._crop,
            findings=tuple(ordered),
            leave_out={
                split.name: frozenset(places)
                for split, places in zip(self._splits, self._leave_out, strict=True)
            },
        )

    # Lines and files

    def _bad_lines(self) -> None:
        groups: list[Group] = []
        details: dict[int, str] = {}
        for number, split in enumerate(self._splits):
            for line, reason in sorted(split.listed.problems.items()):
                details[len(groups)] = reason
                groups.append((self._sample(number, line - 1),))
                self._leave_out[number].add(line - 1)
        self._note(
            "bad-lines", groups, "lines that cannot be used", "correct or remove the lines", details=details
        )

    def _unreadable(self) -> None:
        groups: list[Group] = []
        warned: list[Group] = []
        details: dict[int, str] = {}
        warnings: dict[int, str] = {}
        for path, lines in self._lines.items():
            verdict = self._verdicts[path]
            samples = tuple(self._sample(*line) for line in lines)
            if verdict.problem:
                details[len(groups)] = verdict.problem
                groups.append(samples)
                for number, place in lines:
                    self._leave_out[number].add(place)
            elif verdict.warning:
                warnings[len(warned)] = verdict.warning
                warned.append(samples)
        self._note(
            "unreadable", groups, "images that cannot be read",
            "leave them out, or train with `bad_images: skip`", details=details,
        )  # fmt: skip
        self._note(
            "damaged", warned, "damaged images", "make them anew if you can",
            details=warnings, is_problem=False,
        )  # fmt: skip

    # Copies

    def _copies(self, duplicates: Duplicates) -> None:
        two_labels: list[Group] = []
        two_lists: list[Group] = []
        repeated: list[Group] = []
        near_labels: list[Group] = []
        of_exact = {file: group for group in duplicates.exact for file in group}
        for group in [*duplicates.exact, *duplicates.near, *self._listed_twice()]:
            lines = [line for file in group for line in self._lines[self._files[file]]]
            is_exact = len(group) == 1 or of_exact.get(group[0]) == group
            samples = tuple(self._sample(*line) for line in lines)
            if len({self._label(*line) for line in lines}) > 1:
                (two_labels if is_exact else near_labels).append(samples)
                if is_exact:
                    for number, place in lines:
                        self._leave_out[number].add(place)
            lists = {number for number, _ in lines}
            if len(lists) > 1:
                two_lists.append(samples)
                last = max(lists)  # the evaluation keeps its images, so that its numbers stay comparable
                for number, place in lines:
                    if number != last:
                        self._leave_out[number].add(place)
            elif is_exact and len({self._label(*line) for line in lines}) == 1:
                repeated.append(samples)
        self._note(
            "two-labels", two_labels, "one picture with two labels",
            "decide which label is right; a cleaned list leaves them out",
        )  # fmt: skip
        self._note(
            "in-two-lists", two_lists, "images that are in two lists, or look like one of the other",
            "leave them out of the training list: what is trained on cannot measure the model",
        )  # fmt: skip
        self._note(
            "copies", repeated, "copies within one list", "they count as often as they are listed",
            is_problem=False,
        )  # fmt: skip
        self._note(
            "two-labels-near", near_labels, "images that look like one of another class",
            "look at them: one of the labels may be wrong", is_problem=False,
        )  # fmt: skip
        if duplicates.alike:
            self._findings.append(
                Finding(
                    kind="alike", is_problem=False, count=len(self._files),
                    title="the pictures look so alike that near copies cannot be told from others",
                    fix="only files of the same bytes were compared between the lists",
                )
            )  # fmt: skip

    def _listed_twice(self) -> list[tuple[int, ...]]:
        """Return the files that several lines name, each alone: its lines are what is there twice."""
        return [(file,) for file, path in enumerate(self._files) if len(self._lines[path]) > 1]

    # Classes

    def _count_classes(self) -> list[ClassCount]:
        counted: dict[int, dict[str, int]] = {}
        for split in self._splits:
            for place, path in enumerate(split.paths):
                for label in classes_of(split.listed, place) if path else ():
                    of = counted.setdefault(label, {})
                    of[split.name] = of.get(split.name, 0) + 1
        return [
            ClassCount(label=label, name=self._name(label), counts=counted[label])
            for label in sorted(counted)
        ]

    def _classes(self, classes: Sequence[ClassCount]) -> None:
        if len(classes) < 2 or not self._splits:
            return
        first = self._splits[0].name
        untrained = [of for of in classes if not of.counts.get(first)]
        if untrained:
            named = _shown([of.name for of in untrained])
            self._findings.append(
                Finding(
                    kind="untrained-classes", is_problem=True, count=len(untrained),
                    title=f"classes without an image of {first}: {named}",
                    fix="add images of them, or leave the classes out",
                )
            )  # fmt: skip
        for split in self._splits[1:]:
            unmeasured = [of for of in classes if of.counts.get(first) and not of.counts.get(split.name)]
            if unmeasured:
                named = _shown([of.name for of in unmeasured])
                self._findings.append(
                    Finding(
                        kind="unmeasured-classes", is_problem=False, count=len(unmeasured),
                        title=f"classes without an image of {split.name}: {named}",
                        fix="hold some of their images out, or nothing is known about them",
                    )
                )  # fmt: skip
        counts = sorted(((of.counts[first], of.name) for of in classes if of.counts.get(first)), reverse=True)
        if counts and counts[0][0] >= UNBALANCED * counts[-1][0]:
            (most, largest), (fewest, smallest) = counts[0], counts[-1]
            self._findings.append(
                Finding(
                    kind="unbalanced", is_problem=False, count=len(counts),
                    title=f"classes are out of balance: {most} images of {largest}, {fewest} of {smallest}",
                    fix="look at each class's own accuracy, and collect more of the small ones",
                )
            )  # fmt: skip

    def _doubts(self, doubts: ListDoubts) -> None:
        found = doubts.found
        if found.why_not:
            self._findings.append(
                Finding(
                    kind="label-doubts-unknown", is_problem=False, count=len(doubts.lines),
                    title=f"whether labels are wrong is not known: {found.why_not}",
                    fix="train first: `trainer eval --report` doubts labels by what the network has learnt",
                )
            )  # fmt: skip
            return
        groups: list[Group] = []
        details: dict[int, str] = {}
        for suspect in found.suspects:
            details[len(groups)] = f"looks like {self._name(suspect.instead)}"
            groups.append((self._sample(*doubts.lines[suspect.row]),))
        self._note(
            "label-doubts", groups,
            f"labels that may be wrong, the most doubtful first (about {found.estimated} by estimate; a "
            f"small classifier that has not seen them agrees with {100 * found.agreement:.0f} % of all)",
            "look at them: a doubt is no verdict, and a cleaned list keeps them",
            details=details, is_problem=False,
        )  # fmt: skip

    # Oddities

    def _odd(self) -> None:
        facts = self._facts
        if len(facts) == 0:
            return
        plain = self._is_plain()
        width, height = facts["width"].astype(np.float64), facts["height"].astype(np.float64)
        aspect = np.maximum(width, height) / np.maximum(1, np.minimum(width, height))
        usual = np.median(aspect)
        self._odd_ones("plain", plain, "of one colour only", "are they meant?")
        self._odd_ones(
            "dark", ~plain & (facts["brightness"] < _DARK), "very dark", "can you see what they show?"
        )
        self._odd_ones(
            "bright",
            ~plain & (facts["brightness"] > _BRIGHT),
            "very bright",
            "can you see what they show?",
        )
        self._odd_ones("blurred", ~plain & self._is_blurred(), "blurred", "can you see what they show?")
        self._odd_ones(
            "narrow", aspect > max(_EXTREME_ASPECT, _EXTREME_ASPECT / 2 * usual),
            "very long or very wide", "a crop shows a small part of them",
        )  # fmt: skip
        self._odd_ones(
            "cmyk", facts["mode"] == b"CMYK", "in colours for printing (CMYK)",
            "OpenCV and Pillow read them as different colours: convert them to RGB",
        )  # fmt: skip
        self._odd_ones(
            "turned", facts["turned"], "turned by their EXIF data",
            "OpenCV turns them, Pillow does not: store them turned",
        )  # fmt: skip
        self._odd_ones("frames", facts["frames"] > 1, "with several frames", "only the first one is read")
        grey = ~plain & (facts["colour"] < _GREY)
        if grey.mean() <= _FEW_GREY:
            self._odd_ones("grey", grey, "without colour, unlike most others", "is that a trait of a class?")
        if self._crop is not None:
            crop_width, crop_height = self._crop
            enlarged = np.maximum(crop_width / np.maximum(1, width), crop_height / np.maximum(1, height))
            self._odd_ones(
                "small", enlarged > _ENLARGED,
                f"enlarged more than {_ENLARGED:.0f} times to {crop_width} × {crop_height}",
                "train at a smaller size: `trainer resize`",
            )  # fmt: skip

    def _is_plain(self) -> NDArray[np.bool_]:
        """Find images without contrast. Where a set is of plain surfaces, little contrast is its nature."""
        contrast = self._facts["contrast"].astype(np.float64)
        logs = np.log(np.maximum(contrast, 1e-3))
        median = np.median(logs)
        deviation = max(1.4826 * float(np.median(np.abs(logs - median))), 0.1)
        stands_out = logs < median - _PLAIN_FURTHER * deviation
        # What is dark has little contrast, whatever it shows.
        bound = np.where(self._facts["brightness"] < _DARK, _PLAIN_DARK, _PLAIN)
        found: NDArray[np.bool_] = (contrast < _PLAIN_DARK) | ((contrast < bound) & stands_out)
        return found

    def _is_blurred(self) -> NDArray[np.bool_]:
        sharpness = np.log(np.maximum(self._facts["sharpness"].astype(np.float64), 1e-3))
        median = np.median(sharpness)
        deviation = max(1.4826 * float(np.median(np.abs(sharpness - median))), 0.1)  # as of a normal spread
        found: NDArray[np.bool_] = (self._facts["sharpness"] < _BLURRED_BELOW) & (
            sharpness < median - _BLURRED_FURTHER * deviation
        )
        return found

    def _odd_ones(self, kind: str, odd: NDArray[np.bool_], said: str, fix: str) -> None:
        groups = [
            tuple(self._sample(*line) for line in self._lines[self._files[file]])
            for file in np.flatnonzero(odd).tolist()
        ]
        self._note(kind, groups, said, fix, is_problem=False)

    # Words

    def _note(
        self, kind: str, groups: Sequence[Group], said: str, fix: str, *,
        is_problem: bool = True, details: Mapping[int, str] | None = None,
    ) -> None:  # fmt: skip
        if not groups:
            return
        count = sum(len(group) for group in groups)
        together = "" if all(len(group) == 1 for group in groups) else f" in {_count_groups(groups)}"
        shown = {place: text for place, text in (details or {}).items() if place < MAX_GROUPS}
        self._findings.append(
            Finding(
                kind=kind, is_problem=is_problem, title=f"{said}: {count}{together}",
                fix=fix, count=count, groups=tuple(groups[:MAX_GROUPS]), details=shown,
            )
        )  # fmt: skip

    def _sample(self, number: int, place: int) -> Sample:
        split = self._splits[number]
        return Sample(
            split=split.name, place=split.place(place), path=split.paths[place],
            label=self._label(number, place),
        )  # fmt: skip

    def _label(self, number: int, place: int) -> int:
        """Return a sample's class; of several labels their number in binary, which tells sets apart."""
        listed = self._splits[number].listed
        label = listed.labels[place]
        return label if isinstance(label, int) else sum(1 << k for k in classes_of(listed, place))

    def _name(self, label: int) -> str:
        return self._names[label] if 0 <= label < len(self._names) else f"class {label}"


def classes_of(listed: ListFile, place: int) -> list[int]:
    """Return the classes of the sample at a place of a list, counted from 0."""
    label = listed.labels[place]
    return [label] if isinstance(label, int) else [k for k, one in enumerate(label) if one]


def _count_groups(groups: Sequence[Group]) -> str:
    """Write `3 pairs`, or `2 groups` where one has more than two."""
    word = "pair" if all(len(group) == 2 for group in groups) else "group"
    return f"{len(groups)} {word}{'s' * (len(groups) != 1)}"


def _shown(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
