"""`fws classic`: the older project's server, with filters named on the command line."""

from __future__ import annotations

import click

FILTERS = ["fws.classic.filters.broadcast_messages_by_token", "fws.classic.filters.stdout_messages"]


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False, name="classic"
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def classic(arguments: tuple[str, ...]) -> None:
    """Serve filters of the older Python API: `fws classic -f MODULE…`; `fws classic --help` shows all options."""
    # Here: a command of its own age, of which no other needs anything.
    from fws.classic import server

    parser = server.redis_parser(server.default_parser())
    parser.prog = "fws classic"
    options = parser.parse_args(list(arguments))
    if options.config:
        try:
            options = parser.parse_args(server.config_deserializer(options.config))
        except (OSError, ValueError) as error:
            raise click.ClickException(f"{options.config}: {error}") from None
    extra = {}
    defaults = list(FILTERS)
    if options.redis:
        storage = server.RedisStorageObject(options.redis_host, options.redis_port, options.redis_key)
        extra = {
            "storage_object": storage,
            "subscriber": server.RedisPubSubListener(storage, options.redis_channels),
        }
        defaults.append("fws.classic.filters.broadcast_pubsub")
    if options.filters is None:
        options.filters = defaults
    try:
        server.build_reactor(options, **extra)
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    server.reactor.run()
