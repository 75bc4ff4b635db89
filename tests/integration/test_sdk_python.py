"""The SDK for Python over a WebSocket. All scenarios run at the same time, against one server without Redis.

Each test looks at the result of one scenario. The last test opens a thousand connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import jwt
import pytest
from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler

from tests.integration.conftest import Running, launcher
from tests.integration.sdk import CONF, KEY, PIPELINES

PATIENCE = 15.0
Result = TypeVar("Result")
EVENTS = ("subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error")


def token(user: str, seconds: int = 600, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + seconds, **claims}, KEY, "HS256")


class Log:
    """What has happened to a client or a subscription, in order."""

    def __init__(self, handler: Any, *names: str) -> None:
        self.all: list[tuple[str, Any]] = []
        self._more = asyncio.Condition()
        for name in names:
            setattr(handler, f"on_{name}", self._recorder(name))

    def _recorder(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def record(context: Any) -> None:
            async with self._more:
                self.all.append((name, context))
                self._more.notify_all()

        return record

    def of(self, name: str) -> list[Any]:
        return [context for one, context in self.all if one == name]

    @property
    def data(self) -> list[Any]:
        return [context.pub.data for context in self.of("publication")]

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until `holds` returns something true, and return that."""
        async with self._more:
            try:
                await asyncio.wait_for(self._more.wait_for(holds), PATIENCE)
            except TimeoutError:
                raise AssertionError(f"not in time: {self.all}") from None
        return holds()

    async def next(self, name: str, count: int = 1) -> Any:
        """Wait for the nth event with a name."""
        found = await self.until(lambda: self.of(name)[count - 1 : count])
        return found[0]


class Scene:
    """One run of a scenario: makes its clients, and ends them afterwards."""

    def __init__(self, name: str, server: Running) -> None:
        self.name = name
        self.server = server
        self.ends = contextlib.AsyncExitStack()

    def client(self, path: str = "connection", *, port: int = 0, **options: Any) -> tuple[Any, Log]:
        handler = ClientEventHandler()
        log = Log(handler, "connecting", "connected", "disconnected", *EVENTS)
        address = f"ws://127.0.0.1:{port or self.server.port}/{path}/websocket"
        client = Client(address, handler, min_reconnect_delay=0.02, max_reconnect_delay=0.2, proxy=None, **options)
        self.ends.push_async_callback(client.disconnect)
        return client, log

    async def user(self, name: str, path: str = "connection", *, port: int = 0, **claims: Any) -> tuple[Any, Log]:
        client, log = self.client(path, port=port, token=token(name, **claims))
        await client.connect()
        await client.ready(PATIENCE)
        return client, log

    async def subscribed(self, client: Any, channel: str, **options: Any) -> tuple[Any, Log]:
        subscription, log = self.subscription(client, channel, **options)
        await subscription.subscribe()
        await subscription.ready(PATIENCE)
        return subscription, log

    def subscription(self, client: Any, channel: str, **options: Any) -> tuple[Any, Log]:
        handler = SubscriptionEventHandler()
        log = Log(handler, *EVENTS)
        return client.new_subscription(channel, handler, min_resubscribe_delay=0.02, **options), log


class Line:
    """A TCP proxy whose connections can be cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, other_writer}
        await asyncio.gather(self._copy(reader, other_writer), self._copy(other_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    def cut(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def error_of(awaitable: Awaitable[Any]) -> int:
    """The code of the error that a command fails with."""
    with pytest.raises(ReplyError) as caught:
        await awaitable
    code: int = caught.value.code
    return code


def run(main: Awaitable[Result]) -> Result:
    """`asyncio.run`, but with time for the SDK to close connections, which it does in tasks of its own."""

    async def whole() -> Result:
        result = await main
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=PATIENCE)
        return result

    return asyncio.run(whole())


async def connects_without_a_token(scene: Scene) -> None:
    client, log = scene.client("open")
    await client.connect()
    assert (await log.next("connected")).client
    await client.disconnect()
    assert (await log.next("disconnected")).code == 0


async def connects_with_data(scene: Scene) -> None:
    client, log = scene.client("data", data={"word": "sesame"})
    await client.connect()
    await log.next("connected")
    client, log = scene.client("data", data={"word": "barley"})
    await client.connect()
    assert (await log.next("disconnected")).code == 3507
    assert len(log.of("connecting")) == 1


async def is_refused_with_an_invalid_token(scene: Scene) -> None:
    client, log = scene.client(token="nonsense")
    await client.connect()
    assert (await log.next("disconnected")).code == 3500
    assert len(log.of("connecting")) == 1


async def outlives_its_first_token(scene: Scene) -> None:
    calls = 0

    async def get_token() -> str:
        nonlocal calls
        calls += 1
        if calls == 6:
            enough.set()
        return token(scene.name, 4)

    enough = asyncio.Event()
    client, log = scene.client(token=token(scene.name, -5), get_token=get_token)
    await client.connect()
    await asyncio.wait_for(enough.wait(), PATIENCE)
    assert (await client.rpc("echo", "still here")).data == "still here"
    assert len(log.of("connected")) == 1


async def subscribes_with_a_token(scene: Scene) -> None:
    client, _ = await scene.user(scene.name, "tokens")
    channel = f"chat:{scene.name}"
    calls = 0

    async def get_token(channel: str) -> str:
        nonlocal calls
        calls += 1
        if calls == 6:
            enough.set()
        return token(scene.name, 4, channel=channel)

    enough = asyncio.Event()
    subscription, log = await scene.subscribed(client, channel, get_token=get_token)
    await asyncio.wait_for(enough.wait(), PATIENCE)
    await subscription.publish("still here")
    await log.next("publication")
    assert [name for name, _ in log.all if name != "join"] == ["subscribing", "subscribed", "publication"]
    refused, log = scene.subscription(client, f"chat:other-{scene.name}", token=token(scene.name, channel=channel))
    await refused.subscribe()
    assert (await log.next("unsubscribed")).code == 103


async def is_refused_a_channel(scene: Scene) -> None:
    client, _ = await scene.user(scene.name)
    subscription, log = scene.subscription(client, f"closed:{scene.name}")
    await subscription.subscribe()
    assert (await log.next("unsubscribed")).code == 103
    assert len(log.of("subscribing")) == 1
    assert await error_of(client.publish(f"closed:{scene.name}", "x")) == 103


async def publishes(scene: Scene) -> None:
    channel = f"chat:{scene.name}"
    ann, connection = await scene.user(f"ann-{scene.name}", info={"name": "Ann"})
    bob, _ = await scene.user(f"bob-{scene.name}")
    own, _ = await scene.subscribed(ann, channel)
    _, log = await scene.subscribed(bob, channel)
    messages = [{"text": "two\nlines"}, "🦜", 17.5, True, [1, {"a": None}], "é" * 50_000]
    for message in messages:
        await own.publish(message)
    await log.next("publication", len(messages))
    assert log.data == messages
    info = log.of("publication")[0].pub.info
    assert (info.client, info.user) == (connection.of("connected")[0].client, f"ann-{scene.name}")
    assert (info.conn_info, info.chan_info) == ({"name": "Ann"}, {"user": f"ann-{scene.name}"})


async def knows_who_is_present(scene: Scene) -> None:
    channel = f"chat:{scene.name}"
    (ann, _), (bob, _) = await scene.user("ann"), await scene.user("bob")
    own, log = await scene.subscribed(ann, channel)
    others, _ = await scene.subscribed(bob, channel)
    await log.until(lambda: any(context.info.user == "bob" for context in log.of("join")))
    assert sorted(one.user for one in (await own.presence()).clients.values()) == ["ann", "bob"]
    stats = await own.presence_stats()
    assert (stats.num_clients, stats.num_users) == (2, 2)
    await others.unsubscribe()
    assert (await log.next("leave")).info.user == "bob"


async def reads_a_history(scene: Scene) -> None:
    client, _ = await scene.user(scene.name)
    subscription, _ = await scene.subscribed(client, f"chat:{scene.name}")
    for number in range(1, 5):
        await subscription.publish(number)
    history = await subscription.history(limit=3, reverse=True)
    assert ([one.data for one in history.publications], history.offset) == ([4, 3, 2], 4)


async def calls(scene: Scene) -> None:
    client, _ = await scene.user(scene.name)
    assert (await client.rpc("echo", {"a": [1, "🦜"]})).data == {"a": [1, "🦜"]}
    assert await error_of(client.rpc("unknown", 1)) == 103


async def is_subscribed_by_the_server(scene: Scene) -> None:
    _, log = await scene.user(scene.name, channels=[f"claimed:{scene.name}"])
    await log.next("subscribed", 3)
    names = sorted(context.channel for context in log.of("subscribed"))
    assert names == [f"claimed:{scene.name}", "news", f"user:{scene.name}"]
    backend, _ = await scene.user("backend")
    await backend.publish(f"user:{scene.name}", "for you")
    assert (await log.next("publication")).pub.data == "for you"


async def recovers_without_a_gap(scene: Scene) -> None:
    await _recover(scene, "chat", [0, 1, 2, 3, 4], recovered=True)


async def is_told_about_a_gap(scene: Scene) -> None:
    await _recover(scene, "short", [0, 9], recovered=False)


async def _recover(scene: Scene, kind: str, expected: list[int], *, recovered: bool) -> None:
    line = Line(scene.server.port)
    await line.open()
    scene.ends.callback(line.cut)
    channel = f"{kind}:{scene.name}"
    client, _ = await scene.user(scene.name, port=line.port)
    _, log = await scene.subscribed(client, channel)
    backend, _ = await scene.user("backend")
    await backend.publish(channel, 0)
    await log.next("publication")
    line.cut()
    await log.next("subscribing", 2)
    *missed, last = range(1, expected[-1] + 1)
    for number in missed:
        await backend.publish(channel, number)
    await line.open()
    back = await log.next("subscribed", 2)
    assert (back.was_recovering, back.recovered) == (True, recovered)
    await backend.publish(channel, last)
    await log.until(lambda: log.data[-1] == last)
    assert log.data == expected


SCENARIOS = (
    connects_without_a_token,
    connects_with_data,
    is_refused_with_an_invalid_token,
    outlives_its_first_token,
    subscribes_with_a_token,
    is_refused_a_channel,
    publishes,
    knows_who_is_present,
    reads_a_history,
    calls,
    is_subscribed_by_the_server,
    recovers_without_a_gap,
    is_told_about_a_gap,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with launcher(tmp_path_factory.mktemp("sdk"), None) as serve:
        yield serve(CONF, pipelines=PIPELINES, KEY=KEY)


@pytest.fixture(scope="module")
def results(server: Running) -> dict[str, str]:
    """What was wrong with each scenario; empty if nothing was."""

    async def play(scenario: Callable[[Scene], Awaitable[None]]) -> str:
        scene = Scene(scenario.__name__.replace("_", "-"), server)
        try:
            async with scene.ends:
                await scenario(scene)
        except BaseException:
            return traceback.format_exc()
        return ""

    async def play_all() -> dict[str, str]:
        errors = await asyncio.gather(*map(play, SCENARIOS))
        return {scenario.__name__: error for scenario, error in zip(SCENARIOS, errors, strict=True)}

    return run(play_all())


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_scenario(results: dict[str, str], scenario: str) -> None:
    assert results[scenario] == ""


def test_a_thousand_connections(server: Running) -> None:
    """They all connect, and all get the same publication."""
    number, channel = 1000, "short:crowd"

    async def join(scene: Scene, some: asyncio.Semaphore) -> Log:
        async with some:
            client, _ = await scene.user("crowd")
            _, log = await scene.subscribed(client, channel)
        return log

    async def meet() -> list[list[Any]]:
        scene, some = Scene("crowd", server), asyncio.Semaphore(100)
        async with scene.ends:
            logs = await asyncio.gather(*(join(scene, some) for _ in range(number)))
            backend, _ = await scene.user("backend")
            await backend.publish(channel, "hello")
            await asyncio.gather(*(log.next("publication") for log in logs))
            return [log.data for log in logs]

    began = time.monotonic()
    assert run(meet()) == [["hello"]] * number
    assert time.monotonic() - began < 30
