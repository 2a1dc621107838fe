"""How much personal data the detectors find, and how often they take something else for it.

    python -m bench.personal_data [--each 100] [--seed 1] [--show]

Recall is the share of planted values of which nothing is left in the redacted sentence. The
false-positive rate is the share of sentences without any that do not come out as they went in. The
intervals are Wilson's, 95 %. Names of people and postal addresses are not looked for, so there are
none among the sentences.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable

from adapterworks.privacy.redact import redact
from bench.planted_personal import Planted, lookalikes, planted

_Z = 1.959963984540054


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, z = hits / count, _Z**2 / count
    middle = (share + z / 2) / (1 + z)
    reach = _Z / (1 + z) * math.sqrt(share * (1 - share) / count + z / (4 * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def is_gone(item: Planted) -> bool:
    """Whether nothing of the value is left: not it, and no half of it."""
    text, _ = redact(item.text)
    half = len(item.value) // 2
    return item.value[:half] not in text and item.value[-half:] not in text


def is_left_alone(item: Planted) -> bool:
    """Whether the sentence comes out as it went in."""
    return redact(item.text)[0] == item.text


def shares(
    items: Iterable[Planted], good: Callable[[Planted], bool]
) -> dict[str, tuple[int, int, list[Planted]]]:
    """By kind: how many are good, of how many, and the others."""
    found: dict[str, tuple[int, int, list[Planted]]] = {}
    for item in items:
        hits, count, others = found.setdefault(item.kind, (0, 0, []))
        is_good = good(item)
        found[item.kind] = hits + is_good, count + 1, others if is_good else [*others, item]
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.personal_data")
    parser.add_argument("--each", type=int, default=100, help="sentences a kind and language")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="show what was missed or taken")
    options = parser.parse_args()
    began = time.perf_counter()
    found = shares(planted(options.seed, options.each), is_gone)
    alone = shares(lookalikes(options.seed + 1, options.each), is_left_alone)
    seconds = time.perf_counter() - began
    print("| kind | found | recall | 95 % |\n|---|---|---|---|")
    for kind, (hits, count, _) in found.items():
        low, high = wilson(hits, count)
        print(f"| {kind} | {hits} of {count} | {hits / count:.3f} | {low:.3f}–{high:.3f} |")
    print("\n| not personal | taken for it | rate | 95 % |\n|---|---|---|---|")
    for kind, (hits, count, _) in alone.items():
        low, high = wilson(count - hits, count)
        taken = count - hits
        print(f"| {kind} | {taken} of {count} | {taken / count:.3f} | {low:.3f}–{high:.3f} |")
    sentences = sum(count for _, count, _ in (*found.values(), *alone.values()))
    print(f"\n{sentences} sentences, {1000 * seconds / sentences:.2f} ms each")
    if options.show:
        for _, _, others in (*found.values(), *alone.values()):
            for item in others[:5]:
                print(f"{item.kind} ({item.language}): {item.text!r} → {redact(item.text)[0]!r}")


if __name__ == "__main__":
    main()
