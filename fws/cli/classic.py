"""`fws classic`: the server of the older project, with filters named on the command line."""

from __future__ import annotations

import click

FILTERS = ["fws.classic.filters.broadcast_messages_by_token", "fws.classic.filters.stdout_messages"]


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False, name="classic"
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def classic(arguments: tuple[str, ...]) -> None:
    """Serve filters of the older Python API.

    `fws classic -f MODULE…`; `fws classic --help` shows all options.
    """
    # Imported here, because no other command needs it.
    from fws.classic import server

    parser = server.redis_parser(server.default_parser())
    parser.prog = "fws classic"
    options = parser.parse_args(list(arguments))
    if options.config:
        try:
            options = parser.parse_args(server.config_deserializer(options.config))
        except (OSError, ValueError) as error:
            raise click.ClickException(f"{options.config}: {error}") from None
    try:
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
        server.build_reactor(options, **extra)
    except (Exception, SystemExit) as error:  # a user's module may raise anything when it is imported
        raise click.ClickException(f"{type(error).__name__}: {error}") from None
    server.reactor.run()
