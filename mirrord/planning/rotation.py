"""Which of the tags that listings call unchanged are looked at all the same: a few in each run, in turn.

What an API tells of a tag may be old for good. So each tag has its turn, found from its name and the time alone: no
state is kept, and every process that mirrors the same repository gives the same answer.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from mirrord.oci.reference import Location, Tag

TURN_S = 20 * 60
"""How long a turn lasts, in seconds: runs that begin at most so far apart miss none."""

TURNS = 71
"""Turns until a tag is due again: 23 h 40 min, so that each is due once a day.

A prime number, and no divisor of a day: runs an hour or six hours apart meet other turns each day, and come to all.
"""


def is_due(location: Location, tag: Tag, moment: datetime) -> bool:
    """Say whether it is the turn of a tag at ``moment``, which is aware of its zone."""
    name = blake2b(f"{location}:{tag}".encode(), digest_size=8).digest()
    return int.from_bytes(name, "big") % TURNS == int(moment.timestamp()) // TURN_S % TURNS
