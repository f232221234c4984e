"""Write the reference pages from the code: `make reference`. A test holds that they are current.

python docs/reference/generate.py [FOLDER]
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import ftlaunch
from launcher.cli.main import group as launcher_group
from launcher.config.launch import LaunchSection
from launcher.errors import CLI_MEANINGS
from trainer.cli.main import group as trainer_group
from trainer.config.archs import ARCHS
from trainer.config.data import BATCH_OPS, DATASETS
from trainer.config.infer import POST_PROCESSES
from trainer.config.losses import LOSSES
from trainer.config.metrics import METRICS
from trainer.config.ops import OPS
from trainer.config.optimizers import OPTIMIZERS
from trainer.config.registry import Registry
from trainer.config.root import TrainConfig
from trainer.config.samplers import SAMPLERS
from trainer.config.schedules import SCHEDULES
from trainer.config.schema import json_schema
from trainer.protocol.exits import MEANINGS as TRAINER_MEANINGS

HERE = Path(__file__).resolve().parent
_HEAD = "<!-- Made by `make reference`: change the code, not this page. -->\n"
_WIDTH = 100
_REGISTRIES = {
    "Arch": ARCHS,
    "Datasets": DATASETS,
    "Samplers": SAMPLERS,
    "Operations on an image": OPS,
    "Operations on a batch": BATCH_OPS,
    "Losses": LOSSES,
    "Metrics": METRICS,
    "Optimizers": OPTIMIZERS,
    "Learning rates": SCHEDULES,
    "Post-processing": POST_PROCESSES,
}
"""Headings, and what may be named there."""


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    return {
        "cli.md": "\n".join(_cli()),
        "launch.md": "\n".join(_launch()),
        "documents.md": "\n".join(_documents()),
        "python.md": "\n".join(_python()),
        "grammar.md": "\n".join(_grammar()),
        "exit-codes.md": "\n".join(_exit_codes()),
    }


def _cli() -> Iterator[str]:
    yield "# Every command and option"
    yield f"\n{_HEAD}\nThe answers of `--help`. [Commands](../commands.md) explains what belongs together.\n"
    for program, group in (("ftlaunch", launcher_group), ("trainer", trainer_group)):
        for words, command in _commands(group, (program,)):
            context = None
            for word in words:
                context = click.Context(command, info_name=word, parent=context, max_content_width=_WIDTH)
                context.terminal_width = _WIDTH
            assert context is not None
            yield f"## {' '.join(words)}\n"
            yield f"```text\n{command.get_help(context).rstrip()}\n```\n"


def _commands(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _commands(found, (*words, name))


def _launch() -> Iterator[str]:
    schema = LaunchSection.model_json_schema()
    yield "# Every key of Launch"
    yield f"\n{_HEAD}\n[The config](../config.md#launch) explains them, with examples.\n"
    yield from _keys("Launch", schema)
    for name, part in schema.get("$defs", {}).items():
        if part.get("type") == "object":
            yield from _keys(name.removesuffix("Section"), part)


def _keys(title: str, schema: dict[str, Any], *, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {title}\n"
    if text := schema.get("description"):
        yield (text if level > 2 else _line(text.partition("\n\n")[0])) + "\n"
    if not schema.get("properties"):
        return
    yield "| key | kind | default | |\n|---|---|---|---|"
    required = set(schema.get("required", ()))
    for name, part in schema.get("properties", {}).items():
        default = part.get("default")
        shown = "must be given" if name in required else "" if default is None else f"`{json.dumps(default)}`"
        yield f"| `{name}` | {_kind(part)} | {shown} | {_line(part.get('description', ''))} |"
    yield ""


def _kind(part: dict[str, Any]) -> str:
    """Say in a few words what a part of a schema takes."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2].removesuffix("Section")
        return f"[{name}](#{name.lower()})"
    if options := part.get("anyOf") or part.get("oneOf") or part.get("allOf"):
        return " or ".join(dict.fromkeys(_kind(option) for option in options if option.get("type") != "null"))
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{json.dumps(part['const'])}`"
    kinds = part.get("type", "any")
    listed = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    if listed == ["array"]:
        return f"list of {_kind(part.get('items', {}))}"
    bounds = [f"{sign} {part[key]}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in part]
    return f"{' or '.join(listed)}{' ' * bool(bounds)}{' and '.join(bounds)}"


def _grammar() -> Iterator[str]:
    yield "# Every key and name of a config"
    yield (
        f"\n{_HEAD}\nOf a PaddleClas config, as the trainer reads it; [`Launch`](launch.md) has its own page."
        " A parameter that is not here is refused in a named item and warned of in a section."
        " [The config](../config.md) explains how the parts fit together.\n"
    )
    definitions = json_schema(TrainConfig)["$defs"]
    named = {spec.__name__ for registry in _REGISTRIES.values() for spec in registry}
    sections = [name for name in definitions if name not in named]
    places = [
        ("Sections", [(name.removesuffix("Section"), definitions[name]) for name in sections]),
        *((title, list(_named(registry))) for title, registry in _REGISTRIES.items()),
    ]
    for title, items in places:
        yield f"## {title}\n"
        for name, schema in items:
            yield from _keys(name, schema, level=3)


def _named(registry: Registry) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each spec under its class's name, with all names of a config that lead to it in the text."""
    for spec in registry:
        schema = spec.model_json_schema(by_alias=True)
        names = [name for name in spec.known_names() if name != spec.__name__]
        text = _line((schema.get("description") or "").partition("\n\n")[0])
        if names:
            text = f"{text}\n\nNames: {', '.join(f'`{name}`' for name in names)}."
        yield spec.__name__, {**schema, "description": text}


def _exit_codes() -> Iterator[str]:
    yield "# Every exit code"
    yield f"\n{_HEAD}"
    for program, meanings in (("ftlaunch", CLI_MEANINGS), ("trainer, and a job's pods", TRAINER_MEANINGS)):
        yield f"\n## {program}\n\n| exit code | what it means |\n|---|---|"
        for code, meaning in meanings.items():
            yield f"| {int(code)} | {_line(meaning)} |"
    yield (
        "\n`ftlaunch exec` and `ftlaunch logs -f` end as what they follow ended. Codes of a pod above 128 are"
        " signals: 137 is 9, by which the kernel ends what has used up its memory."
    )


def _documents() -> Iterator[str]:
    yield "# What commands print for programs"
    yield f"\n{_HEAD}\nWith `--output json`; [what is promised](../commands.md#for-programs).\n"
    for path in sorted((HERE.parent / "schemas").glob("*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        name = path.name.removesuffix(".schema.json")
        yield f"## {name}\n\n{_line(schema.get('description', ''))} [Schema](../schemas/{path.name})\n"
        properties = schema.get("properties")
        if not properties:
            continue
        yield "| key | kind | always there | |\n|---|---|---|---|"
        required = set(schema.get("required", ()))
        for key, part in properties.items():
            kind = re.sub(r"\[(\w+)\]\(#\w+\)", r"\1", _kind(part))
            there = "yes" if key in required else ""
            yield f"| `{key}` | {kind} | {there} | {_line(part.get('description', ''))} |"
        yield ""


def _python() -> Iterator[str]:
    yield "# Every function and class"
    yield f"\n{_HEAD}\nOf `import ftlaunch`. [From Python](../python.md) begins with examples.\n"
    for name in sorted(
        ftlaunch.__all__, key=lambda name: (not callable(getattr(ftlaunch, name)), name.lower())
    ):
        value = getattr(ftlaunch, name)
        if inspect.isclass(value):
            yield from _class(name, value)
        elif callable(value):
            yield f"## {name}\n\n```python\n{name}{_signature(value)}\n```\n\n{_doc(value)}\n"


def _class(name: str, value: type) -> Iterator[str]:
    yield f"## {name}\n"
    if issubclass(value, enum.Enum):
        yield f"{_doc(value)}\n\n" + ", ".join(f"`{member.value}`" for member in value) + "\n"
        return
    yield f"{_doc(value)}\n"
    if dataclasses.is_dataclass(value):
        rows = [f"{part.name}: {_written(part.type)}" for part in dataclasses.fields(value)]
        yield "```python\n" + "\n".join(rows) + "\n```\n"
    for key, member in vars(value).items():
        if key.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        if isinstance(member, property):
            yield f"### {name}.{key}\n\n{_doc(member)}\n"
        else:
            yield f"### {name}.{key}\n\n```python\n{key}{_signature(member)}\n```\n\n{_doc(member)}\n"


def _signature(function: Any) -> str:
    """Write a signature as the source has it, a parameter a line where it is long."""
    signature = inspect.signature(function)
    parameters = [_parameter(item) for item in signature.parameters.values()]
    kinds = [item.kind for item in signature.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    result = (
        f" -> {signature.return_annotation}" if signature.return_annotation is not signature.empty else ""
    )
    line = f"({', '.join(parameters)}){result}"
    if len(line) <= _WIDTH - 20:
        return line
    return "(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f"){result}"


def _written(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return text.replace("'", '"')  # as ruff writes Python on pages, too


def _parameter(item: inspect.Parameter) -> str:
    """Write a parameter; a default that has no literal, such as a bound method, is an ellipsis."""
    text = re.sub(r": '([^']*)'(?=$| =)", r": \1", str(item))
    return re.sub(r" = <.*>$", " = …", text)


def _doc(value: Any) -> str:
    text = inspect.getdoc(value) or ""
    return f"```text\n{text}\n```" if "\n" in text else text


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write all pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, text in pages().items():
        (folder / name).write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
