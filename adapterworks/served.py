"""A gateway in a thread of this process: what `adapterworks.serve` gives notebooks and programs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Self

from adapterworks.app import App
from adapterworks.manifests.errors import Conflict, Unavailable
from adapterworks.serving import Say, compose, say_who_gets_in

if TYPE_CHECKING:
    from adapterworks.gateway.config.tables import GatewayConfig


class Served:
    """A gateway with its engines in a thread of this process, which may have a loop of its own.

    A `with` block starts and stops it; so do `start` and `close`, for the cells of a notebook. What
    was not closed is closed when the process ends, however it does.

    Attributes:
        url: where it listens.
        base_url: what an OpenAI client is given, `url` and `/v1`.
    """

    def __init__(self, app: App, config: GatewayConfig, *, base: str | None, say: Say) -> None:
        self._app = app
        self._config = config
        self._base = base
        self._say = say
        self._url: str | None = None
        self._error: BaseException | None = None
        self._settled = threading.Event()  # it answers, or has ended
        self._lock = threading.Lock()  # guards the three that follow
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        # A daemon, so that the interpreter can end: engines end with the process.
        self._thread = threading.Thread(target=self._run, name="adapterworks gateway", daemon=True)

    def __repr__(self) -> str:
        return f"<adapterworks.Served {self._url or 'not serving'}>"

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:PORT`.

        Raises:
            Unavailable: it does not serve yet, or no longer.
        """
        if self._url is None:
            raise Unavailable(
                "this gateway is not serving",
                hint="its URL is known inside `with adapterworks.serve(…) as gateway:`, "
                "or from `gateway.start()` to `gateway.close()`",
            )
        return self._url

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given: `http://127.0.0.1:PORT/v1`.

        Raises:
            Unavailable: it does not serve yet, or no longer.
        """
        return f"{self.url}/v1"

    def start(self) -> Self:
        """Start it; returns when every engine answers. Interrupted, it stops what it had started.

        Raises:
            Conflict: it was started before.
            MissingExtra: an engine is to be started, and vLLM is not installed.
            NotFound: the base that was asked for is none, or a release's base is not here.
            Unavailable: the port is taken, or an engine did not start.
        """
        if self._thread.ident is not None or self._closing:
            raise Conflict(
                "this gateway was started before, or closed",
                hint="call `adapterworks.serve` again for another one",
            )
        _close_at_exit(self)
        self._thread.start()
        try:
            self._settled.wait()
        except BaseException:  # Ctrl-C, a notebook's interrupt
            with contextlib.suppress(Exception):
                self.close()
            raise
        self._raise_error()
        return self

    def close(self) -> None:
        """Stop it and its engines; requests in flight are finished first. Idempotent.

        Raises:
            AdapterworksError: what made it end by itself before, told once.
        """
        with self._lock:
            if not self._closing and self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._closing = True
        if self._thread.ident is not None:
            self._thread.join()
        self._raise_error()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self.close()
        except Exception:
            if kind is None:  # else what ended the block says more
                raise

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._thread.join()
            raise error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._url = None
            self._app.close()
            self._settled.set()

    async def _serve(self) -> None:
        from adapterworks.gateway.http.server import run_gateway

        with self._lock:
            if self._closing:
                return
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            say_who_gets_in(self._app, self._config, self._say)
            await run_gateway(
                compose(self._app, self._config, only=self._base, say=self._say),
                run=self._app.settings.home / "run",
                say=self._say,
                on_ready=self._became_ready,
                own_process=False,
            )
        finally:
            with self._lock:
                self._loop = self._task = None

    def _became_ready(self, url: str) -> None:
        self._url = url
        self._say(f"serving at {url}")
        self._settled.set()


_started: weakref.WeakSet[Served] = weakref.WeakSet()


def _close_at_exit(served: Served) -> None:
    """Have a gateway closed when the interpreter ends, while threads can still be started.

    `atexit` is too late for that: by then asyncio cannot hand anything to a thread. Where Python
    has no such hook the process ends like a killed one, which loses nothing: engines end with it,
    and usage is on disk.
    """
    import concurrent.futures.thread  # noqa: F401  (it has a hook too; the last to come is first)

    if not _started and (register := getattr(threading, "_register_atexit", None)) is not None:
        register(_close_started)
    _started.add(served)


def _close_started() -> None:
    for served in list(_started):
        with contextlib.suppress(Exception):
            served.close()
