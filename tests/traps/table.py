"""Which registry plays which of the 40 traps, and how a test says which it shows.

A trap is an odd answer of a registry that a client must cope with. A test that shows one names it in its parameter id:

    trap-NN-NAME            trap-07-google
    trap-NN-NAME-DETAIL     trap-29-nginx-no-scheme, trap-21-distribution-v2
    bulk-NN-NAME[-DETAIL]   bulk-06-quay-dead-tags, for the rules of listings with digests

``NN`` has two digits. ``NAME`` is a profile, a variant of one, or a real program that a test talks to. A row of the
reliability page may stand before it (``D6:trap-13-distribution``), and further parameters before and behind.
`test_traps.py` holds the tests against this table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

NUMBERS = frozenset(range(1, 41))
BULK_NUMBERS = frozenset(range(1, 10))

TRAPS: Mapping[str, frozenset[int]] = {
    "dockerhub": frozenset({5, 6, 8, 9, 11, 12, 13, 21, 22, 26, 27, 28, 29, 35, 39, 40}),
    "ecr": frozenset({4, 10, 12, 13, 17, 18, 19, 20, 22, 27, 30, 31, 33, 35, 36, 37, 38, 39, 40}),
    "ghcr": frozenset({4, 6, 12, 18, 22, 27, 28, 30, 39, 40}),
    "google": frozenset({3, 7, 12, 13, 16, 24, 30, 35, 38, 40}),
    "distribution": frozenset({7, 9, *range(11, 26), *range(28, 37), 39, 40}),
    "harbor": frozenset({2, 3, 9, 15, 18, 35, 36, 37, 38, 39, 40}),
    "zot": frozenset({19, 23, 25, 27, 29, 31, 34, 35, 36, 39, 40}),
    "quay": frozenset({1, 5, 6, 12, 16, 22, 23, 29, 31, 34, 35, 36, 37, 39, 40}),
    "acr": frozenset({1, 7, 12, 23, 27, 30, 37, 39, 40}),
    "gitlab": frozenset({8, 11, 22, 35, 39}),
}
"""The traps that each emulated registry plays; a profile shows each of its own in at least one test."""

PROGRAMS: Mapping[str, frozenset[int]] = {
    "docker-registry": frozenset({14, 16, 19, 21, 22, 24, 29, 31, 32, 33, 34, 35, 36, 39, 40}),
    "nginx": frozenset({15, 19, 28, 29}),
    "moto": frozenset({10, 38, 40}),
}
"""The traps that real programs show themselves, with no emulator in between; each of them in at least one test."""

VARIANTS: Mapping[str, str] = {
    "distribution-v2": "distribution",
    "distribution-v3": "distribution",
    "distribution-3.0.0": "distribution",
    "artifactory": "distribution",
    "nexus": "distribution",
    "docker-registry": "distribution",
    "nginx": "distribution",
    "ecr-public": "ecr",
    "moto": "ecr",
}
"""Names that tests may use for a profile: its variants, and the real programs that do what it does."""

BULK: Mapping[str, frozenset[int]] = {
    "dockerhub": frozenset({3, 5, 6, 7}),
    "ecr": frozenset({3, 6}),
    "ghcr": frozenset({3, 5, 6}),
    "google": frozenset({3, 6, 9}),
    "harbor": frozenset({3, 5, 6}),
    "quay": frozenset({3, 5, 6}),
    "acr": frozenset({3, 6}),
    "core": frozenset(range(1, 10)),
}
"""Registries that tell the digests of many tags at once, and the rules that each shows for itself at least.

``core`` is no registry: it is what mirrord makes of all of them in one place, and has to show all nine.
"""

_NAMES = sorted({*TRAPS, *VARIANTS, *BULK}, key=len, reverse=True)
_MENTION = re.compile(r"\b(?:trap-|bulk-(?=\d))[^:\]]*?(?=-(?:trap|bulk)-|[:\]]|$)")
_GRAMMAR = re.compile(rf"(trap|bulk)-(\d\d)-({'|'.join(map(re.escape, _NAMES))})(?:-.+)?")
_PARAMETERS = re.compile(r"\[(.*)\]$", re.DOTALL)


class Shown(NamedTuple):
    """What the id of a test says that it shows. ``name`` as it stands there, ``profile`` whose trap that is."""

    kind: str
    number: int
    name: str

    @property
    def profile(self) -> str:
        """The profile of which ``name`` is a name."""
        return VARIANTS.get(self.name, self.name)

    def __str__(self) -> str:
        """The way an id says it."""
        return f"{self.kind}-{self.number:02}-{self.name}"


def shown_by(node_id: str) -> Iterator[Shown | str]:
    """Yield what a test's id says that it shows; as text what looks like it and does not follow the grammar."""
    parameters = _PARAMETERS.search(node_id)
    for mention in _MENTION.findall(parameters[1]) if parameters is not None else ():
        match = _GRAMMAR.fullmatch(mention)
        yield Shown(match[1], int(match[2]), match[3]) if match is not None else mention


def faults_of(node_ids: Iterable[str]) -> list[str]:
    """Return what is wrong with the ids of all tests together, one sentence each: missing pairs, and unknown ones."""
    shown: set[Shown] = set()
    faults: set[str] = set()
    for node_id in node_ids:
        for found in shown_by(node_id):
            if isinstance(found, Shown) and _is_known(found):
                shown.add(found)
            else:
                faults.add(f"no such pair in tests/traps/table.py: {found}, named by {node_id.partition('[')[0]}")
    return sorted(faults) + list(_missing(shown))


def _is_known(found: Shown) -> bool:
    if found.kind == "bulk":
        return found.profile in BULK and found.number in BULK_NUMBERS
    return found.number in TRAPS.get(found.profile, frozenset())


def _missing(shown: set[Shown]) -> Iterator[str]:
    """Yield the pairs and the numbers that no test shows."""
    by_profile = {(found.kind, found.number, found.profile) for found in shown}
    by_name = {(found.kind, found.number, found.name) for found in shown}
    for kind, table, there in (("trap", TRAPS, by_profile), ("bulk", BULK, by_profile), ("trap", PROGRAMS, by_name)):
        for name, numbers in table.items():
            for number in sorted(numbers):
                if (kind, number, name) not in there:
                    yield f"no test shows {kind}-{number:02}-{name}"
    for kind, numbers in (("trap", NUMBERS), ("bulk", BULK_NUMBERS)):
        for number in sorted(numbers - {found.number for found in shown if found.kind == kind}):
            yield f"no test shows {kind}-{number:02} with any registry"
