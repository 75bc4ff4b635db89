"""The OpenAPI description describes what is served. tests/test_docs.py compares it with the copy in docs/."""

from __future__ import annotations

from typing import Any

from fws.api.methods import METHODS
from fws.api.openapi import description
from fws.pipeline.options import options_of


def test_every_method_is_there_with_every_field() -> None:
    shown = description("/api")
    assert list(shown["paths"]) == [f"/{method.name}" for method in METHODS]
    for method in METHODS:
        schema = shown["components"]["schemas"][method.request.__name__]
        assert schema["properties"].keys() == {option.name for option in options_of(method.request)}
        assert all(field["description"].endswith(".") for field in schema["properties"].values())


def test_references_lead_somewhere() -> None:
    shown = description("/api")

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [one for inner in value.values() for one in references(inner)]
        return [one for inner in value for one in references(inner)] if isinstance(value, list) else []

    found = references(shown)
    assert len(found) > 20
    for one in found:
        assert one.removeprefix("#/components/schemas/") in shown["components"]["schemas"]
