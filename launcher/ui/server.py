"""Serves the page on 127.0.0.1, until it is told to end."""

from __future__ import annotations

import errno
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from launcher.errors import UsageError
from launcher.plan.handle import BackendKind
from launcher.runs.paths import runs_dir
from launcher.runs.store import RunStore
from launcher.ui.app import App, Settings
from launcher.ui.guard import Keys

HOST = "127.0.0.1"
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_MOST_AT_ONCE = 128
_END_S = 2
_OPENER = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={address}">
<title>ftlaunch</title><a href="{address}">Runs</a>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A page that can be opened.

    Attributes:
        address: With its token, which lets whoever has it in.
        opener: File of this user alone that leads there. A browser is started with it, because everybody on
            the machine can read what a program was started with.
    """

    address: str
    opener: Path


def serve(
    *,
    port: int = 0,
    on: BackendKind | None = None,
    namespace: str = "",
    context: str | None = None,
    version: str = "",
    on_started: Callable[[Started], None],
) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        port: To listen on; 0 for one that is free.
        on: Only runs of this kind of backend; None for all.
        namespace: Of Kubernetes, whose jobs are shown too; empty for none.
        context: Of the kubeconfig; None for what settings say.
        version: Of ftlaunch, for pages that are saved.
        on_started: Told where it is, once it can be connected to.

    Raises:
        UsageError: The port is taken.
    """
    keys = Keys()
    with closing(_listen(port)) as listener, tempfile.TemporaryDirectory(prefix="ftlaunch-ui-") as folder:
        settings = Settings(
            store=RunStore(runs_dir()), fetched=Path(folder) / "fetched", version=version, on=on,
            namespace=namespace, context=context, keys=keys,
        )  # fmt: skip
        app = App(settings)
        app.runs.begin()
        address = f"http://{HOST}:{listener.getsockname()[1]}/?token={keys.token}"
        opener = Path(folder) / "open.html"
        opener.write_text(_OPENER.format(address=address), encoding="utf-8")
        config = uvicorn.Config(
            app.build(), loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, limit_concurrency=_MOST_AT_ONCE,
            timeout_graceful_shutdown=_END_S,
        )  # fmt: skip
        server = _Server(config, app)
        on_started(Started(address=address, opener=opener))
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends the open streams first, for which uvicorn would wait, and returns when a signal has ended it.

    uvicorn itself raises the signal again then, so that nothing of what its caller has to tidy is done.
    """

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Have a signal end the server, where signals can be taken: in the main thread."""
        is_main = threading.current_thread() is threading.main_thread()
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)] if is_main else []
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.ended.set()
        await super().shutdown(sockets)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR lets others take the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(_MOST_AT_ONCE)
    except OSError as error:
        listener.close()
        is_taken = error.errno == errno.EADDRINUSE
        raise UsageError(
            where=f"--port {port}", expected="a free port of this machine",
            got="one that is in use" if is_taken else "", said="" if is_taken else error.strerror,
            fix="leave it out to have one chosen",
        ) from error  # fmt: skip
    return listener
