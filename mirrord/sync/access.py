"""Checks which credential each registry would get, whether it is accepted, and what it may do. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mirrord.errors import CredentialError, DeniedError, MirrordError, UnauthorizedError
from mirrord.oci.reference import LAYOUT_SCHEME, Repository
from mirrord.planning.report import Problem
from mirrord.planning.rule import Rule
from mirrord.ports.access import AccessProbe, Presence
from mirrord.ports.credentials import CredentialProvider
from mirrord.ports.settings import RegistrySettings
from mirrord.sync.choose import find_sources
from mirrord.sync.context import Context
from mirrord.transfer.side import each

REGISTRIES_AT_ONCE = 8
REPOSITORIES_AT_ONCE = 16


class Right(StrEnum):
    """Whether something may be done. GRANTED: the registry's token says so; YES: it was tried."""

    YES = "yes"
    GRANTED = "granted"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAccess:
    """What the credential may do in one repository; ``push`` is None where rules only read it.

    ``exists`` is False for a repository that is not there, or not shown: a target need not be, a source has to.
    ``made_by_push``: it is not there, and the first push makes it, so that the right to push was not tried.
    """

    repository: Repository
    pull: Right
    push: Right | None = None
    exists: bool = True
    made_by_push: bool = False
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """What holds for one registry. ``origin`` says where its credential was found; empty: it is used anonymously.

    ``accepted`` is UNKNOWN for a registry that could not be reached, and for one that is used anonymously and does not
    let one log in without a credential.
    """

    host: str
    origin: str = ""
    username: str = ""
    scheme: str = ""
    accepted: Right = Right.UNKNOWN
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()
    repositories: tuple[RepositoryAccess, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong, of the registry and of its repositories."""
        found = (self.problem, *(repository.problem for repository in self.repositories))
        return tuple(problem for problem in found if problem is not None)

    @property
    def is_usable(self) -> bool:
        """Whether anything can be done there."""
        if self.problem is not None:
            return False
        return not self.repositories or any(repository.problem is None for repository in self.repositories)


@dataclass(slots=True)
class _Needs:
    """What rules want of one registry: repositories, and whether they push there; and what could not be found out."""

    repositories: dict[Repository, bool] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


async def check_access(
    context: Context,
    probe: AccessProbe,
    credentials: CredentialProvider,
    settings: Mapping[str, RegistrySettings],
    rules: Sequence[Rule],
    *,
    try_push: bool = False,
) -> tuple[RegistryAccess, ...]:
    """Return what holds for every registry that rules or settings name, sorted by host.

    Args:
        context: the outside world.
        probe: asks registries what a credential may do.
        credentials: where credentials come from.
        settings: what is set for registries, by host.
        rules: what would be read and written.
        try_push: prove the right to push by an upload that is begun and cancelled; else a token's word is taken.
    """
    needs: dict[str, _Needs] = {host: _Needs() for host in settings}
    for rule in rules:
        await _add_needs(context, rule, needs)

    async def check(host: str) -> RegistryAccess:
        return await _check_registry(
            probe, credentials, settings.get(host) or RegistrySettings(host=host), needs[host], try_push=try_push
        )

    return tuple(await each(sorted(needs), check, REGISTRIES_AT_ONCE)) if needs else ()


async def _add_needs(context: Context, rule: Rule, needs: dict[str, _Needs]) -> None:
    """Note the repositories of a rule; of a pattern the first that it takes stands for all."""
    if rule.source.location is None:
        found = needs.setdefault(rule.source.host, _Needs())
        try:
            sources = (await find_sources(context, rule))[:1]
        except MirrordError as exc:
            found.problems.append(Problem.of(exc))
            sources = ()
    else:
        sources = (rule.source.location,)
    for source in sources:
        if isinstance(source, Repository):
            needs.setdefault(source.host, _Needs()).repositories.setdefault(source, False)
        for template in rule.targets:
            target = template.location(source)
            if isinstance(target, Repository):
                needs.setdefault(target.host, _Needs()).repositories[target] = True
    if not sources:
        for host in (template.host for template in rule.targets):
            if not host.startswith(LAYOUT_SCHEME):
                needs.setdefault(host, _Needs())


async def _check_registry(
    probe: AccessProbe,
    credentials: CredentialProvider,
    settings: RegistrySettings,
    needs: _Needs,
    *,
    try_push: bool,
) -> RegistryAccess:
    host = settings.host
    origin = username = scheme = ""
    accepted = Right.UNKNOWN
    warnings: tuple[str, ...] = ()
    try:
        credential = await credentials.credential(host)
        if credential is not None:
            origin, username = credential.origin, credential.username
        warnings = _warnings(settings, has_credential=credential is not None)
        try:
            scheme = await probe.greet(host)
            accepted = Right.YES
        except UnauthorizedError:
            if credential is not None or not needs.repositories:
                raise
            # Without a credential some registries give tokens for a public repository only, not for a log-in.
    except MirrordError as exc:
        refused = isinstance(exc, UnauthorizedError | DeniedError | CredentialError)
        return RegistryAccess(
            host=host,
            origin=origin,
            username=username,
            accepted=Right.NO if refused else Right.UNKNOWN,
            problem=Problem.of(exc),
            warnings=warnings,
        )

    async def check(repository: Repository) -> RepositoryAccess:
        return await _check_repository(probe, repository, push=needs.repositories[repository], try_push=try_push)

    found = await each(sorted(needs.repositories), check, REPOSITORIES_AT_ONCE) if needs.repositories else []
    return RegistryAccess(
        host=host,
        origin=origin,
        username=username,
        scheme=scheme,
        accepted=accepted,
        problem=needs.problems[0] if needs.problems else None,
        warnings=warnings,
        repositories=tuple(found),
    )


async def _check_repository(
    probe: AccessProbe, repository: Repository, *, push: bool, try_push: bool
) -> RepositoryAccess:
    try:
        presence = await probe.try_pull(repository)
    except MirrordError as exc:
        return RepositoryAccess(
            repository=repository, pull=Right.NO, push=Right.UNKNOWN if push else None, problem=Problem.of(exc)
        )
    exists = presence is Presence.YES
    if not exists and not push:
        problem = Problem(
            code="NOT_FOUND",
            message=f"{repository} does not exist, or the credential may not see it",
            remedy="check the name; private repositories look missing without the right credential",
        )
        return RepositoryAccess(repository=repository, pull=Right.UNKNOWN, exists=False, problem=problem)
    if presence is Presence.LATER:
        return RepositoryAccess(
            repository=repository, pull=Right.UNKNOWN, push=Right.UNKNOWN, exists=False, made_by_push=True
        )
    granted = await probe.granted(repository)
    if not push:
        too_much = ("it may push here as well, though rules only read",) if granted and "push" in granted else ()
        return RepositoryAccess(repository=repository, pull=Right.YES, warnings=too_much)
    right, problem_found = await _right_to_push(probe, repository, granted, try_push=try_push)
    return RepositoryAccess(
        repository=repository,
        pull=Right.YES if exists else Right.UNKNOWN,
        push=right,
        exists=exists,
        problem=problem_found,
    )


async def _right_to_push(
    probe: AccessProbe, repository: Repository, granted: frozenset[str] | None, *, try_push: bool
) -> tuple[Right, Problem | None]:
    if try_push:
        try:
            await probe.try_push(repository)
        except MirrordError as exc:
            return Right.NO, Problem.of(exc)
        return Right.YES, None
    if granted is None:
        return Right.UNKNOWN, None
    if "push" in granted:
        return Right.GRANTED, None
    allowed = ", ".join(sorted(granted)) or "nothing"
    problem = Problem(
        code="DENIED",
        message=f"the token for {repository} allows {allowed}, and rules push there",
        remedy="give the credential the right to push to this repository",
    )
    return Right.NO, problem


def _warnings(settings: RegistrySettings, *, has_credential: bool) -> tuple[str, ...]:
    warnings = []
    if settings.plain_http:
        what = "the credential goes over the network unencrypted" if has_credential else "nothing proves who answers"
        warnings.append(f"plain_http is on: {what}")
    if not settings.tls.verify:
        warnings.append("tls.verify is off: nothing proves who answers")
    return tuple(warnings)
