"""`mirrord version`: build facts."""

from __future__ import annotations

from mirrord import __version__
from mirrord.cli.options import OutputFormat, OutputOption
from mirrord.cli.output import Output

_DEPENDENCIES = (
    *("aiohttp", "alembic", "anyio", "apscheduler", "cronsim", "fastapi", "google-re2", "httpx2", "prometheus-client"),
    *("pydantic", "pyyaml", "rich", "sqlalchemy", "structlog", "truststore", "typer", "uvicorn", "watchfiles"),
)


def version(output: OutputOption = OutputFormat.TEXT) -> int:
    """Show the version of mirrord and of what it is built on."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    found: dict[str, str] = {}
    for name in _DEPENDENCIES:
        try:
            found[name] = version_of(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    out = Output()
    if output is OutputFormat.JSON:
        out.json({"version": __version__, "python": platform.python_version(), "dependencies": found})
        return 0
    width = max(map(len, (*found, "python")))
    rows = {"mirrord": __version__, "python": f"{platform.python_version()} on {platform.system()}", **found}
    out.raw("".join(f"{name.ljust(width)}  {value}\n" for name, value in rows.items()))
    return 0
