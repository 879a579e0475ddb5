"""Print the reference of the environment, its settings from their model: `make docs` writes it to docs/reference."""

# ruff: noqa: INP001, E501 - a script, part of no package, and rows of tables are one line

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta

from mirrord.config.process import PREFIX, ProcessSettings
from mirrord.planning.duration import format_duration

HEAD = """\
# Environment

<!-- Made by scripts/environment_reference.py from the settings themselves: `make docs` writes it anew. A test compares. -->

What differs from machine to machine, and not from rule to rule, comes from the environment. It is read at the start:
after a change, restart. An empty variable is the same as none. A value that cannot be used is told with all others, and
nothing is attempted (exit code 2).

## Settings of mirrord

| variable | default | meaning |
| --- | --- | --- |
"""
REST = """\

- `MIRRORD_STATE` is `sqlite://` and the path of a file: `sqlite:///srv/mirrord.db` is `/srv/mirrord.db`;
  [more](state.md#where). The service always has a state, by default this one; `mirrord sync --once` and `mirrord plan`
  have one only where the variable is set.
- `MIRRORD_LISTEN`: `:8080` is every address, `0.0.0.0:8080` those of IPv4, `[::]:8080` those of IPv6. All but loopback needs `MIRRORD_API_TOKEN_FILE`.
  `mirrord status` and `mirrord healthcheck` ask there.
- `MIRRORD_LOG_LEVEL=debug` has every command print tracebacks too.

| variable | meaning |
| --- | --- |
| `MIRRORD_PUSHGATEWAY_USERNAME`, `MIRRORD_PUSHGATEWAY_PASSWORD_FILE` | login at a [Pushgateway](metrics.md#after-a-single-run) |
| those that the file names, as `${NAME}` or `{env: NAME}` | their values, secrets among them |

## What others named, and mirrord reads

| variable | meaning |
| --- | --- |
| `NO_COLOR`, `FORCE_COLOR`, `TERM` | [colours and bars](output.md#progress) |
| `HOME`, `DOCKER_CONFIG` | where docker's credentials are |
| `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME` | where podman's are |
| `PATH` | where helpers of docker's credentials are; folders with a full path only |
| `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` | the way out, for registries with `proxy: environment` alone; lower case too |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | file and directory of authorities in place of the system's, for all registries; `tls.ca_file` adds some for one |
| `AWS_PROFILE`, `AWS_ACCESS_KEY_ID` and all others of boto3 | [the identity at AWS](../registries/ecr.md#credentials) |
| `GOOGLE_APPLICATION_CREDENTIALS`, `CLOUDSDK_CONFIG`, `GCE_METADATA_HOST`, `NO_GCE_CHECK` | [that at Google](../registries/google.md#credentials) |
| `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_CLIENT_SECRET`, `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_AUTHORITY_HOST`, `AZURE_POD_IDENTITY_AUTHORITY_HOST`, `IDENTITY_ENDPOINT`, `IDENTITY_HEADER` | [that at Azure](../registries/acr.md#credentials) |
| `GITHUB_ACTIONS`, `GITHUB_STEP_SUMMARY`, `GITHUB_OUTPUT`, `GITHUB_WORKSPACE` | [annotations, summary and outputs](../how-to/run-in-ci.md#github-actions) of a job |
"""


def reference_text() -> str:
    """Return the page."""
    return HEAD + "\n".join(_rows()) + "\n" + REST


def _rows() -> Iterator[str]:
    for name, field in ProcessSettings.model_fields.items():
        value = format_duration(field.default) if isinstance(field.default, timedelta) else field.default
        default = "" if value is None else f"`{value}`"
        yield f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |"


if __name__ == "__main__":
    sys.stdout.write(reference_text())
