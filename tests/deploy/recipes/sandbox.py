"""What a unit of systemd forbids to the kernel's ears, put in force without systemd: its filters of system calls.

Run as `python sandbox.py UNIT PROGRAM [ARGUMENT]...`: it becomes the program, under the filters that the unit's
SystemCallFilter, MemoryDenyWriteExecute, RestrictNamespaces and RestrictAddressFamilies stand for. A call outside
SystemCallFilter kills the process, where the unit would answer EPERM: a program that lives makes none. systemd's own
tables tell which calls a group has; libseccomp, which systemd uses too, makes the filters.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME."""
SHM_EXEC = 0o100000
FAMILIES = 46
PR_SET_NO_NEW_PRIVS = 38


class Compare(ctypes.Structure):
    """A condition on an argument of a call: `struct scmp_arg_cmp` of libseccomp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Filter:
    """A filter that lets calls through unless a rule says something else, or the other way round."""

    def __init__(self, library: ctypes.CDLL, default: int) -> None:
        library.seccomp_init.restype = ctypes.c_void_p
        self._library = library
        self._context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, name: str, *conditions: tuple[int, int, int, int]) -> None:
        """Add a rule; a call that this machine does not have is passed over."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        array = (Compare * len(conditions))(*(Compare(*condition) for condition in conditions))
        done = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(conditions), array
        )
        if done != 0:
            raise OSError(-done, f"no rule for {name}")

    def load(self) -> None:
        """Put it in force, for good."""
        done = self._library.seccomp_load(self._context)
        if done != 0:
            raise OSError(-done, "the filter was not taken")


@functools.cache
def calls_of(group: str) -> frozenset[str]:
    """Return the system calls of a group, those of groups within it among them, as systemd lists them."""
    if not group.startswith("@"):
        return frozenset({group})
    command = ["systemd-analyze", "syscall-filter", group]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    words = [line.strip() for line in told.splitlines() if line.startswith(" ") and "#" not in line]
    return frozenset().union(*map(calls_of, words))


def allowed(values: Iterable[str]) -> frozenset[str]:
    """Return the calls that the values of SystemCallFilter leave; those that systemd always allows among them."""
    calls: frozenset[str] = calls_of("@default")
    for value in values:
        named = frozenset().union(*map(calls_of, value.removeprefix("~").split()))
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def confine(settings: dict[str, list[str]]) -> None:
    """Put the filters of a unit in force for this process and all that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    library = ctypes.CDLL("libseccomp.so.2")
    calls = allowed(settings["SystemCallFilter"])
    special = Filter(library, ALLOW)
    if settings["MemoryDenyWriteExecute"] == ["yes"]:
        deny_write_execute(special)
    if settings["RestrictNamespaces"] == ["yes"]:
        deny_namespaces(special)
    families = {int(getattr(socket, name)) for name in " ".join(settings["RestrictAddressFamilies"]).split()}
    for family in set(range(1, FAMILIES)) - families:
        special.add(ERRNO | errno.EAFNOSUPPORT, "socket", (0, EQUAL, family, 0))
    special.load()
    by_group = Filter(library, KILL)
    for call in sorted(calls):
        by_group.add(ALLOW, call)
    by_group.load()


def deny_write_execute(rules: Filter) -> None:
    """Refuse memory that is written and then carried out."""
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    refused = ERRNO | errno.EPERM
    rules.add(refused, "mmap", (2, MASKED_EQUAL, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        rules.add(refused, name, (2, MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    rules.add(refused, "shmat", (2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))


def deny_namespaces(rules: Filter) -> None:
    """Refuse new namespaces; clone3, whose flags no filter sees, is said not to exist, so that clone is used."""
    refused = ERRNO | errno.EPERM
    rules.add(ERRNO | errno.ENOSYS, "clone3")
    rules.add(refused, "setns")
    for bit in (1 << number for number in range(32) if NAMESPACES >> number & 1):
        rules.add(refused, "unshare", (0, MASKED_EQUAL, bit, bit))
        rules.add(refused, "clone", (0, MASKED_EQUAL, bit, bit))


def main() -> None:
    """Read the unit, confine this process, become the program."""
    text = Path(sys.argv[1]).read_text("utf-8")
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign and name.isalpha():
            settings.setdefault(name, []).append(value)
    confine(settings)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
