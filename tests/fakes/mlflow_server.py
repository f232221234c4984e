"""An MLflow tracking server as its REST API answers (mlflow.org, REST API), with state, and faults on demand.

It refuses what it does not know with 404, as the real one does.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

API = "/api/2.0/mlflow/"


class Server:
    """Keeps experiments and runs.

    `faults` come one a request: a status, `hang` (no answer), or `lose` (done, and the answer is lost).
    """

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.faults: list[int | str] = []
        self._made = 0
        self.always: int | None = None
        self.asked: list[str] = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def points(self, name: str = "train/loss") -> list[tuple[int, float]]:
        """Return (step, value) of a metric of the one run, as they came."""
        (run,) = self.runs.values()
        return [(metric["step"], metric["value"]) for metric in run["metrics"] if metric["key"] == name]

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = urlsplit(handler.path)
        fault = self.always or (self.faults.pop(0) if self.faults else None)
        self.asked.append(path.path)
        if fault == "hang":
            self._over.wait()
            return
        if isinstance(fault, int):
            self._reply(handler, fault, {"error_code": "INTERNAL_ERROR", "message": "not well"})
            return
        if path.path.startswith("/api/2.0/mlflow-artifacts/artifacts/"):
            self.files[path.path.partition("/artifacts/")[2]] = body
            self._reply(handler, 200, {})
            return
        asked = json.loads(body) if body else {key: values[0] for key, values in parse_qs(path.query).items()}
        with self._lock:
            found = self._do(path.path.removeprefix(API), asked)
        if fault == "lose":
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif found is None:
            self._reply(handler, 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": path.path})
        else:
            self._reply(handler, 200, found)

    def _do(self, what: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        run = self.runs.get(str(asked.get("run_id")))
        if what == "experiments/get-by-name":
            number = self.experiments.get(asked["experiment_name"])
            if number is None:
                return None
            found = {"experiment_id": number, "name": asked["experiment_name"], "lifecycle_stage": "active"}
            return {"experiment": found}
        if what == "experiments/create":
            number = self.experiments.setdefault(asked["name"], str(len(self.experiments) + 1))
            return {"experiment_id": number}
        if what == "runs/create":
            self._made += 1
            number = f"{self._made:032x}"
            self.runs[number] = run = {
                "id": number, "name": asked.get("run_name"), "experiment": asked["experiment_id"],
                "status": "RUNNING", "tags": {tag["key"]: tag["value"] for tag in asked["tags"]},
                "params": {}, "metrics": [],
            }  # fmt: skip
            return {"run": _show(run)}
        if what == "runs/search":
            sought = re.fullmatch(r"tags\.`([^`]+)` = '([^']+)'", asked["filter"])
            assert sought
            return {
                "runs": [_show(one) for one in self.runs.values() if one["tags"].get(sought[1]) == sought[2]]
            }
        if run is None:
            return None
        if what == "runs/get":
            return {"run": _show(run)}
        if what == "runs/update":
            run["status"] = asked.get("status", run["status"])
            return {"run_info": _show(run)["info"]}
        if what == "runs/log-batch":
            assert len(asked.get("metrics", ())) <= 1000
            assert len(asked.get("params", ())) <= 100
            run["metrics"] += asked.get("metrics", [])
            run["params"] |= {param["key"]: param["value"] for param in asked.get("params", ())}
            run["tags"] |= {tag["key"]: tag["value"] for tag in asked.get("tags", ())}
            return {}
        if what == "metrics/get-history":
            return {"metrics": [one for one in run["metrics"] if one["key"] == asked["metric_key"]]}
        return None

    def _reply(self, handler: BaseHTTPRequestHandler, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


def _show(run: dict[str, Any]) -> dict[str, Any]:
    info = {
        "run_id": run["id"], "run_uuid": run["id"], "run_name": run["name"], "status": run["status"],
        "experiment_id": run["experiment"], "lifecycle_stage": "active", "start_time": 1,
        "artifact_uri": f"mlflow-artifacts:/{run['experiment']}/{run['id']}/artifacts",
    }  # fmt: skip
    texts = {
        name: [{"key": key, "value": value} for key, value in run[name].items()]
        for name in ("params", "tags")
    }
    return {"info": info, "data": texts}


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            server.answer(self, self.rfile.read(length))

        do_GET = do_POST = do_PUT = do_PATCH = _any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler
