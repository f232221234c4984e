"""The manifest: the one artefact that every backend acts on, as text and as the objects in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.errors import LaunchError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import KINDS, find_kind
from launcher.names import RUN_ID_LABEL
from launcher.objects import CONFIG_MAPS, KubeObject


class ManifestError(LaunchError):
    """The text is not a manifest of ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """One ConfigMap, one job object, and what its kind has beside it.

    Attributes:
        text: The YAML, byte for byte what `render` prints.
        config_map: cfg.yaml and node.json.
        job: The object of the job, of a kind that `kind` names.
        companions: Objects beside it, in the order of the kind's `companions`.
    """

    text: str
    config_map: KubeObject
    job: KubeObject
    companions: tuple[KubeObject, ...] = ()

    @property
    def name(self) -> str:
        """Name of the job."""
        return str(self.job["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Namespace of both objects, or an empty string where none is written."""
        return str(self.job["metadata"].get("namespace", ""))

    @property
    def kind(self) -> JobKind:
        """Kind of the job object; `parse_manifest` lets no other object in."""
        found = find_kind(self.job)
        assert found is not None
        return found

    @property
    def pod_template(self) -> KubeObject:
        """Template of its pods: the part of `job` or of a companion itself, not a copy."""
        return self.kind.pod_template_of(self.job, self.companions)

    @property
    def inner_job(self) -> KubeObject | None:
        """The Job that the controller will make of it, which it accepts unseen; None where it makes none."""
        return self.kind.inner_job_of(self.job, self.companions)

    @property
    def pod_spec(self) -> KubeObject:
        """Spec of its pods."""
        spec: KubeObject = self.pod_template["spec"]
        return spec

    @property
    def run_id(self) -> str:
        """32 hexadecimal digits."""
        labels: Mapping[str, str] = self.job["metadata"]["labels"]
        return labels[RUN_ID_LABEL]


def read_documents(text: str) -> list[Any]:
    """Read YAML with libyaml where PyYAML has it, whose port to Go reads the text in clusters.

    Raises:
        ManifestError: It is not YAML.
    """
    import yaml  # here: what only reads a job's state and log starts without it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return list(yaml.load_all(text, Loader=loader))  # both are safe
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # the latter of `!!bool x`
        raise ManifestError(where="manifest", expected="YAML", got=f"an error: {error}") from error


def parse_manifest(text: str) -> Manifest:
    """Read a manifest back from its text.

    Raises:
        ManifestError: It is not YAML, or not one ConfigMap and one job object that carry a name and a run id.
    """
    objects = [item for item in read_documents(text) if item is not None]
    parts = [item if isinstance(item, dict) else {} for item in objects]
    kinds = [kind for kind in map(find_kind, parts) if kind is not None]
    wanted = (CONFIG_MAPS, *kinds[0].companions, kinds[0].resource) if len(kinds) == 1 else ()
    found = [(item.get("apiVersion"), item.get("kind")) for item in parts]
    if len(kinds) != 1 or sorted(found, key=str) != sorted(
        ((each.api_version, each.kind) for each in wanted), key=str
    ):
        names = " or ".join(f"a {kind.resource.kind} of {kind.resource.api_version}" for kind in KINDS)
        got = sorted(f"{version} {name}" for version, name in found)
        raise ManifestError(where="manifest", expected=f"a ConfigMap and {names}", got=got)
    by_kind = {item["kind"]: item for item in parts}
    manifest = Manifest(
        text=text,
        config_map=by_kind[CONFIG_MAPS.kind],
        job=by_kind[kinds[0].resource.kind],
        companions=tuple(by_kind[each.kind] for each in kinds[0].companions),
    )
    for item in objects:
        metadata = item.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        if not isinstance(labels, dict) or RUN_ID_LABEL not in labels or "name" not in metadata:
            raise ManifestError(
                where=f"manifest: {item['kind']}", expected=f"a name and the label {RUN_ID_LABEL}"
            )
    return manifest
