"""The API of AWS for registries, over boto3: blocking calls in worker threads, and its errors in our words.

boto3 finds the identity and the endpoint by itself, as every tool of AWS does: from the environment, the files below
~/.aws, or the role of the machine. It is imported in the worker thread, on the first call.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from mirrord import __version__
from mirrord.errors import (
    CredentialError,
    CredentialUnavailableError,
    DeniedError,
    MirrordError,
    NotFoundError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    UnavailableError,
    quote,
)
from mirrord.ports.clock import Clock
from mirrord.ports.settings import ENVIRONMENT_PROXY
from mirrord.registry.providers.ecr_place import EcrPlace
from mirrord.registry.redact import redact_text

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CALLS_AT_ONCE: Final = 4
DEADLINE_S: Final = 90.0
REFUSED_FOR_S: Final = 30.0
"""An identity that cannot be used is not tried again for so long."""
ABSENT_FOR_S: Final = 300.0
"""Where there is no identity, nobody looks for one again for so long: the search may ask the network in vain."""

_CONNECT_S = 5
_READ_S = 20
_TRIES = 4
_IDENTITY = "give mirrord an identity at AWS (AWS_PROFILE, keys in the environment, the role of the machine)"
_LOG_IN = "log in to AWS anew (`aws sso login`), or correct the profile that is used"
_TALKATIVE = ("boto3", "botocore", "urllib3")

_DENIED = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized"})
_NOT_ACCEPTED = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidAccessKeyId", "InvalidClientTokenId"),
        *("UnrecognizedClientException", "InvalidSignatureException", "SignatureDoesNotMatch"),
        *("IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken"),
        *("MissingAuthenticationTokenException", "OptInRequired"),
    }
)
_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded"}
)
_MISSING = frozenset({"RepositoryNotFoundException", "ImageNotFoundException"})


class EcrApi:
    """The API of one ECR. Safe to be used by many tasks; one client of boto3, made on the first call."""

    def __init__(self, place: EcrPlace, clock: Clock, *, proxy: str | None = None) -> None:
        """Ask nothing yet. ``proxy`` is the registry's own; None: whatever boto3 finds."""
        self.place = place
        self._clock = clock
        self._proxy = None if proxy == ENVIRONMENT_PROXY else proxy
        self._limiter = anyio.CapacityLimiter(CALLS_AT_ONCE)
        self._making = threading.Lock()
        self._client: Any = None
        self._refused: Exception | None = None
        self._refused_until = 0.0

    async def call(self, operation: str, *, what: str, host: str, action: str, **parameters: object) -> dict[str, Any]:
        """Return the answer to one call; boto3 tries it a few times where that may help.

        Args:
            operation: by boto3's name, ``describe_images`` for instance.
            what: what is tried, in words that begin an error's message.
            host: the registry's name, for errors.
            action: the right that AWS wants for it, ``ecr:DescribeImages`` for instance.
            parameters: of the call.

        Raises:
            CredentialUnavailableError: there is no boto3, or no identity at AWS.
            CredentialError: the identity cannot be used.
            RegistryError: AWS refused the call, or could not be asked; ``error_codes`` has AWS's own code.
        """
        if self._refused is not None and self._clock.monotonic() < self._refused_until:
            raise to_error(self._refused, what=what, host=host, action=action) from self._refused
        try:
            with anyio.fail_after(DEADLINE_S):
                answer = await anyio.to_thread.run_sync(
                    partial(self._call, operation, parameters), limiter=self._limiter, abandon_on_cancel=True
                )
        except Exception as exc:
            error = to_error(exc, what=what, host=host, action=action)
            if isinstance(error, CredentialError):
                wait_s = ABSENT_FOR_S if isinstance(error, CredentialUnavailableError) else REFUSED_FOR_S
                self._refused, self._refused_until = exc, self._clock.monotonic() + wait_s
                self._client = None  # the next one looks for an identity anew: somebody may have logged in
            raise error from exc
        self._refused = None
        return answer

    def _call(self, operation: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        with self._making:
            client = self._client = self._client or self._connect()
        answer: dict[str, Any] = getattr(client, operation)(**parameters)
        return answer

    def _connect(self) -> Any:
        import boto3.session  # noqa: PLC0415 - an optional extra, and slow to import
        from botocore.config import Config  # noqa: PLC0415 - the same

        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)  # below that they write tokens and signatures
        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            max_pool_connections=CALLS_AT_ONCE,
            use_fips_endpoint=self.place.fips or None,
            use_dualstack_endpoint=self.place.dual_stack or None,
            proxies={"http": self._proxy, "https": self._proxy} if self._proxy else None,
            user_agent_extra=f"mirrord/{__version__}",
        )
        session = boto3.session.Session()
        return session.client(self.place.service, region_name=self.place.region or None, config=config)


def to_error(  # noqa: PLR0911 - one line for each kind
    exc: Exception, *, what: str, host: str, action: str
) -> MirrordError:
    """Return what an error of boto3 means. The only place where foreign errors get a meaning."""
    if isinstance(exc, ImportError):
        return CredentialUnavailableError(
            f"{what}: AWS is asked through boto3, which is not installed",
            remedy=f"in a checkout of mirrord: pip install '.[aws]'; or give \"{host}\" a username and password",
        )
    if isinstance(exc, TimeoutError):
        return UnavailableError(f"{what}: no answer from AWS within {DEADLINE_S:.0f} s", host=host, code="DEADLINE")
    from botocore import exceptions as aws  # noqa: PLC0415 - there is a boto3, or this would be an ImportError

    message = f"{what}: {quote(redact_text(' '.join(str(exc).split())))}"
    match exc:
        case aws.ClientError():
            return _refusal(exc, message, host=host, action=action)
        case aws.NoCredentialsError() | aws.NoRegionError():
            return CredentialUnavailableError(message, remedy=f'{_IDENTITY}, or "{host}" a username and password')
        case aws.HTTPClientError() | aws.ConnectionError():
            return UnavailableError(message, host=host)
        case aws.ParamValidationError():
            return RegistryError(message, host=host, code="REQUEST_REFUSED")
        case aws.BotoCoreError():
            return CredentialError(message, remedy=_LOG_IN)
        case _:
            return ProtocolViolationError(message, host=host, code="API_ANSWER_INVALID")


def _refusal(exc: ClientError, message: str, *, host: str, action: str) -> MirrordError:
    """Return what an error answer of AWS means. Its HTTP status is 400 for nearly all, and is not told."""
    code = str(exc.response.get("Error", {}).get("Code", ""))
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return DeniedError(
            message, host=host, error_codes=(code,), remedy=f"allow {action} to the identity that is named there"
        )
    if code in _NOT_ACCEPTED:
        return CredentialError(
            message, remedy="AWS does not accept the identity: log in anew, check its keys and the machine's clock"
        )
    if code in _THROTTLED:
        return RateLimitedError(message, host=host, error_codes=(code,), remedy="AWS limits its API; try again later")
    if code in _MISSING:
        return NotFoundError(message, host=host, error_codes=(code,))
    if status >= 500:  # noqa: PLR2004 - server errors
        return UnavailableError(message, host=host, error_codes=(code,))
    return RegistryError(message, host=host, error_codes=(code,), code="REQUEST_REFUSED")
