"""SIGHUP, or a file that changed, has a running gateway read its configuration again.

Invariant: a configuration with a fault changes nothing: the fault is logged, the gateway goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.supervision.supervisor import Worker
from adapterworks.gateway.webhooks.sending import read_addresses, restart_webhooks
from adapterworks.manifests.errors import AdapterworksError

LOOK_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a gateway's configuration comes from.

    Attributes:
        read: reads and checks it anew, options of the command line applied.
        watch: a file whose changes are taken without a signal; None if none is watched.
        configure_logging: called when `[log]` changed.
    """

    read: Callable[[], GatewayConfig]
    watch: Path | None = None
    configure_logging: Callable[[GatewayConfig], None] = lambda config: None


class Reloading:
    """Reads the configuration of one gateway again when it is told to."""

    def __init__(self, gateway: Gateway, source: Source) -> None:
        self._gateway, self._source = gateway, source
        self._asked = asyncio.Event()
        self._seen = self._stamp()

    def start(self, *, signals: bool) -> None:
        """Begin to follow signals (in a process of its own) and the file.

        A terminal that was closed sends SIGHUP too, and is followed as by any program: the gateway
        drains and ends.
        """
        if signals:
            on_terminal = _has_terminal()
            loop = asyncio.get_running_loop()

            def hung_up() -> None:
                if on_terminal and not _has_terminal():
                    signal.raise_signal(signal.SIGTERM)
                else:
                    self._asked.set()

            loop.add_signal_handler(signal.SIGHUP, hung_up)
        self._gateway.supervisor.task("configuration", self.follow)

    async def follow(self, worker: Worker) -> None:
        """Follow for ever."""
        while True:
            if self._source.watch is None:
                await self._asked.wait()
            else:
                try:
                    await asyncio.wait_for(self._asked.wait(), LOOK_S)
                except TimeoutError:
                    if (now := self._stamp()) == self._seen:
                        continue
                    self._seen = now
            self._asked.clear()
            await self.reload()

    async def reload(self) -> None:
        """Read it, and take what can be taken."""
        gateway = self._gateway
        try:
            new = await asyncio.to_thread(self._source.read)
            read_addresses(new.webhooks)  # a secret that is not there is a fault like any other
            found = gateway.reconfigure(new)
        except AdapterworksError as error:
            _log.error("the configuration is as it was: %s", error.message)
            return
        try:
            if "webhooks" in found.taken:
                await restart_webhooks(gateway)
        except AdapterworksError as error:
            what = "the configuration was taken, but webhooks are not sent by it yet"
            _log.error("%s; have it read again: %s", what, error.message)
        if "log" in found.taken:
            self._source.configure_logging(new)
        taken = ", ".join(f"`{name}`" for name in found.taken) or "nothing"
        _log.info("configuration read again; changed: %s", taken)
        if found.left:
            names = ", ".join(f"`{name}`" for name in found.left)
            _log.warning("%s changed too, and need a restart", names)

    def _stamp(self) -> tuple[int, int] | None:
        if self._source.watch is None:
            return None
        try:
            found = self._source.watch.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino


def _has_terminal() -> bool:
    """Whether somebody's terminal is still at the other end."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) >= 0
    except OSError:
        return False
