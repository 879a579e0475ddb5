"""Names in paths and queries, checked with the errors of the specification."""

from __future__ import annotations

from mirrord.demo.registry.asgi import OciError
from mirrord.errors import InvalidDigestError
from mirrord.oci.digest import Digest


def parse_digest(text: str | None) -> Digest:
    """Return a digest from a path or a query.

    Raises:
        OciError: 400 DIGEST_INVALID, it is none.
    """
    try:
        return Digest.parse(text or "")
    except InvalidDigestError:
        raise digest_invalid(text or "") from None


def digest_invalid(digest: object) -> OciError:
    """Return the error for a digest that is none, or is not that of the content."""
    message = "provided digest did not match uploaded content"
    return OciError(400, "DIGEST_INVALID", message, detail={"digest": str(digest)})
