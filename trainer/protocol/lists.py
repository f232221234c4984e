"""List files, `path label` a line: the one reader, for training, `init`, `data push` and `make-lists`.

A list is read as a whole before anything is refused, so that a person sees every bad line at once, by its
number. The grammar is PaddleClas's, and looser than it looks:

* Between path and label stands one space, or the `delimiter` of the config. A path may hold spaces: where the
  part before the first space does not look like a file's name followed by a label, the line is split at its
  last space instead. PaddleClas itself breaks on such paths.
* What follows the label is left out, and said once.
* There is no quoting: a quote is a character of the path.
* White space around a line, a path and a label does not count; empty lines count as bad, but for those at the
  end. A byte-order mark and line ends of Windows are taken.
* Absolute paths are taken as they are. `..` is the file system's business.

Labels are one class (`ImageNetDataset`), a 0 or 1 for each class behind a tab (`MultiLabelDataset`), or none
(`CustomLabelDataset`). Why lines are parsed here and not by the csv module: it knows quotes, which these
files do not have, and gives neither the number of a line nor a sentence for a bad one.

Must not: know a config, or anything of images but whether their files are there.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.pathmap import PathMap
from trainer.protocol.untrusted import shown

MAX_BYTES = 2 << 30
"""Of a list: that of ImageNet-21k, of 14 million images, has half a gigabyte."""
_TO_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # each where it is known
_LABEL = re.compile(r"[+-]?[0-9]+")
_MAX_DIGITS = 18  # of a label that fits int64
_PLAIN = re.compile(rf"\S+ [0-9]{{1,{_MAX_DIGITS}}}\n")
_LOOKED_AT = 1000  # lines, where the grammar of a list is not known
_WORTH_A_LISTING = 16  # fewer files of a folder than this are asked for one by one
_SPELLINGS = (("\t", r'"\t"'), (",", '","'), (";", '";"'), (" ", '" "'))
LabelT = TypeVar("LabelT", int, tuple[int, ...])


class ListError(TrainerError):
    """A list cannot be read at all; bad lines are no error, but `ListFile.problems`."""

    exit_code = Exit.DATA


class Labels(Enum):
    """What stands behind a path."""

    ONE = "a class, numbered from 0"
    FLAGS = "a tab, and a 0 or 1 for each class with commas between"
    NONE = "nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """How the lines of a list are read.

    Attributes:
        labels: What stands behind a path.
        delimiter: What stands between path and label; where None, a space, and nothing where there is no
            label. Not used for FLAGS.
        relabel: Number the labels anew from 0, in increasing order.
    """

    labels: Labels = Labels.ONE
    delimiter: str | None = None
    relabel: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ListFile:
    """A list as it was read. Item i of `names` and `labels` stands on line i + 1.

    Attributes:
        source: The file, as it was named.
        names: Paths; an empty text where the line is bad.
        labels: A class each (-1 where the line is bad), or a 0 or 1 for each class (empty where it is bad).
        problems: Number of a bad line, from 1 -> what is wrong with it.
        notes: What is unusual about its lines and no reason to refuse them: a sentence for each kind.
    """

    source: str
    names: list[str]
    labels: list[int] | list[tuple[int, ...]]
    problems: dict[int, str]
    notes: tuple[str, ...]

    def refusals(self) -> Iterator[str]:
        """Yield a sentence for each bad line, in their order, with its place."""
        return (f"{self.source}:{number}: {self.problems[number]}" for number in sorted(self.problems))


def read_list(
    source: str,
    grammar: Grammar,
    *,
    class_num: int | None = None,
    image_root: str | None = None,
    path_map: PathMap | None = None,
    absolute_elsewhere: bool = False,
) -> ListFile:
    """Read a list file and check its lines, and that the images are there.

    Args:
        source: The file.
        grammar: How its lines are read.
        class_num: Labels run from 0 to one below; where None, the first good line says how many flags the
            others have, and no label is too large.
        image_root: Folder that the paths are relative to; where None, no image is looked for.
        path_map: Applied to absolute paths.
        absolute_elsewhere: Do not look for images with an absolute path: they are in a pod's volume.

    Raises:
        ListError: It is no file, too large, empty, or not UTF-8.
    """
    text = _read_text(source)
    problems: dict[int, str] = {}
    odd = _Oddities(source)
    labels: list[int] | list[tuple[int, ...]]
    lines: list[str] = []
    plain = _read_plain(text, grammar)
    if plain is None:
        lines = _cut(text, source)
    del text
    if plain is not None:
        names, classes = plain
        _note_absolute(names, odd)
        _find_repeated(names, classes, problems, odd)
        if grammar.relabel:
            classes = _number_anew(classes, problems)
        if class_num is not None:
            _find_out_of_range(classes, class_num, problems)
        labels = classes
    elif grammar.labels is Labels.FLAGS:
        if class_num is None:
            count, why = _count_flags(lines), "as on the first line that is right"
        else:
            count, why = class_num, f"Arch.class_num is {class_num}: correct either"
        split_flags = partial(_split_flags, count=count, why=why)
        names, labels = _parse(lines, split_flags, problems, odd, nothing=())
        _find_repeated(names, labels, problems, odd)
    else:
        split = _split if grammar.labels is Labels.ONE else _split_path
        names, classes = _parse(lines, partial(split, delimiter=grammar.delimiter), problems, odd, nothing=-1)
        _find_repeated(names, classes, problems, odd)
        if grammar.relabel:
            classes = _number_anew(classes, problems)
        if class_num is not None and grammar.labels is Labels.ONE:
            _find_out_of_range(classes, class_num, problems)
        labels = classes
    if odd.absolute and path_map is not None:
        names = [path_map.apply(name) if name.startswith("/") else name for name in names]
    if image_root is not None:
        _find_missing(image_root, names, problems, skip_absolute=absolute_elsewhere)
    return ListFile(
        source=source, names=names, labels=labels, problems=problems, notes=tuple(odd.sentences())
    )


def guess_grammar(source: str) -> Grammar:
    """Return the grammar that refuses the fewest of a list's lines; for who has the list and no config.

    Where several do equally well, the earlier of: what the config needs to say nothing for, a tab, flags, a
    comma, a semicolon. No labels are meant only where every other grammar refuses every line, because a path
    alone can be read of any line.

    Raises:
        ListError: As `read_list`.
    """
    lines = _cut(_read_text(source), source)[:_LOOKED_AT]
    candidates = [
        Grammar(),
        Grammar(delimiter="\t"),
        Grammar(labels=Labels.FLAGS),
        Grammar(delimiter=","),
        Grammar(delimiter=";"),
    ]
    refused = [_count_refused(lines, grammar) for grammar in candidates]
    if min(refused) == len(lines):
        return Grammar(labels=Labels.NONE)
    return candidates[refused.index(min(refused))]


def describe_grammar(grammar: Grammar) -> str:
    """Say what a config must have to read such lists; an empty text where it needs to say nothing."""
    if grammar.labels is Labels.FLAGS:
        return "a path, a tab and a 0 or 1 for each class: the config needs a MultiLabelDataset"
    if grammar.labels is Labels.NONE:
        return "a path without a label: the config needs a CustomLabelDataset"
    if grammar.delimiter is None:
        return ""
    spelling = dict(_SPELLINGS).get(grammar.delimiter, shown(grammar.delimiter))
    return f"path and label with {spelling} between: the config needs `delimiter: {spelling}`"


def format_line(path: str, label: int) -> str:
    """Write a line as a list of `Grammar()` has it, without its end."""
    return f"{path} {label}"


def find_unlistable(path: str) -> str:
    """Say why no line of a list can hold a path; an empty text where one can."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "bytes that are not UTF-8"
    if "\n" in path or "\r" in path:
        return "a line break"
    if path != path.strip():
        return "white space at its beginning or end"
    try:
        again = _split(format_line(path, 0), None)
    except ValueError:
        again = None
    return "" if again == (path, 0, "") else "what reads as a path, a label and more"


@dataclass(slots=True)
class _Oddities:
    """What PaddleClas takes and a person may not have meant; the first line of each kind is shown."""

    source: str
    further: int = 0
    first_further: tuple[int, str] = (0, "")
    repeated: int = 0
    first_repeated: tuple[int, int] = (0, 0)
    absolute: int = 0
    first_absolute: int = 0

    def note_line(self, number: int, name: str, further: str) -> None:
        """Keep what is odd about a line that was read: its path, and what follows its label."""
        if further:
            self.first_further = self.first_further if self.further else (number, further)
            self.further += 1
        if name.startswith("/"):
            self.first_absolute = self.first_absolute or number
            self.absolute += 1

    def note_repeated(self, number: int, earlier: int) -> None:
        """Keep that a line says the same as an earlier one."""
        self.first_repeated = self.first_repeated if self.repeated else (number, earlier)
        self.repeated += 1

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each kind that there is."""
        if self.further:
            number, text = self.first_further
            yield (
                f"{self.source}:{number}: expected a path and a label, got a further field {shown(text)} "
                f"({_lines(self.further)} in all); such fields are left out, as PaddleClas does"
            )
        if self.repeated:
            number, earlier = self.first_repeated
            yield (
                f"{self.source}:{number}: expected each line once, got line {earlier} again "
                f"({_lines(self.repeated)} in all); their images count as often as they are listed"
            )
        if self.absolute:
            yield (
                f"{self.source}:{self.first_absolute}: expected a path relative to image_root, got an "
                f"absolute one ({_lines(self.absolute)} in all); a job needs a volume there (Launch.volumes)"
            )


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"


def _parse(
    lines: Sequence[str],
    split: Callable[[str], tuple[str, LabelT, str]],
    problems: dict[int, str],
    odd: _Oddities,
    *,
    nothing: LabelT,
) -> tuple[list[str], list[LabelT]]:
    names: list[str] = []
    labels: list[LabelT] = []
    for number, line in enumerate(lines, start=1):
        try:
            name, label, further = split(line)
        except ValueError as error:
            problems[number] = str(error)
            name, label, further = "", nothing, ""
        if further or name.startswith("/"):
            odd.note_line(number, name, further)
        names.append(name)
        labels.append(label)
    return names, labels


def _read_bounded(source: str) -> bytes:
    """Read a file, and neither wait for a pipe nor fill the memory from a device such as /dev/zero."""
    with os.fdopen(os.open(source, _TO_READ), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ListError(where=source, expected="a list file", got="a pipe, a socket or a device")
        if about.st_size > MAX_BYTES:
            expected = f"a list of at most {MAX_BYTES:,} bytes"
            raise ListError(where=source, expected=expected, got=f"{about.st_size:,}")
        return file.read(MAX_BYTES)


def _read_text(source: str) -> str:
    try:
        content = _read_bounded(source)
    except FileNotFoundError as error:
        raise ListError(
            where=source, expected="a list file", got="no such file", fix=f"{_make_lists(source)} one"
        ) from error
    except IsADirectoryError as error:
        raise ListError(where=source, expected="a list file", got="a folder") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ListError(f"expected a readable list file: {str(error).lower()}", where=source) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ListError(
            where=f"{source}:{number}", expected="UTF-8", got="other bytes", fix="save the list as UTF-8"
        ) from error


def _cut(text: str, source: str) -> list[str]:
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ListError(
            where=source, expected="'path label' lines", got="none", fix=f"{_make_lists(source)} them"
        )
    return lines


def _make_lists(source: str) -> str:
    """Say what writes a list where this one should be: `make-lists` writes into the folder of the images."""
    return f"`trainer make-lists {shlex.quote(str(Path(source).parent))}` writes"


# A line. Each function returns path, label and what follows them, or raises ValueError with the sentence: a
# problem is one of thousands of lines, and an exception with fields for each would take longer than reading.


def _split(line: str, delimiter: str | None) -> tuple[str, int, str]:
    separator = " " if delimiter is None else delimiter
    if not line:
        raise ValueError("expected 'path label', got a blank line; remove it")
    name, found, rest = line.partition(separator)
    text, _, further = rest.partition(separator)
    if separator == " " and further and not (_has_ending(name) and _LABEL.fullmatch(text)):
        # PaddleClas takes what follows the first space, and so breaks on a path that holds one. Here such a
        # path is read, as long as what stands before that space does not look like a whole file name.
        name, found, text = line.rpartition(" ")
        further = ""
    name, text = name.strip(), text.strip()
    if not found or "\t" in text:
        raise ValueError(f"expected 'path{separator}label', got {shown(line)}{_hint(line, separator)}")
    _refuse_name(name, line)
    if not _LABEL.fullmatch(text) or len(text) > _MAX_DIGITS:
        raise ValueError(f"expected a whole number as label, got {shown(text)}; classes are numbered from 0")
    return name, int(text), further.strip()


def _has_ending(name: str) -> bool:
    return "." in name.rpartition("/")[2][1:]


def _split_path(line: str, delimiter: str | None) -> tuple[str, int, str]:
    if not line:
        raise ValueError("expected a path, got a blank line; remove it")
    name = (line if delimiter is None else line.partition(delimiter)[0]).strip()
    _refuse_name(name, line)
    return name, 0, ""


def _split_flags(line: str, count: int | None, why: str) -> tuple[str, tuple[int, ...], str]:
    if not line:
        raise ValueError("expected 'path<tab>0,1,…', got a blank line; remove it")
    name, found, text = line.partition("\t")
    if not found:
        raise ValueError(f"expected a path, a tab and a 0 or 1 for each class, got {shown(line)}")
    name = name.strip()
    _refuse_name(name, line)
    flags, _, further = text.partition("\t")
    return name, _parse_flags(flags, count, why), further.strip()


def _parse_flags(text: str, count: int | None, why: str) -> tuple[int, ...]:
    fields = [field.strip() for field in text.split(",")]
    odd = [field for field in fields if field not in ("0", "1")]
    if odd:
        raise ValueError(f"expected 0 or 1 for each class, with commas between, got {shown(odd[0])}")
    if count is not None and len(fields) != count:
        raise ValueError(f"expected {count} labels, got {len(fields)}; {why}")
    return tuple(int(field) for field in fields)


def _count_flags(lines: Sequence[str]) -> int | None:
    return next((len(flags) for _, flags, _ in _good(lines, partial(_split_flags, count=None, why=""))), None)


def _count_refused(lines: Sequence[str], grammar: Grammar) -> int:
    if grammar.labels is Labels.FLAGS:
        return len(lines) - sum(1 for _ in _good(lines, partial(_split_flags, count=None, why="")))
    return len(lines) - sum(1 for _ in _good(lines, partial(_split, delimiter=grammar.delimiter)))


def _good(
    lines: Sequence[str], split: Callable[[str], tuple[str, LabelT, str]]
) -> Iterator[tuple[str, LabelT, str]]:
    for line in islice(lines, _LOOKED_AT):
        try:
            yield split(line)
        except ValueError:
            continue


def _refuse_name(name: str, line: str) -> None:
    if not name:
        raise ValueError(f"expected a path before the label, got {shown(line)}")
    if "\0" in name:
        raise ValueError(f"expected a path, got {shown(name)}")


def _hint(line: str, separator: str) -> str:
    for other, spelling in _SPELLINGS:
        if other != separator and other in line:
            return f"; is {spelling} the delimiter? then set `delimiter: {spelling}`"
    return "; the label is missing"


# All lines together.


def _read_plain(text: str, grammar: Grammar) -> tuple[list[str], list[int]] | None:
    """Return paths and classes of a list in which each line is a path, a space and a number; else None.

    Nearly all lists are so, and are read in a fifth of the time without a step of Python's for each line.
    What is taken here means the same to `_split`.
    """
    if grammar.labels is not Labels.ONE or grammar.delimiter not in (None, " "):
        return None
    text = text.rstrip().replace("\r\n", "\n") + "\n"
    # Nothing is left where such lines alone follow each other. One expression for all of the text would keep
    # a way back for each line.
    if "\0" in text or _PLAIN.sub("", text):
        return None
    words = text.split()
    return words[::2], [int(word) for word in words[1::2]]


def _note_absolute(names: Sequence[str], odd: _Oddities) -> None:
    for number, name in enumerate(names, start=1):
        if name[0] == "/":
            odd.note_line(number, name, "")


def _find_repeated(
    names: Sequence[str], labels: Sequence[LabelT], problems: dict[int, str], odd: _Oddities
) -> None:
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if number in problems:
            continue
        earlier = first.setdefault(name, number)
        if earlier == number:
            continue
        if labels[earlier - 1] == labels[number - 1]:
            odd.note_repeated(number, earlier)  # PaddleClas's FAQ advises to repeat the lines of rare classes
        else:
            problems[number] = (
                f"expected label {labels[earlier - 1]} as on line {earlier} for the same image, "
                f"got {labels[number - 1]}; remove the wrong line"
            )


def _number_anew(labels: Sequence[int], problems: dict[int, str]) -> list[int]:
    # In increasing order of the labels; PaddleClas numbers them in the order of a Python set.
    good = {label for number, label in enumerate(labels, start=1) if number not in problems}
    new = {label: index for index, label in enumerate(sorted(good))}
    return [new.get(label, -1) for label in labels]


def _find_out_of_range(labels: Sequence[int], class_num: int, problems: dict[int, str]) -> None:
    if labels and min(labels) >= 0 and max(labels) < class_num:
        return
    for number, label in enumerate(labels, start=1):
        if number not in problems and not 0 <= label < class_num:
            problems[number] = (
                f"expected a label from 0 to {class_num - 1}, got {label}; Arch.class_num is {class_num}: "
                "raise it or correct the label"
            )


def _find_missing(root: str, names: Sequence[str], problems: dict[int, str], *, skip_absolute: bool) -> None:
    folders: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names, start=1):
        if number not in problems and not (skip_absolute and name.startswith("/")):
            folder, slash, _ = name.rpartition("/")
            folders[folder or slash].append(number)  # the slash alone: an absolute one of the topmost folder
    for folder, wanted in folders.items():
        place = Path(root, folder)
        present = _files_in(place) if len(wanted) >= _WORTH_A_LISTING else frozenset()
        for number in wanted:
            leaf = names[number - 1].rpartition("/")[2]
            if leaf in present or os.path.isfile(place / leaf):  # noqa: PTH113 - bears a name that is too long
                continue
            got = "a folder" if os.path.isdir(place / leaf) else "no such file"  # noqa: PTH112
            hint = "; write / instead of \\" if "\\" in leaf else "; correct image_root or remove the line"
            problems[number] = f"expected an image file, got {got}: {str(place / leaf)!r}{hint}"


def _files_in(folder: Path) -> frozenset[str]:
    # One listing instead of a look-up an image: on a network disk that is minutes.
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()
