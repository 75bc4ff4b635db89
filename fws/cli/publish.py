"""`fws publish`: publish to a channel of running servers through their Redis."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from fws.base.errors import ConfigError
from fws.cli.run import EXIT_CONFIG
from fws.cli.show import problems_of
from fws.config import Config, load, place_problems, read
from fws.pipeline.publication import check_channel
from fws.redis.client import client_of
from fws.redis.connector import Connector, RedisError, reason


@click.command()
@click.argument("conf", type=click.Path())
@click.argument("channel")
@click.argument("message", required=False)
def publish(conf: str, channel: str, message: str | None) -> None:
    """Publish MESSAGE to the members of CHANNEL on every server with the [redis] section of CONF.

    Without MESSAGE, each line of standard input is published as soon as it is read. A message is text. Bytes that are
    not UTF-8 arrive as a binary message. Each message is delivered at most once, and it has no sender, as if another
    application had published it.
    """
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
    connector = Connector.of(redis, config.folder)
    name = f"{redis.prefix}{channel}"
    published = 0
    try:
        client = client_of(connector)
        for payload in _lines() if message is None else [os.fsencode(message)]:
            if len(payload) > redis.max_message:
                click.echo(f"fws: message {published + 1} is larger than [redis] max_message", err=True)
                sys.exit(1)
            # In a Cluster, servers listen at the node that has the channel's slot.
            (client.spublish if connector.address.kind == "cluster" else client.publish)(name, payload)
            published += 1
    except RedisError as error:
        click.echo(f"fws: Redis {connector}: {reason(error)}; {published} messages published", err=True)
        sys.exit(1)


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
