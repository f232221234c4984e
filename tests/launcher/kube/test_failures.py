from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.errors import CliExit, LaunchError
from launcher.kube.errors import (
    AbsentError,
    ConflictError,
    CredentialsError,
    DeniedError,
    InvalidError,
    NoAnswerError,
)
from launcher.kube.failures import RequestContext, Verb, read_failure
from launcher.objects import PADDLE_JOBS, PODS

FORBIDDEN = (
    'paddlejobs.kubeflow.org is forbidden: User "ann" cannot create resource "paddlejobs" '
    'in API group "kubeflow.org" in the namespace "ml"'
)
QUOTA = 'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=8'


def fail(code: int, message: str = "", *, verb: Verb = "create", **details: Any) -> LaunchError:
    call = RequestContext(
        verb=verb, resource=PADDLE_JOBS, namespace="ml", name="flowers", access="context 'prod'"
    )
    body = {"kind": "Status", "code": code, "reason": "Why", "message": message, "details": details}
    return read_failure(call, code=code, body=json.dumps(body).encode())


@pytest.mark.parametrize(("code", "message", "error", "exit_code"), [
    (401, "Unauthorized", CredentialsError, CliExit.UNREACHABLE),
    (403, FORBIDDEN, DeniedError, CliExit.UNREACHABLE),
    (403, QUOTA, InvalidError, CliExit.USAGE),
    (400, "strict decoding error", InvalidError, CliExit.USAGE),
    (404, "not found", AbsentError, CliExit.NOT_FOUND),
    (409, "already exists", ConflictError, CliExit.USAGE),
    (422, "is invalid", InvalidError, CliExit.USAGE),
    (429, "too many requests", NoAnswerError, CliExit.UNREACHABLE),
    (500, "etcdserver: request timed out", NoAnswerError, CliExit.UNREACHABLE),
    (504, "gateway timeout", NoAnswerError, CliExit.UNREACHABLE),
    (302, "", NoAnswerError, CliExit.UNREACHABLE),
])  # fmt: skip
def test_each_status_has_its_error_and_exit_code(
    code: int, message: str, error: type[LaunchError], exit_code: CliExit
) -> None:
    got = fail(code, message)
    assert type(got) is error
    assert got.exit_code is exit_code
    assert str(got).startswith("PaddleJob ml/flowers: expected ")


def test_a_missing_rule_is_written_out() -> None:
    assert '{"apiGroups": ["kubeflow.org"], "resources": ["paddlejobs"], "verbs": ["create"]}' in str(
        fail(403, FORBIDDEN)
    )


def test_a_missing_rule_for_logs_names_the_subresource() -> None:
    call = RequestContext(
        verb="get", resource=PODS, namespace="ml", name="p", subresource="log", access="context 'prod'"
    )
    body = json.dumps({"message": 'User "ann" cannot get resource "pods/log" in API group ""'}).encode()
    assert '{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}' in str(
        read_failure(call, code=403, body=body)
    )


def test_all_causes_of_a_refusal_are_kept() -> None:
    causes = [{"field": "spec.a", "message": "Required value"}, {"message": "and more"}]
    error = fail(422, "is invalid", causes=causes)
    assert isinstance(error, InvalidError)
    assert tuple(map(str, error.causes)) == ("spec.a: Required value", "and more")
    assert str(error).endswith("mend:\n  spec.a: Required value\n  and more")


def test_a_missing_namespace_a_missing_kind_and_a_missing_object_are_told_apart() -> None:
    assert str(fail(404, "x", kind="namespaces", name="ml")).startswith(
        "namespace 'ml': expected one that exists"
    )
    assert "expected a cluster that knows paddlejobs of kubeflow.org/v1" in str(fail(404, "no such resource"))
    assert "see `ftlaunch list`" in str(fail(404, "x", kind="paddlejobs", name="flowers"))


def test_a_conflict_s_cure_depends_on_what_was_asked() -> None:
    assert str(fail(409, "exists")).endswith("; choose another name")
    assert str(fail(409, "precondition failed", verb="delete")).endswith("it has changed")


@pytest.mark.parametrize(
    "body", [b"", b"404 page not found", b"[1]", b'{"details": 3, "message": null}', b"\xff"]
)
@pytest.mark.parametrize("code", [302, 400, 404, 500])
def test_any_body_can_be_read(body: bytes, code: int) -> None:
    call = RequestContext(verb="list", resource=PODS, namespace="ml", access="context 'prod'")
    assert f"got {code}" in str(read_failure(call, code=code, body=body))


def test_a_long_message_is_cut() -> None:
    assert len(str(fail(500, "x" * 5000))) < 1300


@pytest.mark.parametrize("causes", [[1], [{}], [{"field": "", "message": ""}], "x"])
def test_causes_without_a_word_leave_no_empty_advice(causes):
    call = RequestContext(verb="create", resource=PODS, namespace="ml", name="p", access="context 'x'")
    status = {"kind": "Status", "message": ["x"], "details": {"causes": causes}}
    error = read_failure(call, code=422, body=json.dumps(status).encode())
    advice = str(error).partition("mend:")[2]
    assert advice.strip()
    assert "\n" not in advice
