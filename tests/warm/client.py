"""Started as if it were Python: has the server fork the command, and is it from outside.

Its exit code, its open files and the signals that end it are the command's; if it is killed, so is
the command. It is copied behind a line `#!… -IS` with the socket's path, and imports little.
"""

import json
import os
import signal
import socket
import sys

SOCKET = "@SOCKET@"


def main() -> None:
    """Ask, pass signals on, and end as the command ends."""
    files = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            os.fstat(int(name))
            files.append(int(name))
        except OSError:
            pass  # the listing's own
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(SOCKET)
    request = {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
        "files": files,
        "python": os.path.abspath(sys.argv[0]),  # noqa: PTH100
    }
    data = json.dumps(request).encode()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
    message = str(len(data)).encode() + b"\n" + data
    sent = socket.send_fds(connection, [message], files)
    connection.sendall(message[sent:])
    code = int(connection.recv(16))
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
