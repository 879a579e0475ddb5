"""Checks an object against the API that takes it: Kubernetes' own schemas, and ours for four custom resources.

Ours are written from the field descriptions of the Prometheus Operator's API reference (monitoring.coreos.com/v1) and
of the Gateway API (gateway.networking.k8s.io/v1). They know the fields that the chart may write, and refuse others.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from kubernetes_validate import utils  # type: ignore[import-untyped]
from referencing import Registry, Resource

NEWEST = "1.37.0"
TEXT = {"type": "string"}
NAME = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
DURATION = {
    "type": "string",
    "pattern": "^(0|" + "".join(f"(([0-9]+){unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms")) + ")$",
}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def items(of: Mapping[str, Any], least: int = 1) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": of, "minItems": least}


RELABELING = fields(
    sourceLabels=items({"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}),
    separator=TEXT,
    targetLabel=TEXT,
    regex=TEXT,
    modulus={"type": "integer"},
    replacement=TEXT,
    action={
        "enum": [
            *("replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"),
            *("keepequal", "dropequal"),
        ]
    },
)
ENDPOINT = fields(
    ("port",),
    port=TEXT,
    path={"type": "string", "pattern": "^/"},
    interval=DURATION,
    scrapeTimeout=DURATION,
    relabelings=items(RELABELING),
    metricRelabelings=items(RELABELING),
)
SELECTOR = fields(matchLabels=TEXTS)
NAMESPACES = fields(any={"type": "boolean"}, matchNames=items(NAME))
RULE = fields(
    ("expr",),
    alert={"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    record=TEXT,
    expr=TEXT,
    **{"for": DURATION},
    keep_firing_for=DURATION,
    labels=TEXTS,
    annotations=TEXTS,
)
SPECS: Mapping[str, Mapping[str, Any]] = {
    "ServiceMonitor": fields(
        ("selector", "endpoints"),
        jobLabel=TEXT,
        namespaceSelector=NAMESPACES,
        selector=SELECTOR,
        endpoints=items(ENDPOINT),
    ),
    "PodMonitor": fields(
        ("selector", "podMetricsEndpoints"),
        jobLabel=TEXT,
        namespaceSelector=NAMESPACES,
        selector=SELECTOR,
        podMetricsEndpoints=items(ENDPOINT),
    ),
    "PrometheusRule": fields(
        ("groups",),
        groups=items(
            fields(("name", "rules"), name={"type": "string", "minLength": 1}, interval=DURATION, rules=items(RULE))
        ),
    ),
    "HTTPRoute": fields(
        ("parentRefs", "rules"),
        parentRefs=items(
            fields(
                ("name",),
                group=TEXT,
                kind=TEXT,
                namespace=NAME,
                name=NAME,
                sectionName=TEXT,
                port={"type": "integer", "minimum": 1, "maximum": 65535},
            )
        ),
        hostnames=items({"type": "string", "pattern": r"^(\*\.)?[a-z0-9.-]+$"}),
        rules=items(
            fields(
                matches=items(
                    fields(
                        path=fields(
                            type={"enum": ["Exact", "PathPrefix", "RegularExpression"]},
                            value={"type": "string", "pattern": "^/"},
                        )
                    )
                ),
                timeouts=fields(request=DURATION, backendRequest=DURATION),
                backendRefs=items(
                    fields(
                        ("name", "port"),
                        group={"enum": [""]},
                        kind={"enum": ["Service"]},
                        name=NAME,
                        port={"type": "integer"},
                        weight={"type": "integer", "minimum": 0, "maximum": 1_000_000},
                    )
                ),
            )
        ),
    ),
}
API_VERSIONS = {
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
}


def check(made: Mapping[str, Any], version: str = NEWEST) -> None:
    """See that an object is what the API of its kind takes; unknown fields are errors.

    Raises:
        jsonschema.ValidationError: It is not.
    """
    kind = made["kind"]
    if kind in SPECS:
        schema = fields(
            ("apiVersion", "kind", "metadata", "spec"),
            apiVersion={"const": API_VERSIONS[kind]},
            kind={"const": kind},
            metadata=fields(("name",), name=TEXT, namespace=NAME, labels=TEXTS, annotations=TEXTS),
            spec=SPECS[kind],
        )
        jsonschema.Draft202012Validator(schema).validate(made)
    else:
        _builtin(kind, made["apiVersion"], version).validate(made)


@cache
def _builtin(kind: str, api_version: str, version: str) -> jsonschema.Draft202012Validator:
    """Return what kubernetes_validate checks a kind with, strictly; its own function loads it anew each time."""
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    group = api_version.replace(".k8s.io", "").replace(".authorization", "").replace("/", "-")
    schema = utils.schema_contents(f"{folder}/{kind.lower()}-{group}.json", version)
    registry = _definitions(version).with_resource("", Resource.from_contents(schema))
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(version: str) -> Registry[Any]:
    loaded = utils.schema_contents(f"kubernetes-json-schema/v{version}-local-strict/_definitions.json", version)
    return Resource.from_contents(loaded) @ Registry()
