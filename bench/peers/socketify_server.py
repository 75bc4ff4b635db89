"""socketify (uWebSockets through cffi). A broadcast is its own `publish`, so the sender gets it as well."""

import sys

from socketify import App, AppListenOptions

SETTINGS = {
    "max_payload_length": 16 * 1024 * 1024,
    "idle_timeout": 0,
    "max_backpressure": 64 * 1024 * 1024,
    "compression": 0,
}
app = App()


def upgrade(response, request, context):
    """Only the many channels need their path later: Python in the handshake costs."""
    key, protocol, extensions = (
        request.get_header(f"sec-websocket-{name}") for name in ("key", "protocol", "extensions")
    )
    response.upgrade(key, protocol, extensions, context, request.get_url())


app.ws("/echo", {**SETTINGS, "message": lambda client, message, kind: client.send(message, kind)})
app.ws(
    "/fanout",
    {
        **SETTINGS,
        "open": lambda client: client.subscribe("all"),
        "message": lambda client, message, kind: app.publish("all", message, kind),
    },
)
app.ws(
    "/channel/:number",
    {
        **SETTINGS,
        "upgrade": upgrade,
        "open": lambda client: client.subscribe(client.get_user_data()),
        "message": lambda client, message, kind: app.publish(client.get_user_data(), message, kind),
    },
)
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda options: None)
app.run()
