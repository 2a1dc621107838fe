"""Whether code of a model's passes the tests of its row, run in the sandbox.

Invariant: what ran passed only if it says a word that is sent to it after the code has ended; so
an `exit(0)` passes nothing. The code runs in a child, which is sent tests and word once it has
said, by a mark of its own, that the code is done: until then no descriptor has them, and nothing
that can be written to one says that it passed. That keeps out what a policy stumbles upon. An
answer that takes the processes around it apart, or whose values claim to equal everything, is not
kept out; it reaches nothing else there.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

from adapterworks.builders.rewards.sandbox import Limits, require, run_inside, told_of

_PROGRAM = """\
import json, os, resource, select, sys

def answer(code, mark, said, told):  # in the child
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    said, told = os.dup2(said, 64), os.dup2(told, 65)
    os.closerange(3, 64)
    os.closerange(66, 256)
    run, make, parse, read, write, leave = exec, compile, json.loads, os.read, os.write, os._exit
    read(told, 1)  # the parent has read what follows: it stands in no pipe that is open anywhere
    os.set_blocking(told, False)  # what reads every descriptor reads nothing, and does not wait
    names = {"__name__": "answer"}
    run(make(code, "answer.py", "exec"), names)
    os.set_blocking(told, True)
    write(said, mark)
    line = b""
    while not line.endswith(b"\\n"):
        line += read(told, 1 << 16) or leave(1)
    later = parse(line)
    run(make(later["tests"], "tests.py", "exec"), names)
    write(said, later["word"].encode())
    leave(0)

def heard(said, child, length):  # so many bytes, or fewer where the child has ended
    found = b""
    while len(found) < length:
        if select.select([said], [], [], 0.02)[0]:
            more = os.read(said, length - len(found))
            if not more:
                break
            found += more
        elif os.waitpid(child, os.WNOHANG)[0]:
            while select.select([said], [], [], 0)[0] and (more := os.read(said, length)):
                found += more
            break
    return found

def main():
    line = b""
    while not line.endswith(b"\\n"):  # no further: what follows is not for the child
        line += os.read(0, 1)
    given = json.loads(line)
    for name, most in given["limits"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    mark = os.urandom(16)
    said, says = os.pipe()
    listens, tells = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer(given["code"], mark, says, listens)
        finally:
            os._exit(1)
    os.close(says)
    os.close(listens)
    later = b""
    while not later.endswith(b"\\n"):
        later += os.read(0, 1 << 16)
    os.write(tells, b".")
    if heard(said, child, len(mark)) == mark:
        left = later
        while left:
            left = left[os.write(tells, left):]
        word = json.loads(later)["word"].encode()
        if heard(said, child, len(word)) == word:
            os.write(given["out"], word)

main()
"""


def passes(codes: Sequence[str], tests: Sequence[str], limits: Limits | None = None) -> list[bool]:
    """Whether each code runs and its tests raise nothing.

    Args:
        tests: Python that is run behind the code, with its names.

    Raises:
        Refused: as `require`.
    """
    require()
    bounds = limits or Limits()
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        pairs = list(zip(codes, tests, strict=True))
        return list(pool.map(lambda pair: _run(pair[0], pair[1], bounds), pairs))


def _run(code: str, tests: str, limits: Limits) -> bool:
    word = secrets.token_hex(16)
    given = {**told_of(limits), "code": code}
    lines = "\n".join(json.dumps(part) for part in (given, {"tests": tests, "word": word}))
    return run_inside(_PROGRAM, f"{lines}\n", limits) == word.encode()
