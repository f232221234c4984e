"""JobPlan -> Manifest, with the check that the text says what the plan means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import yaml

from launcher.errors import LaunchError
from launcher.plan.jobplan import JobPlan
from launcher.render.filters import Emitted, Recorder, stand_in
from launcher.render.manifest import Manifest, parse_manifest
from launcher.render.templates import template_folders
from trainer.protocol import environment
from trainer.protocol.nodefile import format_node_file

TEMPLATE = "paddlejob.yaml.j2"


class RenderError(LaunchError):
    """A template cannot be rendered, or what it gives is not what the plan means."""


def render(plan: JobPlan, *, template_dirs: Sequence[Path] = ()) -> Manifest:
    """Render the ConfigMap and the PaddleJob of a plan.

    Args:
        plan: Everything is decided there.
        template_dirs: The user's templates, which win over ours. What is made from them is not compared with
            the plan, only parsed.

    Raises:
        RenderError: A template is broken, or a value would change the manifest's structure.
        UsageError: A template folder is none.
    """
    folders = template_folders(template_dirs)
    text, values = _render(plan, folders, stand_in=False)
    if not template_dirs:
        outline, _ = _render(plan, folders, stand_in=True)
        _compare(text, outline, values)
    return parse_manifest(text)


def _render(plan: JobPlan, folders: Sequence[Path], *, stand_in: bool) -> tuple[str, list[Any]]:
    recorder = Recorder(stand_in=stand_in)
    jinja = jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in folders]), undefined=jinja2.StrictUndefined,
        finalize=_only_emitted, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        autoescape=False,  # YAML, not HTML: `finalize` lets nothing through but what a filter made
    )  # fmt: skip
    jinja.filters.update(recorder.filters)
    try:
        return jinja.get_template(TEMPLATE).render(_names(plan)), recorder.values
    except jinja2.TemplateError as error:
        where = f"{getattr(error, 'name', None) or TEMPLATE}:{getattr(error, 'lineno', None) or '?'}"
        raise RenderError(f"{where}: expected a template that renders: {error}") from error
    except (TypeError, ValueError) as error:  # of the filters
        raise RenderError(f"{TEMPLATE}: expected values that JSON has: {error}") from error


def _names(plan: JobPlan) -> Mapping[str, Any]:
    return {
        "plan": plan,
        "node_json": format_node_file(plan.node_file),
        "config_file": environment.CONFIG_FILE,
        "node_file_name": environment.NODE_FILE,
        "config_mount": environment.CONFIG_MOUNT,
        "workspace": environment.WORKSPACE,
        "termination_path": environment.TERMINATION_PATH,
        "node_variable": environment.NODE,
        "store_port": environment.STORE_PORT,
        "coordinator_port": environment.COORDINATOR_PORT,
        "limits": _limits(plan),
    }


def _limits(plan: JobPlan) -> dict[str, str | int]:
    limits: dict[str, str | int] = {}
    if plan.resources.cpu is not None:
        limits["cpu"] = plan.resources.cpu
    if plan.resources.memory is not None:
        limits["memory"] = plan.resources.memory
    if plan.gpus:
        limits[plan.gpu_resource] = plan.gpus
    return limits


def _only_emitted(value: Any) -> Any:
    if not isinstance(value, Emitted):
        raise jinja2.TemplateRuntimeError(f"expected `| json` after every value, got a bare {value!r}")
    return value


def _compare(text: str, outline: str, values: Sequence[Any]) -> None:
    try:
        found = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise RenderError(f"manifest: expected YAML, got: {error}") from error
    meant = {stand_in(number): value for number, value in enumerate(values)}
    expected = _put_values(list(yaml.safe_load_all(outline)), meant)
    if not _same(found, expected):
        raise RenderError("manifest: expected each value at its place, got another structure or value")


def _put_values(node: Any, meant: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {_put_values(key, meant): _put_values(value, meant) for key, value in node.items()}
    if isinstance(node, list):
        return [_put_values(item, meant) for item in node]
    return meant.get(node, node) if isinstance(node, str) else node


def _same(one: Any, other: Any) -> bool:
    """Compare with types: 1, 1.0 and True are three values here."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
