"""Patterns: which tags and which repository paths a text means.

A text is a literal, a glob, or a ``/regular expression/`` that must match the whole name. All of them match case
sensitively and in linear time: regular expressions are RE2's, and globs are translated to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

import re2

from mirrord.errors import InvalidReferenceError, quote
from mirrord.oci.reference import Tag, parse_repository_path

MAX_LENGTH = 1_000

_TAG_GLOB = re.compile(
    r"(?P<stars>\*+)|(?P<one>\?)|\[(?P<negated>[!^]?)(?P<members>[A-Za-z0-9_.-]+)\]|(?P<literal>[A-Za-z0-9_.-]+)"
)
_PATH_GLOB = re.compile(r"(?P<across>\*{2,})|(?P<stars>\*)|(?P<one>\?)|(?P<literal>[a-z0-9_.-]+)")
_TAG_WILDCARD = re.compile(r"[*?\[]")
_PATH_WILDCARD = re.compile(r"[*?]")
_EXPONENTIAL = re.compile(r"\(\?<?[=!]|\\[1-9kg]")


class _Expression(Protocol):
    """What is used of a compiled regular expression."""

    def fullmatch(self, text: str) -> object | None: ...


@dataclass(frozen=True, slots=True)
class TagPattern:
    """A pattern of tags.

    In a glob, ``*`` stands for any characters, ``?`` for one, ``[ab]`` and ``[a-f]`` for one of these and ``[!ab]``
    for one that is none of them. ``literal`` is the tag that a literal names, None for globs and expressions.
    """

    text: str
    literal: Tag | None = field(compare=False, repr=False)
    _expression: _Expression | None = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> TagPattern:
        """Return the pattern that ``text`` writes.

        Raises:
            InvalidReferenceError: a regular expression that RE2 does not take (REGEX_INVALID); text that is empty,
                longer than 1,000 characters, or can match no tag because of a character in it (PATTERN_INVALID).
        """
        _check_length(text)
        if _is_expression(text):
            return cls(text, None, _compile_user(text))
        if _TAG_WILDCARD.search(text):
            return cls(text, None, _compile(_translate_tag(text)))
        try:
            return cls(text, Tag.parse(text), None)
        except InvalidReferenceError as exc:
            raise _invalid(f'the pattern {exc.message}; globs use "*", "?" and "[...]"{_slash_hint(text)}') from None

    def matches(self, tag: Tag) -> bool:
        """Say whether the whole tag is meant."""
        if self._expression is None:
            return self.literal == tag
        return self._expression.fullmatch(tag.name) is not None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern of repository paths, without the registry.

    ``*`` and ``?`` stay within one path segment, ``**`` goes across: ``a/**`` means everything below ``a`` at any
    depth, and a ``**`` in front of or between other segments stands for any number of segments, none included.
    ``literal`` says that there is no wildcard. ``prefix`` is what every path meant begins with, up to and with the
    last ``/`` before the first wildcard: ``acme/`` for ``acme/*``, empty for ``*`` and for expressions.
    """

    text: str
    literal: bool = field(compare=False, repr=False)
    prefix: str = field(compare=False, repr=False)
    _expression: _Expression | None = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Return the pattern that ``text`` writes.

        Raises:
            InvalidReferenceError: a regular expression that RE2 does not take (REGEX_INVALID); text that is empty,
                longer than 1,000 characters, or can match no repository path (PATTERN_INVALID).
        """
        _check_length(text)
        if _is_expression(text):
            return cls(text, literal=False, prefix="", _expression=_compile_user(text))
        wildcard = _PATH_WILDCARD.search(text)
        if wildcard:
            prefix = text[: text.rfind("/", 0, wildcard.start()) + 1]
            return cls(text, literal=False, prefix=prefix, _expression=_compile(_translate_path(text)))
        try:
            parse_repository_path(text)
        except InvalidReferenceError as exc:
            raise _invalid(f'the pattern {exc.message}; globs use "*", "**" and "?"{_slash_hint(text)}') from None
        return cls(text, literal=True, prefix=text[: text.rfind("/") + 1], _expression=None)

    def matches(self, path: str) -> bool:
        """Say whether the whole path is meant."""
        if self._expression is None:
            return self.text == path
        return self._expression.fullmatch(path) is not None

    def __str__(self) -> str:
        return self.text


def _check_length(text: str) -> None:
    if not text:
        raise _invalid("a pattern is empty; write * for everything")
    if len(text) > MAX_LENGTH:
        raise _invalid(f'the pattern "{quote(text, 60)}" has {len(text)} characters; at most {MAX_LENGTH} are allowed')


def _is_expression(text: str) -> bool:
    return len(text) > 1 and text.startswith("/") and text.endswith("/")


_SIGNS_OF_AN_EXPRESSION = frozenset("^$()|+\\")


def _slash_hint(text: str) -> str:
    meant = text.startswith("/") or not _SIGNS_OF_AN_EXPRESSION.isdisjoint(text)
    return ', a regular expression stands between "/" and "/"' if meant else ""


def _translate_tag(text: str) -> str:
    pieces: list[str] = []
    position = 0
    while position < len(text):
        match = _TAG_GLOB.match(text, position)
        if match is None:
            raise _misplaced(text, position, "a tag")
        if match["stars"]:
            pieces.append(".*")
        elif match["one"]:
            pieces.append(".")
        elif match["members"]:
            inverted = "^" if match["negated"] else ""
            pieces.append(f"[{inverted}{_translate_members(match['members'], text)}]")
        else:
            pieces.append(re2.escape(match["literal"]))
        position = match.end()
    return "".join(pieces)


def _translate_members(members: str, text: str) -> str:
    pieces: list[str] = []
    position = 0
    while position < len(members):
        first, between, last = members[position : position + 1], *_pad(members[position + 1 : position + 3])
        if between != "-" or not last:
            pieces.append(re2.escape(first))
            position += 1
        elif first > last:
            raise _invalid(f'the pattern "{quote(text)}": the range {first}-{last} runs backwards')
        else:
            pieces.append(f"{re2.escape(first)}-{re2.escape(last)}")
            position += 3
    return "".join(pieces)


def _pad(two: str) -> tuple[str, str]:
    return two[:1], two[1:]


def _translate_path(text: str) -> str:
    segments = text.split("/")
    pieces: list[str] = []
    start = 0
    for number, segment in enumerate(segments, 1):
        if not segment:
            raise _invalid(
                f'the pattern "{quote(text)}" has an empty path segment at character {start + 1}{_slash_hint(text)}'
            )
        is_last = number == len(segments)
        if set(segment) == {"*"} and len(segment) > 1:
            pieces.append(".+" if is_last else "(?:.+/)?")
        else:
            pieces.append("[^/]+" if segment == "*" else _translate_segment(segment, text, start))
            pieces.append("" if is_last else "/")
        start += len(segment) + 1
    return "".join(pieces)


def _translate_segment(segment: str, text: str, start: int) -> str:
    pieces: list[str] = []
    position = 0
    while position < len(segment):
        match = _PATH_GLOB.match(segment, position)
        if match is None:
            raise _misplaced(text, start + position, "a repository path")
        if match["across"]:
            pieces.append(".*")
        elif match["stars"]:
            pieces.append("[^/]*")
        elif match["one"]:
            pieces.append("[^/]")
        else:
            pieces.append(re2.escape(match["literal"]))
        position = match.end()
    return "".join(pieces)


def _compile(expression: str) -> _Expression:
    options = re2.Options()
    options.log_errors = False  # RE2 would write to stderr, past every log format
    options.never_capture = True  # groups only group here, and matching without captures is faster
    compiled: _Expression = re2.compile(expression, options)
    return compiled


def _compile_user(text: str) -> _Expression:
    expression = text[1:-1]
    try:
        return _compile(expression)
    except UnicodeEncodeError as exc:
        raise _invalid_expression(text, f"character {exc.start + 2} is no character of Unicode text", "") from None
    except re2.error as exc:
        raise _invalid_expression(text, *_explain(expression, exc)) from None


def _explain(expression: str, exc: Exception) -> tuple[str, str]:
    """Return what RE2 said about ``expression``, with the place where that is sure, and a remedy."""
    said = exc.args[0]
    reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    fragment = reason.partition(": ")[2]
    remedy = ""
    # RE2 cuts the fragment of a back-reference by name, (?P=name), after its third character.
    if _EXPONENTIAL.match(fragment) or (fragment == "(?P" and "(?P=" in expression):
        remedy = (
            "look-around and back-references are not supported, since they can take exponential time; "
            "take more with this pattern and leave the rest out with exclude"
        )
    if fragment and fragment != expression and expression.count(fragment) == 1:
        # One further than the index for counting from 1, one more for the opening slash.
        reason += f", at character {expression.index(fragment) + 2}"
    return quote(reason), remedy


def _invalid_expression(text: str, reason: str, remedy: str) -> InvalidReferenceError:
    return InvalidReferenceError(
        f'the regular expression "{quote(text)}" is not valid: {reason}', code="REGEX_INVALID", remedy=remedy
    )


def _misplaced(text: str, position: int, subject: str) -> InvalidReferenceError:
    character = text[position]
    said = "opens no class of characters" if character == "[" else f"cannot stand in the pattern of {subject}"
    return _invalid(
        f'the pattern "{quote(text)}": character {position + 1} ("{quote(character)}") {said}{_slash_hint(text)}'
    )


def _invalid(message: str) -> InvalidReferenceError:
    return InvalidReferenceError(message, code="PATTERN_INVALID")
