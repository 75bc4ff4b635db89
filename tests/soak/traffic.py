"""The clients of the soak: members of rooms that stay or come and go, slow readers, and clients that expect an echo."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.soak.ledger import Ledger, Receiver, read

# Seconds: for a connection, on a machine that has other things to do; for what has been sent to arrive.
PATIENCE = 30.0
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close sends a reset
GOING_AWAY, TRY_LATER = 1001, 1013


class Site(msgspec.Struct, frozen=True):
    """A server for clients: its name, its address without a path, and the TLS context or None."""

    name: str
    address: str
    context: ssl.SSLContext | None

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class World:
    """What all clients share.

    Attributes:
        running: whether clients still come and go.
        talking: whether clients that stay still send messages.
        leaving: whether they disconnect.
        present: the number of connections.
        serial: the certificate that new connections must get, and since when; None before it is known.
        trouble: descriptions of errors.
    """

    def __init__(self, ledger: Ledger, sites: list[Site], seed: int) -> None:
        self.ledger = ledger
        self.counts = ledger.counts
        self.sites = sites
        self.chance = random.Random(seed)
        self.running = True
        self.talking = True
        self.leaving = False
        self.present = 0
        self.serial: tuple[str, float] | None = None
        self.trouble: list[str] = []

    def note(self, kind: str, what: object) -> None:
        """Count an error."""
        self.counts[kind] += 1
        if len(self.trouble) < 50:
            self.trouble.append(f"{kind}: {what}")

    @contextlib.asynccontextmanager
    async def connection(self, site: Site, path: str, **options: Any) -> AsyncIterator[tuple[ClientConnection, int]]:
        """A connection and the process that has it. Who is refused is counted, and so is a wrong certificate."""
        defaults: dict[str, Any] = {
            "ssl": site.context,
            "server_hostname": "localhost" if site.context else None,
            "open_timeout": PATIENCE,
            "close_timeout": PATIENCE,
            "max_size": None,
            "compression": self.chance.choice(("deflate", None)),
        }
        began = time.monotonic()
        try:
            client = await connect(site.address + path, **(defaults | options))
        except (OSError, WebSocketException) as error:
            self.note("refused", f"{site.name}{path}: {error!r}")
            await asyncio.sleep(0.5)
            raise Gone from None
        self.present += 1
        self.counts["connections"] += 1
        try:
            if site.context is not None and self.serial is not None and began > self.serial[1]:
                certificate = client.transport.get_extra_info("peercert")
                if certificate["serialNumber"] != self.serial[0]:
                    self.note("old certificates", certificate["serialNumber"])
            try:
                greeting = await client.recv()
            except ConnectionClosed:
                self.ended(client)
                raise Gone from None
            assert isinstance(greeting, str)
            assert greeting.startswith("p|"), greeting
            yield client, int(greeting[2:])
        finally:
            self.present -= 1
            await client.close()

    def ended(self, client: ClientConnection) -> None:
        """The server has ended a connection. Any code other than 1001 is an error."""
        if client.close_code == GOING_AWAY:
            self.counts["asked to leave"] += 1
        else:
            self.note("cut off", f"{client.request.path if client.request else ''} {client.close_code}")


class Gone(Exception):
    """The connection failed."""


class Member:
    """One connection to a room, which sends messages and counts those that arrive. Some pause from time to time."""

    def __init__(self, world: World, client: ClientConnection, process: int, room: str, halts: bool = False) -> None:
        self.world = world
        self.client = client
        self.sender = world.ledger.sender(process, room)
        self.receiver = Receiver(world.ledger, process, room, time.monotonic())
        self.halts = halts
        self._reading = asyncio.create_task(self._read())

    @property
    def is_over(self) -> bool:
        return self._reading.done()

    async def _read(self) -> None:
        chance, own = self.world.chance, self.sender.key
        try:
            async for message in self.client:
                if message[:2] == "h|":
                    self.world.counts["recent"] += 1
                    if read(message[2:]) is None:
                        self.world.note("torn", message[:80])
                    continue
                found = self.receiver.take(message)
                if found is not None and found[0] == own:
                    self.sender.echoed = found[1]
                if self.halts and chance.random() < 0.001:
                    await asyncio.sleep(1)
        except ConnectionClosed:
            pass

    async def say(self, filler: Callable[[], str], pause: float, seconds: float = 1e9, most: int = 10**9) -> None:
        """Send a message every now and then, as long as talking is allowed."""
        world, until = self.world, time.monotonic() + seconds
        while world.talking and time.monotonic() < until and not self.is_over:
            if most > 0:
                most -= 1
                try:
                    await self.client.send(self.sender.next(time.monotonic(), filler()))
                except ConnectionClosed:
                    break
                world.counts["sent"] += 1
            await asyncio.sleep(pause * world.chance.uniform(0.7, 1.3))

    async def stay(self) -> None:
        """Hear what is still said, until all leave."""
        while not self.world.leaving and not self.is_over:
            await asyncio.sleep(0.05)

    async def leave(self) -> None:
        """Wait for what is still to come, close, and count."""
        until = time.monotonic() + PATIENCE
        self.receiver.wants()
        while not self.is_over and not self.receiver.has_all() and time.monotonic() < until:
            await asyncio.sleep(0.02)
        polite, now = not self.is_over, time.monotonic()
        if not polite:
            self.world.ended(self.client)
        await self.client.close()
        await self._reading
        self.receiver.close(now, polite)

    async def vanish(self, how: str) -> None:
        """Go without a word: by a reset, or in the middle of a frame."""
        transport = self.client.transport
        if how == "reset":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            transport.abort()
        else:
            transport.write(b"\x81\xfe\x10\x00abcdhalf of it")
            transport.close()
        await self._reading
        self.receiver.close(time.monotonic(), False)


def path_of(room: int) -> str:
    return f"/{'waiting' if room % 2 else 'room'}/{room}"


async def stay(world: World, site: Site, path: str, filler: Callable[[], str], pause: float, halts: bool) -> None:
    """A member that stays, and comes again when it is asked to leave."""
    while world.talking:
        try:
            async with world.connection(site, path) as (client, process):
                member = Member(world, client, process, path.rpartition("/")[2], halts)
                await member.say(filler, pause)
                await member.stay()
                await member.leave()
        except Gone:
            continue


async def come_and_go(world: World, rooms: int) -> None:
    """One client after another."""
    while world.running:
        site, room = world.chance.choice(world.sites), world.chance.randrange(rooms)
        how = world.chance.choices(("leave", "reset", "half", "knock"), (6, 2, 1, 1))[0]
        if how == "knock":
            await knock(world, site)
            continue
        try:
            async with world.connection(site, path_of(room)) as (client, process):
                member = Member(world, client, process, str(room))
                await member.say(lambda: "", 0.2, world.chance.uniform(0.2, 2.0), 5)
                if how == "leave" or member.is_over:
                    await member.leave()
                else:
                    await member.vanish(how)
                world.counts[f"churn: {how}"] += 1
        except Gone:
            continue


async def knock(world: World, site: Site) -> None:
    """Half a request, and away."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    except OSError as error:
        world.note("refused", f"{site.name}: {error!r}")
        return
    writer.write(b"GET /room/1 HTTP/1.1\r\nHost: loc")
    await asyncio.sleep(world.chance.uniform(0, 0.3))
    writer.transport.abort()
    world.counts["churn: knock"] += 1


async def doze(world: World, site: Site) -> None:
    """Read nothing for a while in a room where much is said; then what is there, up to the end that must come."""
    while world.running:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        raw.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", site.port))
            options = {"sock": raw, "max_queue": 1, "ping_interval": None, "compression": None}
            async with world.connection(site, "/flood", **options) as (client, process):
                receiver = Receiver(world.ledger, process, "flood", time.monotonic())
                client.transport.pause_reading()
                until = time.monotonic() + world.chance.uniform(5, 15)
                while world.running and time.monotonic() < until:
                    await asyncio.sleep(0.1)
                client.transport.resume_reading()
                with contextlib.suppress(ConnectionClosed, TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        async for message in client:
                            receiver.take(message)
                            if not world.running:
                                break
                code = client.close_code
                names = {
                    None: "in time",
                    1006: "TCP ended",
                    GOING_AWAY: "asked to leave",
                    TRY_LATER: "closed with 1013",
                }
                if code in names:
                    world.counts[f"slow: {names[code]}"] += 1
                else:
                    world.ended(client)
                receiver.close(time.monotonic(), False)
                client.transport.abort()
        except OSError as error:
            world.note("refused", f"{site.name}: {error!r}")
        except Gone:
            continue


async def want_echo(world: World, site: Site, size: Callable[[], int], pause: float) -> None:
    """Messages that must come back as they were, in order, every one of them."""
    number = 0
    while world.running and world.talking:
        try:
            async with world.connection(site, "/echo") as (client, _):
                try:
                    while world.running and world.talking:
                        sent = [_block(world, number + ahead, size()) for ahead in range(3)]
                        number += len(sent)
                        for one in sent:
                            await client.send(one)
                        for one in sent:
                            async with asyncio.timeout(PATIENCE):
                                found = await client.recv()
                            world.counts["echoes"] += 1
                            if found != one:
                                world.note("wrong echoes", found[:40])
                        await asyncio.sleep(pause * world.chance.uniform(0.7, 1.3))
                except TimeoutError:
                    world.note("wrong echoes", "none")
                except ConnectionClosed:
                    world.ended(client)
        except Gone:
            continue


def _block(world: World, number: int, size: int) -> str | bytes:
    """Text or bytes, half of which can be compressed well."""
    half = size // 2
    body = b"%d|" % number + os.urandom(half) + b"soak" * (half // 4)
    return body.hex()[:size] if number % 2 else body + zlib.crc32(body).to_bytes(4)


async def census(site: Site, pids: set[int]) -> dict[int, dict[str, Any]]:
    """What each process says of itself; asks until every one has answered."""
    found: dict[int, dict[str, Any]] = {}
    async with asyncio.timeout(PATIENCE):
        while not pids <= set(found):
            options: dict[str, Any] = {"ssl": site.context, "server_hostname": "localhost" if site.context else None}
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(4):
                    client = await stack.enter_async_context(connect(site.address + "/census", **options))
                    report = json.loads(await client.recv())
                    found.setdefault(report["pid"], report)
            await asyncio.sleep(0.1)
    return found


async def keep(world: World, site: Site) -> None:
    """Publish to a channel with history."""
    number = 0
    while world.running:
        with contextlib.suppress(Gone, ConnectionClosed):
            async with world.connection(site, "/keep") as (client, _):
                while world.running:
                    await client.send(f"{site.name} {number}")
                    number += 1
                    world.counts["kept"] += 1
                    await asyncio.sleep(0.05)


async def remember(world: World, site: Site) -> None:
    """Follow a channel with history through one connection after the other, and count what is missing or repeated."""
    last: dict[str, Any] | None = None
    while world.running:
        since = f"?since={last['epoch']}:{last['offset']}" if last is not None else ""
        until = time.monotonic() + world.chance.uniform(1, 8)
        with contextlib.suppress(Gone, ConnectionClosed):
            async with world.connection(site, f"/kept{since}") as (client, _):
                while world.running and (left := until - time.monotonic()) > 0:
                    try:
                        one = json.loads(await asyncio.wait_for(client.recv(), left))
                    except TimeoutError:
                        break
                    world.counts["gaps"] += one.get("type") == "gap"
                    if "message" in one and last is not None:
                        world.counts["remembered"] += 1
                        if "message" in last or last["type"] == "position":
                            if one["offset"] <= last["offset"] and one["epoch"] == last["epoch"]:
                                world.note("repeated", f"{one} after {last}")
                            elif one["offset"] != last["offset"] + 1:
                                world.note("holes", f"{one} after {last}")
                    last = one
        await asyncio.sleep(world.chance.uniform(0, 2))
