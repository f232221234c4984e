"""Whether a namespace's quotas and limit ranges take the pods of a job. Pure; also asked before a submit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from launcher import objects
from launcher.objects import KubeObject, requests_of
from launcher.quantity import format_quantity, parse_quantity
from launcher.why.verdict import Resolves, Verdict, evidence

_COUNTS = ("pods", "count/pods")
_COMPUTE = ("cpu", "memory")


def measure_quotas(
    spec: KubeObject, *, pods: int, more: int, quotas: Sequence[KubeObject]
) -> Iterator[Verdict]:
    """Hold a job against quotas.

    Args:
        spec: Of its pods.
        pods: How many it has in all.
        more: How many of them are still to be made.
        quotas: Of the namespace. Those with scopes are left out: they mean other pods.
    """
    asked = requests_of(spec)
    for quota in quotas:
        if (quota.get("spec") or {}).get("scopes") or (quota.get("spec") or {}).get("scopeSelector"):
            continue
        status = quota.get("status") or {}
        hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
        for key, limit in hard.items():
            name = _resource_of(key)
            if name is None:
                continue
            if name not in asked and name in _COMPUTE:
                yield _needs_request(quota, key)
            elif name in asked:
                used = parse_quantity((status.get("used") or {}).get(key, 0))
                yield from _compare(
                    quota,
                    key,
                    name,
                    each=asked[name],
                    pods=pods,
                    more=more,
                    used=used,
                    limit=parse_quantity(limit),
                )


def measure_limits(spec: KubeObject, *, ranges: Sequence[KubeObject]) -> Iterator[Verdict]:
    """Hold the containers of a pod against limit ranges."""
    for item in ranges:
        for limit in (item.get("spec") or {}).get("limits") or []:
            if limit.get("type") not in ("Container", "Pod"):
                continue
            for container in spec.get("containers") or []:
                own = requests_of({"containers": [container]})
                yield from _compare_limit(item, limit, own)


def _resource_of(key: str) -> str | None:
    if key in _COUNTS:
        return "pods"
    for prefix in ("requests.", "limits."):
        if key.startswith(prefix) and key != "requests.storage":
            return key.removeprefix(prefix)
    return key if key in (*_COMPUTE, "ephemeral-storage") else None


def _compare(
    quota: KubeObject,
    key: str,
    name: str,
    *,
    each: Decimal,
    pods: int,
    more: int,
    used: Decimal,
    limit: Decimal,
) -> Iterator[Verdict]:
    whole, left = each * pods, limit - used
    text = (
        f"quota {objects.name_of(quota)}: {key}: {format_quantity(used, name)} used of"
        f" {format_quantity(limit, name)}"
    )
    need = f"{pods} × {format_quantity(each, name)} {name}" if name != "pods" else f"{pods} pods"
    fix = (
        f"kubectl -n {quota['metadata'].get('namespace', '')} describe resourcequota {objects.name_of(quota)}"
    )
    if whole > limit:
        yield Verdict(
            code="quota-never",
            sentence=(
                f"it needs {need}, and the quota of the namespace allows {format_quantity(limit, name)}"
                " in all"
            ),
            evidence=evidence(text),
            fix=fix,
            resolves=Resolves.BY_CHANGE,
        )
    elif each * more > left:
        yield Verdict(
            code="quota-exceeded",
            sentence=(
                f"it needs {need}, and {format_quantity(max(left, Decimal(0)), name)} is left of the"
                f" namespace's quota of {format_quantity(limit, name)}"
            ),
            evidence=evidence(text),
            fix=fix,
            resolves=Resolves.LATER,
        )


def _needs_request(quota: KubeObject, key: str) -> Verdict:
    name = key.rpartition(".")[2]
    return Verdict(
        code="quota-needs-requests",
        sentence=f"the namespace's quota counts {name}, and the job does not say how much it wants",
        evidence=evidence(f"quota {objects.name_of(quota)}: {key}"),
        fix=f"set Launch.resources.{name}",
        resolves=Resolves.BY_CHANGE,
    )


def _compare_limit(item: KubeObject, limit: KubeObject, own: dict[str, Decimal]) -> Iterator[Verdict]:
    name = objects.name_of(item)
    for word, bounds in (("at most", limit.get("max") or {}), ("at least", limit.get("min") or {})):
        for resource, amount in bounds.items():
            bound, asked = parse_quantity(amount), own.get(resource)
            wrong = asked is not None and (asked > bound if word == "at most" else asked < bound)
            if wrong and asked is not None:
                yield Verdict(
                    code="limit-range",
                    sentence=(
                        f"a pod asks for {format_quantity(asked, resource)} {resource}, and the namespace"
                        f" takes {word} {format_quantity(bound, resource)}"
                    ),
                    evidence=evidence(f"limit range {name}: {limit['type']}: {word} {amount} {resource}"),
                    fix=f"set Launch.resources.{resource}" if resource in _COMPUTE else "lower Launch.gpus",
                    resolves=Resolves.BY_CHANGE,
                )
