"""The configuration with everything filled in, in the words of the file: for `mirrord config show`."""

from __future__ import annotations

from mirrord.config.loader import Config
from mirrord.config.models import VERSION
from mirrord.config.registry_models import RegistrySection
from mirrord.config.rule_models import RuleSection


def effective(config: Config) -> dict[str, object]:
    """Return what holds, as a file could say it: every default filled in, and no secret but by reference.

    Reading the result as a configuration gives the same rules and registries again; only the password of a proxy's
    URL is left out.
    """
    return {
        "version": VERSION,
        "registries": {host: _registry(section) for host, section in config.document.registries.items()},
        "rules": [
            {
                "name": section.name,
                **section.model_dump(mode="json", include={"source", "targets"}),
                **_options(config, section),
            }
            for section in config.document.rules
        ],
    }


def _options(config: Config, rule: RuleSection) -> dict[str, object]:
    options = config.options[rule.name]
    values = options.model_dump(mode="json", exclude={"schedule"})
    values["schedule"] = options.schedule.model_dump(mode="json", exclude_none=True) if options.schedule else None
    if rule.source.names_one_image:
        del values["tags"]  # the source itself says which
    if rule.source.pattern is None:
        del values["repositories"]
    return values


def _registry(section: RegistrySection) -> dict[str, object]:
    values = section.model_dump(mode="json", exclude={"password"})
    if section.plain_http:
        del values["tls"]  # it has no meaning there, and a file with both is refused
    values["password"] = section.password.model_dump(mode="json", exclude_none=True) if section.password else None
    return values
