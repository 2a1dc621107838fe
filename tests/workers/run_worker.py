"""A worker in a process of its own whose jobs are run by the stand-in: `… SECONDS-OF-LEASE`."""

from __future__ import annotations

import signal
import sys

from adapterworks.app import App
from adapterworks.workers.worker import Worker


def main(lease: float) -> None:
    """Run jobs until SIGTERM."""
    app = App()
    worker = Worker(
        app.registry.database,
        app.settings.home,
        say=print,
        child=(sys.executable, "-P", "-m", "tests.workers.standin"),
        poll=0.05,
        lease=lease,
    )
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()
    app.close()


if __name__ == "__main__":
    main(float(sys.argv[1]))
