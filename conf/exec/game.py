#!/usr/bin/env python3
"""A game loop: players walk on a line of 20 fields, and ten times a second everybody is told where everybody is.

One process serves all players. It reads lines such as {"event": "message", "client": "…", "message": "left"}, and
writes lines such as {"to": "all", "reply": …}. It publishes nothing as long as nobody has moved.
"""

import json
import os
import select
import sys
import time

FIELDS, TICK = 20, 0.1
STEPS = {"left": -1, "right": 1}
players: dict[str, int] = {}


def write(**line: object) -> None:
    print(json.dumps(line), flush=True)


def happened(event: str, client: str, message: object = None) -> bool:
    """Something has happened to a player. Returns whether anything has changed."""
    if event == "disconnect":
        return players.pop(client, None) is not None
    if event == "connect":
        players[client] = FIELDS // 2
        write(to=client, reply={"you": client})
        return True
    if message not in STEPS:
        write(to=client, reply={"error": "say left or right"})
        return False
    before = players.setdefault(client, FIELDS // 2)
    players[client] = min(max(before + STEPS[message], 0), FIELDS - 1)
    return players[client] != before


buffer, changed, due = b"", False, time.monotonic() + TICK
while True:
    if select.select([0], [], [], max(0.0, due - time.monotonic()))[0]:
        data = os.read(0, 65536)
        if not data:
            sys.exit()  # fws has closed our input: it is shutting down, or reloads
        *lines, buffer = (buffer + data).split(b"\n")
        for line in map(json.loads, lines):
            changed = happened(line["event"], line["client"], line.get("message")) or changed
    if time.monotonic() >= due:
        due += TICK
        if changed:
            write(to="all", reply={"players": players})
            changed = False
