"""YAML text to a tree with positions, without ever building an object of the text's choosing.

The tree is built from libyaml's events and not from its nodes: a loop with a stack of its own bounds depth, size
and aliases while it reads, where libyaml's composer would recurse as deep as the file says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from mirrord.config.tree import Items, Position, Scalar, Table, describe
from mirrord.errors import ConfigError, ConfigProblem, quote

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 50
MAX_VALUES = 500_000
"""Most values of a file after its aliases are followed; that is 25 for each of 20,000 rules."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
_CORE_PREFIX = "tag:yaml.org,2002:"
_MERGE = "<<"
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Source:
    """A file as it was read: its tree, and the faults that did not keep it from being read."""

    file: str
    root: Table
    problems: list[ConfigProblem] = field(default_factory=list)


def parse(content: bytes, file: str) -> Source:
    """Return what ``content`` says; ``file`` is its name in messages.

    Raises:
        ConfigError: it cannot be read as a YAML mapping.
    """
    text = _decode(content, file)
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        raise _syntax_error(exc, text, file) from None
    if isinstance(builder.root, Table):
        return Source(file, builder.root, builder.problems)
    if builder.root is None or (isinstance(builder.root, Scalar) and builder.root.is_null):
        raise _error(file, Position(0, 0), "the file says nothing; it begins with `version: 1`", "CONFIG_EMPTY")
    raise _error(
        file,
        builder.root.position,
        f"the file must be a mapping with the keys version, registries, defaults and rules; "
        f"got {describe(builder.root)}",
        "CONFIG_INVALID",
    )


@dataclass(slots=True)
class _Open:
    """A table or list whose end was not seen yet. ``weight`` counts the values in it, aliases followed."""

    value: Table | Items
    anchor: str | None
    key: Scalar | None = None
    weight: int = 1
    merges: list[Table] = field(default_factory=list)


class _Builder:
    """Puts a tree together, event by event."""

    def __init__(self, file: str) -> None:
        self.root: Scalar | Table | Items | None = None
        self.problems: list[ConfigProblem] = []
        self._file = file
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Scalar | Table | Items, int]] = {}
        self._documents = 0
        self._has_aliases = False

    def take(self, event: yaml.Event) -> None:
        """Add what one event tells."""
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._follow(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _error(self._file, _at(event), "a second document begins here; one is allowed", "CONFIG_INVALID")

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        self._check_tag(event)
        value = Scalar(event.value, not event.style and event.tag is None, _at(event))
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, 1)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        self._check_tag(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _error(self._file, _at(event), f"nested more than {MAX_DEPTH} levels deep", "CONFIG_TOO_DEEP")
        kind = Table if isinstance(event, yaml.MappingStartEvent) else Items
        if event.anchor:
            self._anchors.pop(event.anchor, None)
        self._stack.append(_Open(kind(_at(event)), event.anchor))

    def _end(self) -> None:
        done = self._stack.pop()
        for table in done.merges:
            _merge(done.value, table)
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.weight)
        self._add(done.value, done.weight)

    def _follow(self, event: yaml.AliasEvent) -> None:
        if any(open_.anchor == event.anchor for open_ in self._stack) and event.anchor not in self._anchors:
            raise _error(self._file, _at(event), "an anchor refers to itself", "CONFIG_ALIAS_LIMIT")
        if event.anchor not in self._anchors:
            # Its name is not shown: an unquoted secret that begins with * would be read as an alias.
            message = "an alias of an anchor that was not defined above; text that begins with * needs quotes"
            raise _error(self._file, _at(event), message, "CONFIG_SYNTAX")
        self._has_aliases = True
        self._add(*self._anchors[event.anchor], at=_at(event))

    def _add(self, value: Scalar | Table | Items, weight: int, at: Position | None = None) -> None:
        if not self._stack:
            self.root = value
            return
        parent = self._stack[-1]
        parent.weight += weight
        if parent.weight > MAX_VALUES:
            message = f"the file has more than {MAX_VALUES:,} values, aliases followed"
            code = "CONFIG_ALIAS_LIMIT" if self._has_aliases else "CONFIG_TOO_LARGE"
            raise _error(self._file, at or value.position, message, code)
        if isinstance(parent.value, Items):
            parent.value.append(value)
        elif parent.key is None:
            parent.key = self._key(value)
        else:
            self._put(parent, parent.key, value)
            parent.key = None

    def _key(self, value: Scalar | Table | Items) -> Scalar:
        if isinstance(value, Scalar):
            return value
        raise _error(self._file, value.position, f"a key must be text, not {describe(value)}", "CONFIG_SYNTAX")

    def _put(self, parent: _Open, key: Scalar, value: Scalar | Table | Items) -> None:
        table = parent.value
        assert isinstance(table, Table)
        if key.plain and key.text == _MERGE:
            parent.merges.extend(self._merged(value, key.position))
        elif key.text in table:
            first = table.keys_at[key.text]
            self._report(
                key.position,
                f'the key "{quote(key.text, 60)}" stands twice in one mapping; first on line {first.line}',
                "CONFIG_DUPLICATE_KEY",
            )
        else:
            table.put(key.text, value, key.position)

    def _merged(self, value: Scalar | Table | Items, position: Position) -> Iterator[Table]:
        candidates = value if isinstance(value, Items) else [value]
        for candidate in candidates:
            if isinstance(candidate, Table):
                yield candidate
            else:
                self._report(position, "<< merges a mapping, or a list of mappings, by alias", "CONFIG_INVALID")

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is None or (isinstance(event, yaml.ScalarEvent) and event.tag in _TEXT_TAGS):
            return
        # Only YAML's own names are shown: an unquoted secret that begins with ! would be read as a tag.
        name = f' "!!{quote(event.tag.removeprefix(_CORE_PREFIX), 60)}"' if event.tag.startswith(_CORE_PREFIX) else ""
        self._report(
            _at(event),
            f"the YAML tag{name} is not allowed; text that begins with ! needs quotes",
            "CONFIG_TAG_FORBIDDEN",
        )

    def _report(self, position: Position, message: str, code: str) -> None:
        self.problems.append(_problem(self._file, position, message, code))


def _merge(into: Table | Items, table: Table) -> None:
    """Add the keys of ``table`` that ``into`` lacks, at the place where they were written."""
    assert isinstance(into, Table)
    for key, value in table.items():
        if key not in into:
            into.put(key, value, table.keys_at[key])


def _decode(content: bytes, file: str) -> str:
    if len(content) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024**2} MiB"
        raise _error(file, Position(0, 0), message, "CONFIG_TOO_LARGE")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _error(file, Position(0, 0), "the file is UTF-16; save it as UTF-8", "CONFIG_ENCODING")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        position = _position_of(content[: exc.start].decode("utf-8-sig"))
        message = f"byte 0x{content[exc.start]:02x} is no UTF-8; save the file as UTF-8"
        raise _error(file, position, message, "CONFIG_ENCODING") from None
    bad = _FORBIDDEN.search(text)
    if bad:
        message = f"character U+{ord(bad[0]):04X} cannot stand in YAML; is this a text file?"
        raise _error(file, _position_of(text[: bad.start()]), message, "CONFIG_ENCODING")
    return text


def _position_of(before: str) -> Position:
    """Return the place that follows the text ``before``."""
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _syntax_error(exc: yaml.MarkedYAMLError, text: str, file: str) -> ConfigError:
    mark = exc.problem_mark or exc.context_mark
    position = Position(mark.line + 1, mark.column + 1) if mark else Position(0, 0)
    if "nesting depth" in (exc.problem or ""):  # libyaml has a limit of its own, and reads ahead of its events
        return _error(file, position, f"nested more than {MAX_DEPTH} levels deep", "CONFIG_TOO_DEEP")
    lines = text.splitlines()
    line = lines[position.line - 1] if 0 < position.line <= len(lines) else ""
    message = f"this is no YAML: {exc.problem}"
    if exc.context and exc.context_mark and exc.context_mark.line + 1 != position.line:
        message += f", {exc.context} that begins on line {exc.context_mark.line + 1}"
    if hint := _syntax_hint(exc.problem or "", line, position.column - 1):
        message += f"; {hint}"
    return _error(file, position, message, "CONFIG_SYNTAX")


def _syntax_hint(problem: str, line: str, place: int) -> str:
    """Return what most likely mends a line; libyaml says what it expected, which is seldom what was forgotten."""
    before, character = line[:place], line[place : place + 1]
    value = before.lstrip(" -").rpartition(": ")[2]
    is_mapping = "mapping values are not allowed" in problem
    hints = (
        ("\t" in line[: place + 1], "a tab stands here, YAML is indented with spaces"),
        (character and character in "@`%*&!", "text that begins with this character needs quotes"),
        (character == "{", "text with { needs quotes inside [ ]"),
        ("comment or line break" in problem, "text that begins with > or | needs quotes"),
        (value.startswith(("{", "[")), "text that begins with { or [ needs quotes"),
        (is_mapping and ": " in before, 'text with ": " needs quotes'),
        (is_mapping or not before.strip(), "the keys of one item begin in the same column"),
    )
    return next((hint for fits, hint in hints if fits), "")


def _at(event: yaml.Event) -> Position:
    assert event.start_mark is not None
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _problem(file: str, position: Position, message: str, code: str) -> ConfigProblem:
    return ConfigProblem(file=file, line=position.line, column=position.column, key="", message=message, code=code)


def _error(file: str, position: Position, message: str, code: str) -> ConfigError:
    return ConfigError([_problem(file, position, message, code)])
