"""`fws publish`: publish to a channel of running servers through their Redis."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

import click

from fws.base.errors import ConfigError
from fws.brokers.envelope import encode_rest, text_or_bytes
from fws.brokers.redis import key_of
from fws.cli.run import EXIT_CONFIG
from fws.cli.show import problems_of
from fws.config import Channel, Config, load, place_problems, read
from fws.histories import scripts
from fws.histories.redis import AFTERLIFE
from fws.pipeline.publication import Publication, check_channel
from fws.redis.client import client_of
from fws.redis.connector import Connector, RedisError, reason


@click.command()
@click.argument("conf", type=click.Path())
@click.argument("channel")
@click.argument("message", required=False)
@click.option("--lua", is_flag=True, help="Print the script that stores and publishes, for other programs.")
def publish(conf: str, channel: str, message: str | None, lua: bool) -> None:
    """Publish MESSAGE to the members of CHANNEL on every server with the [redis] section of CONF.

    Without MESSAGE, each line of standard input is published as soon as it is read. A message is text. Bytes that are
    not UTF-8 arrive as a binary message. Each message is delivered at most once, and it has no sender, as if another
    application had published it. If CHANNEL has history, the message is kept exactly once, also while no server has
    members of the channel.
    """
    if lua:
        click.echo(scripts.PUBLISH.decode())
        return
    try:
        config = _config(conf)
        if not config.redis.url:
            raise ValueError("the file names no Redis: set [redis] url, such as redis://localhost:6379/0")
        check_channel(channel)
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        sys.exit(EXIT_CONFIG)
    except ValueError as error:
        click.echo(f"fws: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    redis = config.redis
    rule = config.channels.of(channel)
    connector = Connector.of(redis, config.folder)
    name = f"{redis.prefix}{channel}"
    published = 0
    try:
        client = client_of(connector)
        for payload in _lines() if message is None else [os.fsencode(message)]:
            if len(payload) > redis.max_message:
                click.echo(f"fws: message {published + 1} is larger than [redis] max_message", err=True)
                sys.exit(1)
            if rule is not None and rule.settings.kept:
                _keep(
                    client, redis.prefix, channel, rule.settings, payload, cluster=connector.address.kind == "cluster"
                )
            else:
                # In a Cluster, servers listen at the node that has the channel's slot.
                (client.spublish if connector.address.kind == "cluster" else client.publish)(name, payload)
            published += 1
    except RedisError as error:
        click.echo(f"fws: Redis {connector}: {reason(error)}; {published} messages published", err=True)
        sys.exit(1)


def _keep(client: Any, prefix: str, channel: str, settings: Channel, payload: bytes, *, cluster: bool) -> None:
    """Store and publish a message in one step, as a server does."""
    keys = [key_of(prefix.encode(), kind, channel) for kind in (b"history", b"position")]
    node = f"cli-{secrets.token_urlsafe(9)}"
    rest = encode_rest(Publication(channel, text_or_bytes(payload)), node)
    lasting = int((settings.history_age + AFTERLIFE) * 1000)
    bounds = (lasting, node, settings.history, int(settings.history_age * 1000), settings.history_size)
    verb = "SPUBLISH" if cluster else "PUBLISH"
    words = (f"{prefix}{channel}", verb, "", *bounds, secrets.token_urlsafe(6), "", 0, "", 1, rest)
    client.eval(scripts.PUBLISH, 2, *keys, *words)


def _config(file: str) -> Config:
    """The sections of a file. Filters are not checked, because only servers need them. Raises ConfigError."""
    document = load(file)
    config, problems = read(document, os.environ)
    if problems:
        raise ConfigError(place_problems(problems, document.source))
    return config


def _lines() -> Iterator[bytes]:
    for line in sys.stdin.buffer:
        yield line.removesuffix(b"\n").removesuffix(b"\r")
