"""May we do what ftlaunch does? Asked of the cluster for each verb of the roles in `k8s/rbac`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import launcher
from launcher.backends.kubernetes.apis import serves
from launcher.backends.kubernetes.kueue import find_kind
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Finding, Level, fail, ok, warn
from launcher.kinds.registry import KINDS
from launcher.kube.rules import ask_for_access, ask_for_rules, grants, is_allowed, rules_in
from launcher.objects import RULES_REVIEWS

_FILES_ROLE = "files.yaml"
_PACKAGE = Path(launcher.__file__).parent
_CRUCIAL = {
    "configmaps": {"create", "get", "patch", "delete"},
    "pods": {"get", "list"},
}
"""Without these no job can be submitted and followed; the others are for single commands."""


_SEVERAL = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Verbs on a kind of objects; `resource` may hold a subresource, `pods/log`."""

    group: str
    resource: str
    verbs: tuple[str, ...]


@cache
def read_needs(role_file: str = "user.yaml") -> tuple[Need, ...]:
    """Read a role that a user is to have; in a wheel they lie inside the package."""
    import yaml

    paths = (_PACKAGE / "rbac" / role_file, _PACKAGE.parent / "k8s" / "rbac" / role_file)
    path = next(place for place in paths if place.is_file())
    role = next(item for item in yaml.safe_load_all(path.read_bytes()) if item["kind"] == "Role")
    return tuple(
        Need(group=group, resource=resource, verbs=tuple(rule["verbs"]))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    )


def check_permissions(info: ClusterInfo) -> list[Finding]:
    """Ask for all rules at once, and for those that this answer lacks one by one, because it may be cut."""
    # Authorizers that cannot list their rules (webhooks of clouds) answer with an incomplete list and say so;
    # one question a verb would be exact everywhere, and takes more than twenty requests.
    rules = rules_in(info.api.create(RULES_REVIEWS, ask_for_rules(info.namespace), namespace=""))
    of_kinds = {(grant.group, grant.resource) for kind in KINDS for grant in kind.grants}
    needs = [
        *(need for need in read_needs() if (need.group, need.resource) not in of_kinds),
        *(read_needs("kueue.yaml") if find_kind(info.api) else ()),
    ]
    found = [_find_lacking_verbs(need, _missing(info, need, rules), info.namespace) for need in needs]
    found = [*_check_kinds(info, rules), *found]
    return [*_sum_up(found, info.namespace), *found, _find_lacking_file_verbs(info, rules)]


def _sum_up(found: Sequence[Finding], namespace: str) -> list[Finding]:
    """Name the file that has all rules, before a rule after the other, where several are lacking."""
    lacking = [finding for finding in found if finding.level in (Level.WARN, Level.FAIL)]
    if len(lacking) < _SEVERAL or all(finding.level is Level.WARN for finding in lacking):
        return []
    fix = f"ask for k8s/rbac/user.yaml in namespace {namespace!r}, or correct its name: it may not exist"
    return [fail("permission", f"{len(lacking)} of {len(found)} rules are lacking", fix)]


def _check_kinds(info: ClusterInfo, rules: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Ask for what each kind of job that is served takes; only that of the first that is whole is needed."""
    found: list[Finding] = []
    has_one = False
    for kind in (each for each in KINDS if serves(info.api, each)):
        needs = [Need(group=each.group, resource=each.resource, verbs=each.verbs) for each in kind.grants]
        missing = {need: _missing(info, need, rules) for need in needs}
        may_create = not any("create" in verbs for verbs in missing.values())
        if has_one and not may_create:
            lacking = "; ".join(
                f"{need.resource}: {', '.join(verbs)}" for need, verbs in missing.items() if verbs
            )
            found.append(
                Finding(
                    check="permission",
                    level=Level.SKIP,
                    message=f"a {kind.resource.kind} is not allowed, for lack of {lacking}",
                    fix="nothing is wrong with that: jobs are sent as another kind",
                )
            )
            continue
        found += [
            _find_lacking_verbs(need, verbs, info.namespace, is_crucial=not has_one)
            for need, verbs in missing.items()
        ]
        has_one = has_one or may_create
    return list(dict.fromkeys(found))


def _find_lacking_file_verbs(info: ClusterInfo, rules: Sequence[Mapping[str, Any]]) -> Finding:
    """Say whether files may pass; the role for it opens the namespace's Secrets, so many rightly lack it."""
    missing = {need.resource: _missing(info, need, rules) for need in read_needs(_FILES_ROLE)}
    lacking = [f"{resource}: {', '.join(verbs)}" for resource, verbs in missing.items() if verbs]
    if not lacking:
        return ok("permission", "files: `ckpt`, `data` and `exec` may run programs in pods")
    return Finding(
        check="permission", level=Level.SKIP,
        message=f"files: `ckpt`, `data` and `exec` are not allowed, for lack of {'; '.join(lacking)}",
        fix=f"where you need them, ask for k8s/rbac/{_FILES_ROLE} in namespace {info.namespace!r}",
    )  # fmt: skip


def _missing(info: ClusterInfo, need: Need, rules: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    unsaid = [
        verb for verb in need.verbs if not grants(rules, group=need.group, resource=need.resource, verb=verb)
    ]
    return tuple(verb for verb in unsaid if not _is_allowed(info, need, verb))


def _is_allowed(info: ClusterInfo, need: Need, verb: str) -> bool:
    question = ask_for_access(info.namespace, group=need.group, resource=need.resource, verb=verb)
    return is_allowed(info.api, question)


def _find_lacking_verbs(
    need: Need, missing: tuple[str, ...], namespace: str, *, is_crucial: bool = False
) -> Finding:
    check = "permission"
    if not missing:
        return ok(check, f"{need.resource}: {', '.join(need.verbs)}")
    rule = {"apiGroups": [need.group], "resources": [need.resource], "verbs": list(missing)}
    fix = f"ask for this rule in namespace {namespace!r}: {json.dumps(rule)}"
    message = f"{need.resource}: not allowed to {', '.join(missing)}"
    crucial = {*need.verbs} - {"watch"} if is_crucial else _CRUCIAL.get(need.resource, set())
    level_of = fail if crucial & {*missing} else warn
    return level_of(check, message, fix)
