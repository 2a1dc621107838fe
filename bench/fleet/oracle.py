"""The fewest loads there can be: one pool of all places, and all arrivals known (Belady 1966).

No fleet reaches it: places belong to engines, and an adapter that is asked for at a rate above one
engine's needs several.
"""

from __future__ import annotations

import heapq

from bench.fleet.traffic import Traffic


def belady(traffic: Traffic, places: int) -> list[bool]:
    """Whether each request finds its adapter loaded, when what is asked for latest makes room."""
    adapters = [int(adapter) for adapter in traffic.adapter]
    never = len(adapters)
    following = [never] * len(adapters)
    last: dict[int, int] = {}
    for number in range(len(adapters) - 1, -1, -1):
        following[number] = last.get(adapters[number], never)
        last[adapters[number]] = number
    loaded: dict[int, int] = {}  # adapter → when it is asked for next
    latest: list[tuple[int, int]] = []
    found = []
    for number, adapter in enumerate(adapters):
        found.append(adapter in loaded)
        if adapter not in loaded and len(loaded) >= places:
            while True:
                then, leaver = heapq.heappop(latest)
                if loaded.get(leaver) == -then:
                    del loaded[leaver]
                    break
        loaded[adapter] = following[number]
        heapq.heappush(latest, (-following[number], adapter))
    return found
