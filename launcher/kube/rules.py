"""What a user may do in a namespace, as a SelfSubjectRulesReview tells it. Pure.

Wildcards are those of kubernetes.io, "Using RBAC Authorization". The answer may be cut, and says so: then
what it lacks may be allowed all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.objects import RULES_REVIEWS, KubeObject


def ask_for_rules(namespace: str) -> KubeObject:
    """Return the review to create."""
    return {
        "apiVersion": RULES_REVIEWS.api_version, "kind": RULES_REVIEWS.kind, "metadata": {},
        "spec": {"namespace": namespace},
    }  # fmt: skip


def rules_in(review: KubeObject) -> Sequence[Mapping[str, Any]]:
    """Return the rules of an answered review."""
    return (review.get("status") or {}).get("resourceRules") or []


def is_whole(review: KubeObject) -> bool:
    """Say whether the answer has all rules."""
    return not (review.get("status") or {}).get("incomplete")


def grants(rules: Sequence[Mapping[str, Any]], *, group: str, resource: str, verb: str) -> bool:
    """Say whether rules allow something with any object; `resource` may hold a subresource, `pods/log`."""
    return any(_grants(rule, group=group, resource=resource, verb=verb) for rule in rules)


def _grants(rule: Mapping[str, Any], *, group: str, resource: str, verb: str) -> bool:
    _, _, subresource = resource.partition("/")
    resources = {"*", resource, *([f"*/{subresource}"] if subresource else [])}
    return (
        not rule.get("resourceNames")
        and bool({"*", verb} & {*(rule.get("verbs") or ())})
        and bool({"*", group} & {*(rule.get("apiGroups") or ())})
        and bool(resources & {*(rule.get("resources") or ())})
    )
