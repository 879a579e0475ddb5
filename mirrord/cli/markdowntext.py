r"""Text that is not ours in Markdown, as GitHub and GitLab render it: it shows as it stands, and does nothing.

`plain` is for sentences, `code` for names. Neither begins HTML, a link, an image, a heading, a cell, a formula or an
emoji code, nobody is mentioned, and no issue is linked.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(r"[\\`*_\[\]|~$!^=]")
_REFERENCES = re.compile(r"[@#%&!~$^](?=\w)|:(?=//|[\w+-]+:)|www(?=\.)")
"""What GitHub and GitLab make links of, some of them after the Markdown was rendered."""

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_BACKTICKS = re.compile("`+")
_BREAK = "<!-- -->"
"""Parts what would be a link, and is not seen."""


def plain(text: str) -> str:
    """Return a sentence on one line."""
    text = _visible(text)
    pieces = map(_escape, _REFERENCES.split(text))
    marks = map(_escape, _REFERENCES.findall(text))
    return next(pieces) + "".join(mark + _BREAK + piece for mark, piece in zip(marks, pieces, strict=True))


def code(text: str) -> str:
    """Return a name as a span of code, for a table too: there a pipe would end the cell, even within code."""
    text = _visible(text).replace("|", "\\|")
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    room = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{room}{text}{room}{fence}"


def _escape(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", text).translate(_HTML)


def _visible(text: str) -> str:
    """Return text on one line, control and bidirectional characters told by their numbers."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
