"""The OpenAPI 3.1 description of the API, made from the table of methods."""

from __future__ import annotations

from typing import Any

import msgspec

from fws import __version__
from fws.api.method import Method
from fws.api.methods import METHODS
from fws.api.requests import Error
from fws.pipeline.options import options_of

_REFUSALS = {
    "400": "The body is not JSON, or JSON of an unreasonable size.",
    "401": "There is no key, or it is wrong.",
    "403": "The key does not permit this.",
    "413": "The body is larger than `[limits] max_message`.",
    "429": "Too many wrong keys came from this address.",
}


def description(path: str) -> dict[str, Any]:
    """The description of an API at this path."""
    types = [kind for method in METHODS for kind in (method.request, method.result)]
    _, schemas = msgspec.json.schema_components([*types, Error], ref_template="#/components/schemas/{name}")
    for method in METHODS:
        schema = schemas[method.request.__name__]
        schema["additionalProperties"] = False
        for option in options_of(method.request):
            schema["properties"][option.name] = {"description": option.help} | schema["properties"][option.name]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fws server API",
            "version": __version__,
            "description": "What back ends may ask of a server. Clients of Centrifugo's HTTP API can use it.",
        },
        "servers": [{"url": path}],
        "security": [{"header": []}, {"authorization": []}],
        "paths": {f"/{method.name}": {"post": _operation(method)} for method in METHODS},
        "components": {
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "authorization": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`apikey KEY`.",
                },
            },
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _operation(method: Method) -> dict[str, Any]:
    request = {"schema": _ref(method.request)}
    answer: dict[str, Any]
    content = "application/json"
    if method.streams:
        content, answer = "text/event-stream", _ref(method.result)
    elif method.name == "batch":  # a batch has replies in the place of a result
        answer = {"anyOf": [_ref(method.result), _object({"error": _ref(Error)})]}
    else:
        answer = {"anyOf": [_object({"result": _ref(method.result)}), _object({"error": _ref(Error)})]}
    responses: dict[str, Any] = {
        "200": {
            "description": "The result, or why the command failed.",
            "content": {content: {"schema": answer}},
        }
    }
    return {
        "operationId": method.name,
        "summary": method.help,
        "description": "Any key will do." if method.permission == "any" else f"The key needs {method.permission}.",
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": responses | {status: {"description": text} for status, text in _REFUSALS.items()},
    }


def _ref(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
