"""`mirrord config`: checks a configuration file, shows what holds, prints its schema."""

from __future__ import annotations

import typer

from mirrord.cli.options import ConfigOption, OutputFormat, OutputOption
from mirrord.cli.output import Output
from mirrord.cli.session import load
from mirrord.cli.units import count_text

config = typer.Typer(
    help="Check and show configuration files.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@config.command(short_help="Check a configuration file.")
def validate(*, config: ConfigOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """Check a configuration file; errors and warnings read like those of a compiler."""
    loaded = load(config)
    out = Output()
    if output is OutputFormat.JSON:
        out.json(
            {
                "valid": True,
                "file": loaded.file,
                "rules": len(loaded.rules),
                "registries": len(loaded.registries),
                "warnings": [
                    {
                        "file": warning.file,
                        "line": warning.line,
                        "column": warning.column,
                        "key": warning.key,
                        "code": warning.code,
                        "message": warning.message,
                    }
                    for warning in loaded.warnings
                ],
            }
        )
        return
    rules = count_text(len(loaded.rules), "rule")
    registries = count_text(len(loaded.registries), "registry", "registries")
    warnings = f", {count_text(len(loaded.warnings), 'warning')}" if loaded.warnings else ""
    out.text(f"{loaded.file}: valid, {rules}, {registries}{warnings}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from mirrord.config.schema import schema_text

    Output().raw(schema_text())


@config.command(short_help="Show what holds, every default filled in.")
def show(*, config: ConfigOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """Show what holds, every default filled in, as YAML or JSON; secrets by reference only."""
    from mirrord.config.effective import effective
    from mirrord.config.text import yaml_text

    loaded = load(config)
    if output is OutputFormat.JSON:
        Output().json({"file": loaded.file, "config": effective(loaded)})
    else:
        Output().raw(yaml_text(effective(loaded)))
