"""The OpenAPI document says what fields mean, in the words of the values' docstrings."""

from __future__ import annotations

from fastapi import FastAPI

from mirrord.planning.status import RuleStatus
from mirrord.web.described import attributes, describe


def document_of(app: FastAPI) -> dict[str, dict[str, object]]:
    schemas: dict[str, dict[str, object]] = app.openapi()["components"]["schemas"]
    return schemas


def test_fields_are_described_by_the_docstrings_of_their_values() -> None:
    app = FastAPI()

    @app.get("/rule")
    def rule() -> RuleStatus:
        raise NotImplementedError

    describe(app)
    schemas = document_of(app)
    again = document_of(app)

    assert schemas["RuleStatus"]["description"] == "One rule, as the service knows it."
    properties = schemas["RuleStatus"]["properties"]
    assert isinstance(properties, dict)
    assert properties["queued"]["description"] == "a run was asked for and has not begun."
    assert "nobody knows." in properties["is_fresh"]["description"], "what goes on over lines is one text"
    assert "`last_success`" in properties["last_looked"]["description"]
    assert "Attributes" not in str(schemas["RuleStatus"]["description"])
    assert again == schemas


def test_docstring_without_attributes_describes_none() -> None:
    assert attributes("A value. ``x``: no section.") == {}
