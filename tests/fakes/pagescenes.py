"""Scenes of the status page: each is a whole service, with the images and runs that its API tells.

The page counts ages by the service's clock, so a scene looks the same on every day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mirrord.planning.memory import ImageState
from mirrord.planning.status import (
    ConfigStatus,
    ImageStatus,
    ProblemStatus,
    RegistryStatus,
    RuleState,
    RuleStatus,
    RunStatus,
    ServiceStatus,
)
from tests.fakes.pagedata import (
    ECR,
    GOOGLE,
    HOUR,
    INTERNAL,
    ago,
    copying,
    digest,
    failed,
    in_sync,
    make_rule,
    make_run,
    make_status,
    python_images,
    quota_runs,
    waiting_for_quota,
)

OTHERS = ("nginx", "redis", "postgres", "golang", "node", "alpine", "busybox")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A service with what its API tells beside the status: images and runs by rule."""

    status: ServiceStatus
    images: Mapping[str, Sequence[ImageStatus]]
    runs: Mapping[str, Sequence[RunStatus]]


def make_scene(rules: Sequence[RuleStatus], **values: object) -> Scene:
    runs: dict[str, Sequence[RunStatus]] = {
        rule.name: [make_run(rule.name, back) for back in range(24)] for rule in rules
    }
    images: dict[str, Sequence[ImageStatus]] = {rule.name: plain_images(rule) for rule in rules}
    return Scene(
        status=make_status(rules, **values),
        images={**images, "python": python_images()},
        runs={**runs, "python": quota_runs()},
    )


def plain_images(rule: RuleStatus) -> list[ImageStatus]:
    return [
        ImageStatus(
            rule=rule.name,
            source=rule.source,
            tag=f"1.{number}",
            target=target.target,
            target_tag=f"1.{number}",
            state=state,
            digest=digest(f"{rule.name}{number}"),
            served=digest(f"{rule.name}{number}"),
            proven_at=ago(minutes=number % 60),
        )
        for target in rule.targets
        for state, count in target.images.items()
        for number in range(min(count, 60))
    ]


def fresh_scene() -> Scene:
    """All is well."""
    return make_scene([in_sync(name) for name in OTHERS])


def behind_scene() -> Scene:
    """One of twelve waits for a quota, one is copying: what the page is for."""
    wider = make_rule(
        "observability",
        "quay.io/prometheus/**",
        {f"{INTERNAL}/mirror/prometheus": {ImageState.IN_SYNC: 77}},
        objective=6 * HOUR,
        next_run=datetime(2026, 3, 5, 18, 0, tzinfo=UTC),
    )
    return make_scene(
        [
            waiting_for_quota(),
            copying(),
            wider,
            in_sync("charts", "ghcr.io/acme/charts/*", 112, (INTERNAL,)),
            in_sync("tools", "quay.io/acme/tools", 9, (GOOGLE, ECR)),
            *[in_sync(name) for name in OTHERS],
        ]
    )


def failed_scene() -> Scene:
    """A rule needs a person, and a registry does not answer."""
    silent = RegistryStatus(registry="registry.partner.example", answers=False)
    return make_scene(
        [failed(), *[in_sync(name) for name in OTHERS[:3]]], registries=(silent, RegistryStatus(registry=INTERNAL))
    )


def refused_scene() -> Scene:
    """The configuration file was refused, and the state store cannot be used."""
    config = ConfigStatus(
        file="/etc/mirrord/config.yaml",
        loaded_at=datetime(2026, 3, 5, 8, 12, tzinfo=UTC),
        rules=2,
        error=(
            'config.yaml:9:5: rules[0].shedule: unknown key (did you mean "schedule"?)\n'
            "config.yaml:14:13: rules[1].freshness: '1 hour' is no duration"
        ),
        error_at=ago(minutes=3),
        warnings=("registries.quay.io: no rule uses it",),
    )
    return make_scene(
        [in_sync("nginx"), in_sync("redis")],
        config=config,
        state_error="sqlite:////var/lib/mirrord/state.db: the disk is full",
    )


def empty_scene() -> Scene:
    """No rule stands in the file."""
    return make_scene([], registries=(), saved=None)


def new_scene() -> Scene:
    """Nothing has run yet."""
    rules = [
        replace(
            in_sync(name),
            state=RuleState.NEW,
            images={},
            targets=tuple(replace(target, images={}) for target in in_sync(name).targets),
            last_run=None,
            last_looked=None,
            last_success=None,
        )
        for name in OTHERS[:3]
    ]
    scene = make_scene(rules, saved=None)
    return replace(scene, images={}, runs={})


def many_scene(count: int = 200) -> Scene:
    """More rules than fit on any screen, a few of them not well."""
    rules = [in_sync(f"rule-{number:03}", f"docker.io/team/image-{number:03}") for number in range(count - 3)]
    return make_scene([*rules, waiting_for_quota(), copying(), failed()])


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{7*7}} ${7*7}",
    "evil\u202egnp.exe",
    "javascript:alert(3)",
)


def hostile_scene() -> Scene:
    """Names, texts and tags that try to be more than text."""
    rules = [
        make_rule(
            text,
            f"docker.io/{text}",
            {f"{INTERNAL}/{text}": {ImageState.IN_SYNC: 1, ImageState.FAILED: 1}},
            objective=None,
            problem=ProblemStatus(code="NOT_FOUND", message=f"{text} " * 30, remedy=text, at=ago(minutes=1)),
            warnings=(text,),
        )
        for text in HOSTILE
    ]
    scene = make_scene(rules)
    images = {
        text: [
            ImageStatus(
                rule=text,
                source=f"docker.io/{text}",
                tag=text,
                target=f"{INTERNAL}/{text}",
                target_tag=f"x{text}",
                state=ImageState.FAILED,
                reason=text * 20,
                digest=text,
                served=digest(text),
                behind_since=ago(minutes=5),
            )
        ]
        for text in HOSTILE
    }
    return replace(scene, images=images)


SCENES = {
    "fresh": fresh_scene,
    "behind": behind_scene,
    "failed": failed_scene,
    "refused": refused_scene,
    "empty": empty_scene,
    "new": new_scene,
    "many": many_scene,
    "hostile": hostile_scene,
}
"""Every scene by name."""
