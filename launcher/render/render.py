"""JobPlan -> Manifest, with the check that the text says what the plan means."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
from pydantic import BaseModel

from launcher.errors import CliExit, Issue, LaunchError
from launcher.kinds.registry import kind_named
from launcher.plan.jobplan import JobPlan
from launcher.render.crds import find_faults
from launcher.render.filters import Emitted, Recorder, stand_in, to_yaml
from launcher.render.manifest import Manifest, ManifestError, parse_manifest, read_documents
from launcher.render.patch import name_trainer, patch_template
from launcher.render.templates import KeptTemplates, template_folders
from trainer.protocol import environment
from trainer.protocol.nodefile import format_node_file


class RenderError(LaunchError):
    """A template cannot be rendered, or what it gives is not what the plan means."""


class UserTemplateError(RenderError):
    """A template of the user's is broken, or gives what no cluster takes."""

    exit_code = CliExit.USAGE


def render(plan: JobPlan, *, template_dirs: Sequence[Path] = (), cache: Path | None = None) -> Manifest:
    """Render the ConfigMap and the job object of a plan.

    Args:
        plan: Everything is decided there.
        template_dirs: The user's templates, which win over ours. What is made from them is not compared with
            the plan, only parsed and held against the schema of its API.
        cache: Folder for compiled templates, made where it is missing; None compiles them each time.

    Raises:
        RenderError: A template is broken, or a value would change the manifest's structure.
        UserTemplateError: A template of the user's is broken, or gives what no cluster takes.
        UsageError: A template folder is none, or `pod_patch` touches what is not its own.
    """
    jinja = _make_environment(template_folders(template_dirs), cache)
    theirs = users_templates(template_dirs)
    try:
        text, values = _render(plan, jinja, stand_in=False)
        if not theirs:
            outline, _ = _render(plan, jinja, stand_in=True)
            _compare(text, outline, values)
        manifest = _patch(parse_manifest(text), plan)
    except (RenderError, ManifestError) as error:
        if theirs:
            raise error.recast(UserTemplateError) from error
        raise
    if theirs:
        _hold_against_schema(manifest, plan)
    return manifest


def users_templates(template_dirs: Sequence[Path]) -> list[Path]:
    """Return the user's files that are taken instead of ours."""
    names = {path.name for folder in template_folders() for path in folder.glob("*.j2")}
    return [folder / name for folder in template_dirs for name in sorted(names) if (folder / name).is_file()]


def _hold_against_schema(manifest: Manifest, plan: JobPlan) -> None:
    beside = (
        item for item in manifest.companions if "/" in str(item["apiVersion"])
    )  # core has no schema here
    faults = [fault for item in (*beside, manifest.job) for fault in find_faults(item)]
    if (manifest.name, manifest.run_id) != (plan.job, plan.run_id):
        faults.append(f"metadata: expected {plan.job} of run {plan.run_id}, got {manifest.name}")
    if faults:
        raise UserTemplateError(
            problems=[Issue(where=kind_named(plan.api).template, message=fault) for fault in faults]
        )


def _patch(manifest: Manifest, plan: JobPlan) -> Manifest:
    """Merge the plan's patch into the pod template. The job's text is then written anew."""
    if plan.pod_patch is None:
        return manifest
    wanted = replace(manifest, job=copy.deepcopy(manifest.job), companions=copy.deepcopy(manifest.companions))
    template = wanted.pod_template
    patch = name_trainer(plan.pod_patch, wanted.kind.container)
    patched_template = patch_template(template, patch, container=wanted.kind.container)
    template.clear()
    template.update(patched_template)
    patched = parse_manifest(_rewrite(manifest, wanted))
    if not all(
        _same(getattr(patched, part), getattr(wanted, part)) for part in ("config_map", "companions", "job")
    ):
        raise RenderError(where="manifest", expected="the patched job", got="another structure or value")
    return patched


def _rewrite(manifest: Manifest, wanted: Manifest) -> str:
    """Return the text with the object that holds the pods written anew; templates have the job last."""
    beside = manifest.kind.pods_beside
    before, *texts = manifest.text.rsplit("\n---\n", maxsplit=2 if beside else 1)
    texts[0] = to_yaml(wanted.companions[-1] if beside else wanted.job)
    return "\n---\n".join([before, *(text.rstrip("\n") for text in texts)]) + "\n"


def _make_environment(folders: Sequence[Path], cache: Path | None) -> jinja2.Environment:
    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in folders]), undefined=jinja2.StrictUndefined,
        finalize=_only_emitted, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        bytecode_cache=None if cache is None else KeptTemplates(cache),
        optimized=False,  # else what filters make of constants is noted when a template is compiled
        autoescape=False,  # YAML, not HTML: `finalize` lets nothing through but what a filter made
    )  # fmt: skip


def _render(plan: JobPlan, jinja: jinja2.Environment, *, stand_in: bool) -> tuple[str, list[Any]]:
    recorder = Recorder(stand_in=stand_in)
    jinja.filters.update(recorder.filters)
    template = kind_named(plan.api).template
    try:
        return jinja.get_template(template).render(_names(plan)), recorder.values
    except jinja2.TemplateError as error:
        where = f"{getattr(error, 'name', None) or template}:{getattr(error, 'lineno', None) or '?'}"
        raise RenderError(where=where, expected="a template that renders", said=error) from error
    except (TypeError, ValueError) as error:  # of the filters
        raise RenderError(where=template, expected="values that JSON has", said=error) from error


def _names(plan: JobPlan) -> Mapping[str, Any]:
    """Return what templates see: plain data. An object's methods would be theirs to call, pydantic's too."""
    kind = kind_named(plan.api)
    return {
        "plan": _plain(plan)
        | {
            "nodes": plan.nodes,
            "world_size": plan.world_size,
            "min_nodes": plan.node_file.min_nodes,
            "description": plan.describe(),
            "tolerations": [item.model_dump(exclude_none=True, by_alias=True) for item in plan.tolerations],
            "resources": {
                "cpu": plan.resources.cpu,
                "memory": plan.resources.memory,
                "shm": plan.resources.shm_size,
            },
            "secrets": [_plain(secret) | {"file_name": secret.file_name} for secret in plan.secrets],
        },
        "node_json": format_node_file(plan.node_file),
        "config_file": environment.CONFIG_FILE,
        "code_file": environment.CODE_FILE,
        "node_file_name": environment.NODE_FILE,
        "config_mount": environment.CONFIG_MOUNT,
        "workspace": environment.WORKSPACE,
        "api_access": environment.API_ACCESS,
        "termination_path": environment.TERMINATION_PATH,
        "node_variable": environment.NODE,
        "store_port": environment.STORE_PORT,
        "coordinator_port": environment.COORDINATOR_PORT,
        "limits": _limits(plan),
        "container": kind.container,
        "node_field": kind.node_field,
        "job_label": kind.job_label,
        "pod_fields": _plain(kind.pod_fields(plan.job)),
        "sized_outside": kind.pods_beside,
    }


def _plain(value: Any) -> Any:
    """Turn dataclasses, models and mappings into dictionaries, which the sandbox lets no template change."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise TypeError(f"expected plain data for templates, got {type(value).__name__}")


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
    found = read_documents(text)
    meant = {stand_in(number): value for number, value in enumerate(values)}
    expected = _put_values(read_documents(outline), meant)
    if not _same(found, expected):
        raise RenderError(
            where="manifest", expected="each value at its place", got="another structure or value"
        )


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
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
