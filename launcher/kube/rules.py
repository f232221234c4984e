"""What a user may do in a namespace, as reviews of the authorization API tell it.

Wildcards are those of kubernetes.io, "Using RBAC Authorization". The answer may be cut, and says so: then
what it lacks may be allowed all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.kube.api import KubeApi
from launcher.objects import ACCESS_REVIEWS, RULES_REVIEWS, KubeObject


def ask_for_rules(namespace: str) -> KubeObject:
    """Return the review to create."""
    return {
        "apiVersion": RULES_REVIEWS.api_version, "kind": RULES_REVIEWS.kind, "metadata": {},
        "spec": {"namespace": namespace},
    }  # fmt: skip


def ask_for_access(namespace: str, *, group: str, resource: str, verb: str) -> KubeObject:
    """Return the review of one verb to create; `resource` may hold a subresource, `pods/log`."""
    name, _, subresource = resource.partition("/")
    asked = {
        "namespace": namespace, "verb": verb, "group": group, "resource": name, "subresource": subresource,
    }  # fmt: skip
    return {
        "apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "metadata": {},
        "spec": {"resourceAttributes": asked},
    }  # fmt: skip


def is_allowed(api: KubeApi, question: KubeObject) -> bool:
    """Ask a review of `ask_for_access`."""
    answer = api.create(ACCESS_REVIEWS, question, namespace="")
    return bool((answer.get("status") or {}).get("allowed"))


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
