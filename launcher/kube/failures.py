"""What a failed answer of the API server means, or a failed handshake: our error with what to do. Pure.

The body of a failure is a `Status` object (kubernetes.io, API conventions, "Response Status Kind").
Reasons of TLS are as OpenSSL words them (`X509_verify_cert_error_string(3)`; alerts: RFC 8446, 6.2).
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from launcher.errors import LaunchError
from launcher.kube.errors import (
    AbsentError,
    Cause,
    CertificateError,
    ConflictError,
    CredentialsError,
    DeniedError,
    ExpiredError,
    InvalidError,
    NoAnswerError,
    NotAdmittedError,
)
from launcher.objects import Resource
from trainer.protocol.printable import printable
from trainer.protocol.untrusted import parse_json

MAX_SHOWN = 1000
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of one answer, unpacked: a page of 500 objects is some megabytes, and an object 1.5 MiB at most (etcd)."""
_ANONYMOUS = 'User "system:anonymous"'
"""Whom an API server takes a request without usable credentials for, where it does not answer 401."""
_UNASKED = "failed calling webhook"
"""In the message where an admission webhook whose word is needed does not answer."""
_TOO_MANY = 429
_GONE = 410  # a list's continuation or a watch's beginning is too old

_STRICT = r'(unknown|duplicate) field "([^"]+)"'
_TYPED = r"json: (cannot unmarshal .+?) into Go struct field \w+\.([\w.]+) of type .+"
_NOWHERE = "<nil>"
"""Field of the remark that other rules were not looked at."""
_DENIED = r"(?s)denied the request: ((?:metadata|spec)[\w.\[\]/-]*): (.+)"

Verb = Literal["create", "get", "list", "watch", "patch", "delete"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestContext:
    """A request in RBAC's words.

    Attributes:
        namespace: Empty for the whole cluster.
        name: Empty for a list.
        subresource: Such as `log`, or empty.
        access: How the user names the way in, for messages: `context 'prod'`.
        login: What to do where the cluster does not know us.
    """

    verb: Verb
    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""
    access: str
    login: str = "log in again"

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource.kind} {place}{self.name or '*'}"


def read_failure(
    call: RequestContext, *, code: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})
) -> LaunchError:
    """Return the error that an answer with an HTTP status from 300 up stands for."""
    status = _decode(body)
    message = _words(status.get("message") or body[: 4 * MAX_SHOWN].decode("utf-8", "replace"))
    got = f"{code} {_words(status.get('reason') or '')}".rstrip()
    if code == 401 or (code == 403 and _ANONYMOUS in message):
        return CredentialsError(
            where=call,
            expected="to be known to the cluster",
            got=got,
            fix=f"{call.login}, until `kubectl auth whoami` answers ({call.access})",
        )
    if code == 403 and _is_missing_rule(message):
        return DeniedError(
            where=call,
            expected=f"to be allowed to {call.verb} it",
            got=got,
            said=message,
            fix=f"ask for this rule {_where(call)}: {_rule(call)}",
        )
    if code == 404:
        return _read_absence(call, details=_mapping(status.get("details")), got=got, message=message)
    if code == 409:
        fix = "choose another name" if call.verb == "create" else "look at it again, it has changed"
        return ConflictError(where=call, expected=f"to {call.verb} it", got=got, said=message, fix=fix)
    if 400 <= code < 500 and code not in (408, _GONE, _TOO_MANY):
        return _read_refusal(call, status=status, got=got, message=message)
    fix = "try again later" if code >= 400 else f"check that {call.access} names a Kubernetes API server"
    no_answer = ExpiredError if code == _GONE else NoAnswerError
    # k8s.io/apiserver, pkg/admission/plugin/webhook/generic: admission comes before anything is stored
    if code == 500 and _UNASKED in message:
        no_answer, fix = NotAdmittedError, "see that the controller behind the webhook runs, and try again"
    return no_answer(
        where=call,
        expected=f"an answer to {call.verb}",
        got=got,
        said=message,
        fix=fix,
        retry_after_s=_read_retry_after(headers),
    )


def _read_retry_after(headers: Mapping[str, str]) -> float:
    # API servers send seconds (RFC 9110, 10.2.3 allows a date as well)
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def _decode(body: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(parse_json(body, where="refusal"))
    except ValueError:
        return {}


def _words(value: object) -> str:
    """Return words of the server, not too many, of which none can steer a terminal, wherever they go."""
    text = str(value).strip()[:MAX_SHOWN]
    return "\n".join(printable(line) for line in text.split("\n"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_missing_rule(message: str) -> bool:
    # RBAC's refusal has this form; quotas and admission webhooks answer 403 as well, with other words
    return " cannot " in message and " resource " in message


def _where(call: RequestContext) -> str:
    return f"in namespace {call.namespace!r}" if call.namespace else "in a ClusterRole"


def _rule(call: RequestContext) -> str:
    plural = f"{call.resource.plural}/{call.subresource}" if call.subresource else call.resource.plural
    return json.dumps({"apiGroups": [call.resource.group], "resources": [plural], "verbs": [call.verb]})


def _read_absence(call: RequestContext, *, details: Mapping[str, Any], got: str, message: str) -> AbsentError:
    if details.get("kind") == "namespaces":
        return AbsentError(
            where=f"namespace {call.namespace!r}",
            expected="one that exists",
            got=got,
            fix=f"create it or name another with --namespace ({call.access})",
        )
    if not details.get("name"):  # the path itself is unknown: no such kind in this cluster
        return AbsentError(
            where=call,
            expected=f"a cluster that knows {call.resource.plural} of {call.resource.api_version}",
            got=got,
            said=message,
            fix=f"install what serves them ({call.access})",
        )
    return AbsentError(
        where=call, expected="it to be there", got=got, fix=f"see `ftlaunch list` ({call.access})"
    )


def _read_refusal(call: RequestContext, *, status: Mapping[str, Any], got: str, message: str) -> InvalidError:
    listed = _list_causes(status)
    faults = "".join(f"\n  {str(cause)[:MAX_SHOWN]}" for cause in listed) or f" {message or 'what was sent'}"
    causes = listed or read_causes(message)
    return InvalidError(
        where=call,
        expected="what the cluster accepts",
        got=got,
        fix=f"mend:{faults}",
        causes=causes,
        words=message,
    )


def _list_causes(status: Mapping[str, Any]) -> list[Cause]:
    listed = _mapping(status.get("details")).get("causes")
    return [
        Cause(_words(cause.get("field") or ""), _words(cause.get("message", "")))
        for cause in map(_mapping, listed if isinstance(listed, list) else [])
        if cause.get("field") != _NOWHERE and (cause.get("field") or cause.get("message"))
    ]


def read_causes(message: str) -> list[Cause]:
    """Return what a sentence says of fields.

    Strict decoding and admission webhooks list nothing, and a webhook that cannot decode a value names its
    field without list indices and map keys (observed with Kubernetes 1.34, training operator v1.9.3).
    """
    unknown = [Cause(found[2], f"{found[1]} field") for found in re.finditer(_STRICT, message)]
    if unknown:
        return unknown
    if typed := re.search(_TYPED, message):
        return [Cause(typed[2], typed[1])]
    denied = re.search(_DENIED, message)
    return [Cause(denied[1], denied[2].strip())] if denied else []


_OTHER_PROTOCOL = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
_ABOUT_OURS = frozenset({"CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED"})


def read_distrust(error: BaseException, *, where: str, server: str, access: str) -> CertificateError | None:
    """Return what a connection's failure says about certificates; None where it is about something else.

    Args:
        error: Perhaps with the ssl module's one among its causes and arguments.
        where: Begins the sentence.
        server: As the user names it, such as `https://10.0.0.1:6443`.
        access: How the user names the way in: `context 'prod'`.
    """
    for found in unfold(error):
        if isinstance(found, ssl.SSLCertVerificationError):
            return _distrust_theirs(found, where=where, server=server, access=access)
        if isinstance(found, ssl.SSLError):
            reason = str(found.reason or "")
            if reason in _OTHER_PROTOCOL:
                return CertificateError(
                    where=where,
                    expected=f"TLS from {server}",
                    got="another protocol",
                    fix=f"mend `server` of the kubeconfig's cluster: its port, or http for https ({access})",
                )
            if "ALERT" in reason and any(word in reason for word in _ABOUT_OURS):
                return CertificateError(
                    where=where,
                    expected=f"{server} to take our client certificate",
                    got=reason,
                    fix=f"log in again, or renew client-certificate of the kubeconfig's user ({access})",
                )
    return None


def _distrust_theirs(
    error: ssl.SSLCertVerificationError, *, where: str, server: str, access: str
) -> CertificateError:
    said = error.verify_message or f"{error}"
    if "mismatch" in said:
        expected = f"a certificate for the name in {server}"
        fix = "name the server as its certificate does, or set tls-server-name of the kubeconfig's cluster"
    elif "expired" in said or "not yet valid" in said:
        expected = f"a certificate of {server} that is valid now"
        fix = "renew the API server's certificate, or set this machine's clock"
    else:
        expected = f"a certificate of {server} that the kubeconfig's CA has signed"
        renew = "renew certificate-authority-data of the kubeconfig's cluster"
        fix = f"check that this is your cluster, then {renew}"
    return CertificateError(where=where, expected=expected, said=said.rstrip("."), fix=f"{fix} ({access})")


def unfold(error: BaseException) -> Iterator[BaseException]:
    """Give an error, what it was made of and what caused it; libraries wrap in either way."""
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop()
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [
                part
                for part in (*found.args, found.__cause__, found.__context__)
                if isinstance(part, BaseException)
            ]
