"""The names in spans, as in OpenTelemetry's semantic conventions where these have one. docs/traces.md has the table.

They are written here, because the package of the conventions moves names between its modules.
"""

from __future__ import annotations

from typing import Final

METHOD: Final = "http.request.method"
STATUS: Final = "http.response.status_code"
ROUTE: Final = "http.route"
PATH: Final = "url.path"
ADDRESS: Final = "client.address"
AGENT: Final = "user_agent.original"
SYSTEM: Final = "messaging.system"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
TEMPLATE: Final = "messaging.destination.template"
SIZE: Final = "messaging.message.body.size"
ERROR: Final = "error.type"
EXCEPTION: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
STACK: Final = "exception.stacktrace"

EVENT: Final = "fws.event"
CLIENT: Final = "fws.client"
PROTOCOL: Final = "fws.protocol"
TRANSPORT: Final = "fws.transport"
CHANNEL: Final = "fws.channel"
CALL: Final = "fws.call.kind"
CALL_METHOD: Final = "fws.call.method"
ORIGIN: Final = "fws.origin"
MEMBERS: Final = "fws.members"
RESUMED: Final = "fws.resumed"
REASON: Final = "fws.reason"
CLOSE_CODE: Final = "fws.close.code"
CLOSE_REASON: Final = "fws.close.reason"
STAGE: Final = "fws.stage"
OUTCOME: Final = "fws.outcome"
DURATION: Final = "fws.duration_us"

# The names of spans, or how they begin, and of events.
CONNECT, SUBSCRIBE, MESSAGE, TICK, PUBLICATION, DELIVERY = (
    "connect",
    "subscribe",
    "message",
    "tick",
    "publication",
    "delivery",
)
EVENT_STAGE, EVENT_EXCEPTION = "stage", "exception"
