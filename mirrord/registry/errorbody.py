"""From an answer that is no success to the narrowest error: its status decides first, its error codes second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from mirrord.errors import (
    DeniedError,
    MissingContentError,
    NotFoundError,
    ProtocolViolationError,
    QuotaExhaustedError,
    RateLimitedError,
    RegistryError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.registry.errortext import ErrorBody, read_error_body
from mirrord.registry.quota import read_quota
from mirrord.registry.retry import RETRYABLE_STATUS, retry_after_s

_RATE_LIMIT: Final = re.compile(r"rate[ _-]?limit|toomanyrequests|too many requests|throttl|retry-after", re.IGNORECASE)
_PULL_LIMIT: Final = re.compile(r"pull rate limit|docker\.com/increase-rate-limit", re.IGNORECASE)
_EXPIRED: Final = re.compile(r"token has expired|token is expired|expired token", re.IGNORECASE)
_IMMUTABLE: Final = re.compile(
    r"immutab|cannot be overwritten|can(?:'|no)t be overwritten|not allowed to overwrite|already exists"
    r"|is (?:locked|write.?protected)|write operations? (?:is|are) not allowed|TAG_IMMUTABLE|ImageTagAlreadyExists",
    re.IGNORECASE,
)
_QUOTA: Final = re.compile(r"exceed the configured upper limit|quota (?:has been )?exceeded", re.IGNORECASE)
_PROXY_CACHE: Final = re.compile(r"\bto a proxy project\b", re.IGNORECASE)
_LOCKED: Final = re.compile(r"REGISTRY_DISALLOWED_OPERATION|\boperation is disallowed\b", re.IGNORECASE)
# distribution says 500 where a foreign layer's url is not one that it allows: sending again does not help.
_MISSING_STATUS: Final = frozenset({400, 404, 409, 500})
_MISSING_CODES: Final = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
_TAG_CODES: Final = frozenset({"TAG_INVALID", "TAG_IMMUTABLE", "TAG_ALREADY_EXISTS", "IMAGETAGALREADYEXISTSEXCEPTION"})
_UPLOAD_CODES: Final = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})
_UNSUPPORTED_STATUS: Final = frozenset({405, 406, 415, 501})
_DENIED_STATUS: Final = frozenset({402, 403, 451})
_MANIFEST_PATH: Final = re.compile(r"/manifests/[^/]*$")
_BLOB_PATH: Final = re.compile(r"/blobs/[^/]*$")
_UPLOAD_PATH: Final = re.compile(r"/blobs/uploads?(?:/|$)")

_POLICY_CODE: Final = "PROJECTPOLICYVIOLATION"

_STORAGE_REMEDY: Final = "free space on the registry's storage, or run its garbage collection"
_PROXY_REMEDY: Final = (
    "raise the body limit of the proxy before the registry (nginx: client_max_body_size 0), "
    "since no registry itself refuses layers by size"
)
_LOCKED_REMEDY: Final = (
    "unlock it at the registry (`az acr repository update --write-enabled true --delete-enabled true`), "
    "or leave it as it is"
)
_KEPT_REMEDY = "exempt the tag from immutability at the registry, or leave it there"
_IMMUTABLE_REMEDY: Final = "give the new content another tag, or exempt this tag from immutability at the registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """One failed answer, with what its body says."""

    host: str
    method: str
    path: str
    status: int
    what: str
    body: ErrorBody
    wait_s: float | None
    pulls_left: int | None = None
    lacks_scope: bool = False

    @property
    def puts_manifest(self) -> bool:
        return self.method == "PUT" and _MANIFEST_PATH.search(self.path) is not None

    def error(
        self,
        kind: type[RegistryError],
        *,
        code: str | None = None,
        remedy: str | None = None,
        means: str = "",
        retryable: bool | None = None,
        show_body: bool = True,
    ) -> RegistryError:
        """Make the error: what was tried, on what, what came back; ``means`` explains where the status does not."""
        came_back = f"{self.status} {_phrase(self.status)}".rstrip()
        said = f': "{self.body.excerpt}"' if show_body and self.body.excerpt else ""
        meaning = f" ({means})" if means else ""
        return kind(
            f"{self.what}: {self.host} answered {came_back}{meaning}{said}",
            host=self.host,
            method=self.method,
            path=self.path,
            status=self.status,
            error_codes=self.body.codes,
            retry_after_s=self.wait_s,
            retryable=retryable,
            code=code,
            remedy=remedy,
        )


def error_from_response(
    *,
    host: str,
    method: str,
    path: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    what: str,
    now: datetime,
) -> RegistryError:
    """Return the error that an answer means; never raises, whatever the body is.

    Args:
        host: the registry's name.
        method: of the request.
        path: of the request; a query, if any, is dropped.
        status: of the answer; also one that is a success elsewhere but was not expected here.
        headers: of the answer.
        body: the beginning of its body, 64 KiB are enough; empty for HEAD.
        what: what was tried and on what, in words that begin the message: "read manifest 1.2 of library/nginx".
        now: the moment, aware, for dates in Retry-After.
    """
    read = read_error_body(body)
    answer = _Answer(
        host=host,
        method=method.upper(),
        path=re.split(r"[?#]", path, maxsplit=1)[0],
        status=status,
        what=what,
        body=read,
        wait_s=retry_after_s(headers, read.text[:4096], now),
        pulls_left=read_quota(headers).remaining,
        lacks_scope="insufficient_scope" in f"{_header(headers, 'www-authenticate')}{read.text}",
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRYABLE_STATUS:
        return _server_error(answer)
    if status >= HTTPStatus.BAD_REQUEST:
        return _ruled_out(answer) or _client_error(answer)
    return answer.error(ProtocolViolationError, code="UNEXPECTED_STATUS", means="which is not expected here")


def _server_error(answer: _Answer) -> RegistryError:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS and _is_quota_spent(answer):
        # Where the registry says when there will be more, trying again then helps; else the window is hours long.
        return answer.error(
            QuotaExhaustedError, means="the quota of pulls is used up", retryable=answer.wait_s is not None
        )
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return answer.error(RateLimitedError)
    if answer.status == HTTPStatus.INSUFFICIENT_STORAGE or answer.body.storage_full:
        return answer.error(
            UnavailableError,
            code="TARGET_STORAGE",
            remedy=_STORAGE_REMEDY,
            means="the registry's storage is full",
            show_body=False,  # such texts name files of the server
        )
    if answer.status in _UNSUPPORTED_STATUS:
        return _unsupported(answer)
    return answer.error(
        UnavailableError,
        remedy="try again later; if it stays so, look at the registry's own log",
        retryable=answer.status in RETRYABLE_STATUS,
    )


def _ruled_out(answer: _Answer) -> RegistryError | None:
    """Return the error of a rule that somebody made at the registry; None where the answer tells of none."""
    if answer.status == HTTPStatus.PRECONDITION_FAILED and _POLICY_CODE in answer.body.codes:
        return answer.error(
            DeniedError,
            means="a policy of the registry forbids pulling this image",
            remedy="have the image scanned, signed or mended as the policy wants it, or leave it out",
        )
    if answer.status in (403, 405) and _PROXY_CACHE.search(answer.body.text):
        return answer.error(
            DeniedError,
            means="the project is a proxy cache, which takes no pushes",
            remedy="push to an ordinary project",
        )
    if answer.status == HTTPStatus.FORBIDDEN and _QUOTA.search(answer.body.text):
        return answer.error(
            DeniedError,
            code="TARGET_STORAGE",
            means="the quota is used up",
            remedy="raise the quota at the registry, or delete there what is not needed",
        )
    return None


def _client_error(answer: _Answer) -> RegistryError:  # noqa: PLR0911, C901 - one line for each status
    if _is_missing_content(answer):
        return answer.error(
            MissingContentError,
            means="the registry lacks a blob or child that the manifest names",
            remedy="it will be uploaded again; if this stays so, the registry's garbage collection runs during pushes",
        )
    if _is_immutable_tag(answer):
        deletes = answer.method == "DELETE"
        return answer.error(
            DeniedError,
            code="TAG_IMMUTABLE",
            means="the tag is immutable" if deletes else "the tag is immutable and holds something else",
            remedy=_KEPT_REMEDY if deletes else _IMMUTABLE_REMEDY,
        )
    match answer.status:
        case 401:
            return _unauthorized(answer)
        case status if status in _DENIED_STATUS:
            return _denied(answer)
        case 404 | 410:
            return _not_found(answer)
        case 407:
            return answer.error(
                RegistryError, code="PROXY_AUTH_REQUIRED", remedy="give the proxy's URL a user and a password"
            )
        case 413:
            return answer.error(
                UnsupportedError,
                code="BODY_TOO_LARGE_FOR_PROXY",
                means="a body is too large for something on the way",
                remedy=_PROXY_REMEDY,
            )
        case 400 if answer.body.codes[:1] == ("TAG_INVALID",):
            return answer.error(
                RegistryError,
                code="REQUEST_REFUSED",
                means="it does not take such a tag",
                remedy="give the copy another tag, by a template of the target",
            )
        case 416:
            return answer.error(RegistryError, code="RANGE_REFUSED", means="the range of bytes does not suit it")
        case status if status in _UNSUPPORTED_STATUS:
            return _unsupported(answer)
        case _:
            return answer.error(
                RegistryError,
                code="REQUEST_REFUSED",
                remedy="the registry takes the request for a wrong one; its own log may say more",
            )


def _header(headers: Mapping[str, str], name: str) -> str:
    return " ".join(value for found, value in headers.items() if found.lower() == name)


def _is_quota_spent(answer: _Answer) -> bool:
    """Tell a quota of pulls that is used up from a limit on requests, which a pause helps against (trap 26)."""
    if answer.method not in ("GET", "HEAD") or _MANIFEST_PATH.search(answer.path) is None:
        return False
    return answer.pulls_left == 0 or _PULL_LIMIT.search(answer.body.text) is not None


def _is_missing_content(answer: _Answer) -> bool:
    return (
        answer.puts_manifest and answer.status in _MISSING_STATUS and not _MISSING_CODES.isdisjoint(answer.body.codes)
    )


def _is_immutable_tag(answer: _Answer) -> bool:
    """Tell the refusals of immutable tags: ECR says 400 or 409, Harbor 412, Quay 409, ACR 405 (trap 37)."""
    if answer.method not in ("PUT", "DELETE") or _MANIFEST_PATH.search(answer.path) is None:
        return False
    wording = _IMMUTABLE.search(answer.body.text) is not None
    match answer.status:
        case 412:
            return True
        case 409:
            return answer.method == "PUT" or wording
        case 400:
            return wording and not _TAG_CODES.isdisjoint(answer.body.codes)
        case 403 | 405:
            return wording
        case _:
            return False


def _unauthorized(answer: _Answer) -> RegistryError:
    if answer.lacks_scope:
        # Docker Hub says so of what does not exist too: it gives tokens for everything.
        return answer.error(UnauthorizedError, means="the credential has no right to this, or there is no such thing")
    return answer.error(UnauthorizedError)


def _denied(answer: _Answer) -> RegistryError:
    if _RATE_LIMIT.search(answer.body.text):
        return answer.error(RateLimitedError, means="by which it asks to slow down")
    if _EXPIRED.search(answer.body.text):
        return answer.error(
            UnauthorizedError,
            code="AUTH_EXPIRED",
            means="the credential has expired",
            remedy="renew it; a cloud registry's own credentials are renewed by mirrord",
        )
    return answer.error(DeniedError)


def _not_found(answer: _Answer) -> RegistryError:
    codes = answer.body.codes
    if "NAME_UNKNOWN" in codes:
        return answer.error(
            NotFoundError,
            means="it has no such repository, or does not show it",
            remedy="check the repository's name; private ones look missing without the right credential, and some "
            "registries want a repository created before the first push",
        )
    if not _UPLOAD_CODES.isdisjoint(codes) or (answer.method != "POST" and _UPLOAD_PATH.search(answer.path)):
        return answer.error(NotFoundError, means="the upload session is gone", remedy="a new one is needed")
    if "BLOB_UNKNOWN" in codes or _BLOB_PATH.search(answer.path):
        return answer.error(
            NotFoundError,
            means="it has no such blob in this repository",
            remedy="the image is incomplete there; push it again, or leave it out",
        )
    if "MANIFEST_UNKNOWN" in codes or _MANIFEST_PATH.search(answer.path):
        return answer.error(
            NotFoundError,
            means="it has no such tag or manifest",
            remedy="check tag and digest; the tag may have been deleted or moved since it was listed",
        )
    return answer.error(NotFoundError)


def _unsupported(answer: _Answer) -> RegistryError:
    if _LOCKED.search(answer.body.text):
        return answer.error(
            DeniedError,
            code="TAG_IMMUTABLE" if answer.puts_manifest else None,
            means="the tag, the image or its repository is locked there",
            remedy=_LOCKED_REMEDY,
        )
    if answer.method == "DELETE":
        return answer.error(
            UnsupportedError,
            means="it does not allow this deletion",
            remedy="switch on deletion at the registry (distribution: REGISTRY_STORAGE_DELETE_ENABLED=true), "
            "or remove what still refers to it",
        )
    if answer.puts_manifest:
        return answer.error(
            UnsupportedError,
            means="it does not take this kind of manifest, or is read-only",
            remedy="leave out images of this media type, or use a target that supports it",
        )
    return answer.error(UnsupportedError, remedy="the registry does not offer this; see its page in the documentation")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
