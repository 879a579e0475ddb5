"""What may be shown of URLs and of remote text: signed URLs are secrets, and so is much of what servers echo."""

from __future__ import annotations

import re

from mirrord.errors import quote

PLACEHOLDER = "[redacted]"
_LONGEST_SHOWN = 300
_URL = re.compile(r"(?P<head>[^?#]{0,65536})(?P<tail>.*)", re.DOTALL)
_AUTHORITY = re.compile(
    r"(?P<scheme>(?:[A-Za-z][A-Za-z0-9+.-]{0,19}:)?//)(?P<authority>[^/\\]*)(?P<path>.*)", re.DOTALL
)
_PLAIN_PORT = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::[0-9]*)?")

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(bearer|basic)(\s{1,8})[A-Za-z0-9._~+/=-]{6,}+", re.IGNORECASE), rf"\1\2{PLACEHOLDER}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]*+){0,2}"), PLACEHOLDER),
    (re.compile(r"\b(gh[opsu]_|github_pat_|glpat-|dckr_pat_|xox[bp]-)[A-Za-z0-9_-]{6,}+"), rf"\1{PLACEHOLDER}"),
    (re.compile(r"\b(ya29\.)[A-Za-z0-9._-]{6,}+"), rf"\1{PLACEHOLDER}"),
    (re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,}+"), rf"\1{PLACEHOLDER}"),
    (
        re.compile(
            r"(?P<name>(?:pass(?:word|wd)?|secret|token|api[_-]?key|signature|\bsig|authorization|credential)"
            r"[\"']?\s{0,4}[=:]\s{0,4}[\"']?)(?!\s|bearer|basic)[^\s\"',;&<>)}\]]{3,}+",
            re.IGNORECASE,
        ),
        rf"\g<name>{PLACEHOLDER}",
    ),
)
_URL_IN_TEXT = re.compile(r"\b[a-z][a-z0-9+.-]{1,19}://[^\s\"'<>]++", re.IGNORECASE)


def redact_url(url: str) -> str:
    """Return a URL fit for messages and logs: without user, query and fragment, control characters escaped.

    A query that was there shows as ``?[redacted]``. Never raises; what cannot be taken apart safely is left out.
    """
    split = _URL.match(url)
    assert split is not None, "the pattern matches any text"
    mark = f"?{PLACEHOLDER}" if split["tail"].startswith("?") else ""
    parts = _AUTHORITY.match(split["head"])
    if parts is None:
        # Without an authority a name and password can stand anywhere before an "@"; digests never bring one along.
        return quote(split["head"].rpartition("@")[2], _LONGEST_SHOWN) + mark
    authority = parts["authority"].rpartition("@")[2]
    if "@" in parts["path"] or not _PLAIN_PORT.fullmatch(authority):
        return f"{parts['scheme']}{PLACEHOLDER}"  # "https://user:pass/word@host": the path holds half of a password
    return quote(f"{parts['scheme']}{authority}{parts['path']}", _LONGEST_SHOWN) + mark


def redact_text(text: str) -> str:
    """Return remote text with what looks like a secret replaced; URLs in it lose user and query."""
    text = _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
