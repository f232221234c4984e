"""The card of an exported model: what it is, what it was trained and measured on, and what is not known.

Its parts are those of Mitchell et al., "Model Cards for Model Reporting" (2019). Numbers are those of an
evaluation's report (`evaluation_report`), where one was made of the same weights; nothing is measured here.
What only a person knows (what the model is for, where the images are from) is not guessed: it is said that it
is not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

CARD, CARD_JSON = "MODEL_CARD.md", "model_card.json"
SCHEMA = 1
_FEW = 30
"""Images of a class below which the interval of its recall is wider than a third."""
_POOR = 0.5
_UNEVEN = 10.0
_MOST_ROWS = 200
_SHOWN = 10
Numbers: TypeAlias = Mapping[str, Any]
"""Of a report.json, whose keys `evaluation_report` writes."""
Settings: TypeAlias = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class HashedFile:
    """A file, and what it held.

    Attributes:
        path: As it was named.
        sha256: Hexadecimal; None where it could not be read.
    """

    path: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ListFacts:
    """A list of images.

    Attributes:
        name: training or evaluation.
        file: The list file; the images themselves are not hashed.
        images: How many; None where the list cannot be read here.
        counts: Of each class; empty where images have not one class each.
        is_changed: Whether it held something else when the weights were trained.
    """

    name: str
    file: HashedFile
    images: int | None
    counts: tuple[int, ...] = ()
    is_changed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """All that a card is made of.

    Attributes:
        network: As in `Arch.name`.
        names: Of the classes, in the order of their numbers.
        input: What the model takes, in words.
        version: Of this program.
        made_at: ISO 8601.
        weights: That were exported.
        files: That were written.
        compared: Images on which the exported model was held against the trained one.
        largest: Largest difference of a logit there, as a share of the image's largest.
        lists: Training's and evaluation's.
        settings: That the weights were trained with, by dotted key; empty where that is not known.
        report: Of an evaluation of these weights; None where none was named.
        report_place: Where it lies.
    """

    network: str
    names: Sequence[str]
    input: str
    version: str
    made_at: str
    weights: HashedFile
    files: Sequence[HashedFile]
    compared: int
    largest: float
    lists: Sequence[ListFacts]
    settings: Settings
    report: Numbers | None = None
    report_place: str = ""


def write_json(facts: CardFacts) -> bytes:
    """Return model_card.json: all facts, limits, and what is not known."""
    document = {
        "schema": SCHEMA, "kind": "model-card", **asdict(facts), "limits": list(find_limits(facts)),
        "not_known": list(find_unknown(facts)),
    }  # fmt: skip
    return (json.dumps(document, ensure_ascii=True, indent=1) + "\n").encode()


def write_markdown(facts: CardFacts) -> bytes:
    """Return MODEL_CARD.md."""
    lines = [
        f"# {facts.network}, {len(facts.names)} classes", "",
        *_table(
            ("what", "value"),
            [
                ("network", facts.network), ("input", facts.input), ("weights", facts.weights.path),
                ("SHA-256 of the weights", facts.weights.sha256 or "not known"),
                ("exported", f"{facts.made_at}, by ftlaunch {facts.version}"),
                ("held against the trained model", _compared(facts)),
                *((f"SHA-256 of {file.path}", file.sha256 or "not known") for file in facts.files),
            ],
        ),
        "", "## Classes", "",
        ", ".join(f"{number} {_cell(name)}" for number, name in enumerate(facts.names)),
        "", "## Data", "", *_data(facts),
        "", "## Results", "", *_results(facts),
        "", "## Limits", "", *(f"- {_cell(line)}" for line in find_limits(facts)),
        "", "## What is not known", "", *(f"- {_cell(line)}" for line in find_unknown(facts)),
        "", "## Training", "", *_training(facts), "",
    ]  # fmt: skip
    return "\n".join(lines).encode("utf-8", "backslashreplace")


def find_limits(facts: CardFacts) -> Iterator[str]:
    """Yield what should be known before the model is relied on, a sentence each."""
    if facts.report is None or "subset_accuracy" not in facts.report:
        yield (
            f"It answers one of its {len(facts.names)} classes to any image, also to one that shows none of "
            "them."
        )
    changed = [listed.name for listed in facts.lists if listed.is_changed]
    if changed:
        yield (
            f"The {' and '.join(changed)} list{'s have' if len(changed) > 1 else ' has'} changed since the "
            "training: images, classes and SHA-256 above are of now, and what it was trained on may be among "
            "what it was measured with."
        )
    for listed in facts.lists:
        present = [count for count in listed.counts if count]
        empty = [facts.names[k] for k, count in enumerate(listed.counts) if not count]
        if empty:
            yield f"No image of the {listed.name} list is of: {_some(empty)}."
        if present and max(present) >= _UNEVEN * min(present):
            yield (
                f"The classes of the {listed.name} list are out of balance: from {min(present)} to "
                f"{max(present)} images."
            )
    report = facts.report
    if report is None:
        return
    scores = [of for of in report.get("classes", ()) if isinstance(of, Mapping)]
    few = [facts.names[of["label"]] for of in scores if 0 < of.get("support", 0) < _FEW]
    if few:
        yield f"Measured on fewer than {_FEW} images of each of: {_some(few)}; their numbers are rough."
    poor = [facts.names[of["label"]] for of in scores if _value(of.get("recall")) < _POOR]
    if poor:
        yield f"Fewer than half of the images are found of: {_some(poor)}."
    if report.get("unreadable"):
        yield f"{report['unreadable']} images of the evaluation could not be read and are not counted."
    floor, accuracy = report.get("largest_class"), report.get("accuracy")
    if isinstance(floor, float) and isinstance(accuracy, Mapping) and accuracy["low"] <= floor:
        yield "It cannot be told from always answering the largest class."


def find_unknown(facts: CardFacts) -> Iterator[str]:
    """Yield what nobody has said, a sentence each."""
    yield "What it is meant for, and for whom, and what it must not be used for."
    yield "Where the images are from, under which licence, and who labelled them."
    yield "How it does on images of other places, cameras and times than those of the lists."
    if facts.report is None:
        yield (
            "How good it is: no evaluation of these weights was named. `trainer eval --report FOLDER` makes "
            "one, and `trainer export --card --report FOLDER` takes its numbers."
        )
    if not facts.settings:
        yield "What it was trained with: no settings lie beside the weights."
    for listed in facts.lists:
        if listed.file.sha256 is None:
            yield f"What the {listed.name} list held: {listed.file.path} cannot be read here."
    if not any(listed.name == "evaluation" for listed in facts.lists):
        yield "What it would be evaluated on: the config names no list."
    if not facts.compared:
        yield "Whether the exported model answers as the trained one: they were not compared."


def _compared(facts: CardFacts) -> str:
    if not facts.compared:
        return "no"
    return f"on {facts.compared} images; logits differ by at most {facts.largest:.1e} of their size"


def _data(facts: CardFacts) -> Iterator[str]:
    yield from _table(
        ("list", "file", "images", "SHA-256 of the list"),
        [
            (
                listed.name, listed.file.path, "not known" if listed.images is None else str(listed.images),
                listed.file.sha256 or "not known",
            )
            for listed in facts.lists
        ],
    )  # fmt: skip
    yield ""
    yield "The images themselves are not hashed."


def _training(facts: CardFacts) -> Iterator[str]:
    if not facts.settings:
        yield "Not known: no settings lie beside the weights."
        return
    told = {
        key: value for key, value in facts.settings.items() if value is not None and "\n" not in str(value)
    }
    yield from _table(("setting", "value"), [(key, str(value)) for key, value in told.items()])


def _results(facts: CardFacts) -> Iterator[str]:
    report = facts.report
    if report is None:
        yield "Not known: no evaluation of these weights was named."
        return
    yield _cell(f"Of {report.get('images')} images of {report.get('listed')} ({facts.report_place}).")
    yield ""
    rows = [(key.replace("_", " "), _percent(report.get(key))) for key in (
        "accuracy", "top5", "balanced_accuracy", "macro_f1", "largest_class", "chance",
        "mean_average_precision", "micro_f1", "subset_accuracy",
    ) if report.get(key) is not None]  # fmt: skip
    if rows:
        yield from _table(("measure", "value, and where it lies for 95 of 100 such lists"), rows)
        yield ""
    scores = [of for of in report.get("classes", ()) if isinstance(of, Mapping)]
    yield from _table(
        ("class", "images", "recall", "precision", "F1"),
        [
            (
                facts.names[of["label"]], str(of.get("support")), _percent(of.get("recall")),
                _percent(of.get("precision")), _percent(of.get("f1")),
            )
            for of in scores[:_MOST_ROWS]
        ],
    )  # fmt: skip
    if len(scores) > _MOST_ROWS:
        yield ""
        yield f"And {len(scores) - _MOST_ROWS} more classes, which {CARD_JSON} has."
    thresholds = [of for of in report.get("thresholds") or () if isinstance(of, Mapping)]
    if thresholds:
        yield ""
        yield "### Thresholds"
        yield ""
        yield from _table(
            ("wrong answers that are borne", "accept from a probability of", "accepted", "wrong of these"),
            [
                (
                    _percent(of["target"]),
                    "none" if of.get("threshold") is None else f"{of['threshold']:.3f}",
                    _percent(of.get("accepted")), _percent(of.get("wrong")),
                )
                for of in thresholds
            ],
        )  # fmt: skip
    yield from _class_thresholds(facts, report)
    calibration = report.get("calibration")
    if isinstance(calibration, Mapping):
        yield ""
        yield (
            f"Its probabilities are off by {_percent(calibration.get('error'))} on average; dividing logits "
            f"by {calibration.get('temperature', 1.0):.3g} makes them fit best."
        )


def _class_thresholds(facts: CardFacts, report: Numbers) -> Iterator[str]:
    """Yield from which probability on to name each class, where an image may be of several."""
    found = [of for of in report.get("class_thresholds") or () if isinstance(of, Mapping)]
    if not found:
        return
    yield from ("", "### Thresholds", "", "From these on the F1 of each class was largest on that list.", "")
    yield from _table(
        ("class", "name it from a probability of", "recall", "precision", "F1"),
        [
            (
                facts.names[of["label"]], "none" if of.get("threshold") is None else f"{of['threshold']:.3f}",
                _percent(of.get("recall")), _percent(of.get("precision")), _percent(of.get("f1")),
            )
            for of in found[:_MOST_ROWS]
        ],
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    """Return a text that neither ends its cell nor is taken for a tag."""
    plain = " ".join(text.split())
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _percent(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{100 * value['value']:.1f} % ({100 * value['low']:.1f} to {100 * value['high']:.1f})"
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else "not known"


def _value(found: object) -> float:
    return float(found["value"]) if isinstance(found, Mapping) else 1.0


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
