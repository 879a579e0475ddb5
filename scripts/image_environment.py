"""Make an installed environment ready for the container image: smaller, and quick to start.

    python -I image_environment.py /opt/mirrord

Run by the Dockerfile with the environment's own Python, after everything is installed. It removes what never is read
there (descriptions of AWS services that mirrord does not call, debugging sections of compiled modules), and writes the
bytecode of every module that mirrord loads, the standard library's too: the official Python images ship none, and the
file system of a container is read-only. Bytecode stands in one tree of its own, DIRECTORY/bytecode, for
PYTHONPYCACHEPREFIX; it is not compared with the times of the sources, which builders change.

What it writes depends on nothing but what is installed: the same build twice gives the same bytes.
"""

# ruff: noqa: INP001 - a script, part of no package

from __future__ import annotations

import importlib
import pkgutil
import py_compile
import shutil
import struct
import sys
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

AWS_SERVICES = frozenset({"ecr", "ecr-public", "sso", "sso-oidc", "signin", "sts"})
"""Those that mirrord calls, and those through which botocore finds credentials."""

LOADED_LATE = (
    *("boto3.session", "botocore.auth", "botocore.crt", "botocore.httpsession", "botocore.regions", "botocore.signers"),
    *("google.auth.transport.requests", "google.auth.aws", "google.auth.external_account_authorized_user"),
    *("google.auth.identity_pool", "google.auth.impersonated_credentials", "google.auth.pluggable"),
    *("google.oauth2.credentials", "google.oauth2.service_account", "requests"),
    *("alembic.runtime.migration", "sqlalchemy.dialects.sqlite", "uvicorn.lifespan.on", "uvicorn.loops.asyncio"),
    *("uvicorn.protocols.http.h11_impl", "encodings.idna", "encodings.utf_8_sig", "aiohttp.resolver"),
)
"""Modules that are imported where they are needed, by libraries; those of extras may be missing."""

WHOLE = ("mirrord", "anyio", "apscheduler", "pydantic", "structlog", "typer", "uvicorn", "uvloop")
"""Packages that load modules of their own late, so that all of their files are compiled."""

ELF_MAGIC = b"\x7fELF\x02\x01"
"""Begins a 64-bit little-endian object."""


def main(prefix: Path) -> None:
    """Prepare the environment at a directory, and say what it is about now."""
    site_packages = [Path(path) for path in sys.path if Path(path).is_relative_to(prefix)]
    removed = trim_programs(prefix)
    for path in site_packages:
        removed += trim_botocore(path) + trim_sources(path) + trim_times(path)
    stripped = sum(strip(file) for path in site_packages for file in sorted(path.rglob("*.so*")))
    written = write_bytecode(prefix / "bytecode")
    sys.stdout.write(f"MB removed {removed / 1e6:.1f}, stripped {stripped / 1e6:.1f}, bytecode {written / 1e6:.1f}\n")


def trim_programs(prefix: Path) -> int:
    """Remove programs of libraries, scripts for shells, and what the installer left for itself; return their bytes."""
    kept = {"mirrord", "python", "python3", f"python{sys.version_info.major}.{sys.version_info.minor}"}
    left = [path for path in (prefix / "bin").iterdir() if path.name not in kept]
    left += [path for name in (".gitignore", ".lock", "CACHEDIR.TAG") for path in prefix.glob(name)]
    return sum(_remove(path) for path in left)


def trim_botocore(site_packages: Path) -> int:
    """Remove descriptions of services that are never called; return their bytes."""
    data = site_packages / "botocore" / "data"
    if not data.is_dir():
        return 0
    return sum(
        _remove(directory) for directory in data.iterdir() if directory.is_dir() and directory.name not in AWS_SERVICES
    )


def trim_sources(site_packages: Path) -> int:
    """Remove sources of compiled modules, and caches that an installer may have left; return their bytes."""
    sources = [file for kind in ("*.pyx", "*.pxd", "*.c", "*.h") for file in site_packages.rglob(kind)]
    caches = list(site_packages.rglob("__pycache__"))
    return sum(_remove(path) for path in (*sources, *caches))


def trim_times(site_packages: Path) -> int:
    """Remove what uv notes of the time of a wheel that was built a moment ago; return its bytes."""
    removed = 0
    for note in site_packages.glob("*.dist-info/uv_cache.json"):
        record = note.with_name("RECORD")
        lines = record.read_text("utf-8").splitlines(keepends=True)
        record.write_text("".join(line for line in lines if f"/{note.name}," not in line), "utf-8")
        removed += _remove(note)
    return removed


def strip(file: Path) -> int:
    """Cut a shared library off behind its last segment that is loaded; return the bytes saved.

    Behind it stand the symbols and lines for debuggers, and the table of sections that only linkers and debuggers read.
    Source: elf(5); the loader reads program headers alone.
    """
    content = file.read_bytes()
    if file.is_symlink() or not content.startswith(ELF_MAGIC):
        return 0
    headers, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    end = headers + size * count
    for number in range(count):
        offset, in_file = struct.unpack_from("<Q16xQ", content, headers + number * size + 8)
        end = max(end, offset + in_file)
    # e_shoff, and e_shnum with e_shstrndx: there is no table of sections any more.
    kept = bytearray(content[:end])
    struct.pack_into("<Q", kept, 40, 0)
    struct.pack_into("<HH", kept, 60, 0, 0)
    # A new file in its place: installers link files to their caches, and those stay as they are.
    stripped = file.with_name(f"{file.name}.stripped")
    stripped.write_bytes(kept)
    stripped.chmod(file.stat().st_mode)
    stripped.replace(file)
    return len(content) - len(kept)


def write_bytecode(directory: Path) -> int:
    """Import what mirrord imports, and write the bytecode of all of it; return its bytes."""
    sys.pycache_prefix = str(directory)
    for name in (*_modules_of("mirrord"), *LOADED_LATE):
        try:
            importlib.import_module(name)
        except ImportError as exc:
            # Of an extra that is not installed; a module of mirrord has to come, and so do those that it needs.
            if name.startswith("mirrord") or not _is_missing(exc, name):
                raise
    shutil.rmtree(directory, ignore_errors=True)
    sources = {str(module.__file__) for module in sys.modules.values() if getattr(module, "__file__", None)}
    for package in WHOLE:
        sources |= {str(file) for file in Path(importlib.import_module(package).__path__[0]).rglob("*.py")}
    written = 0
    for source in sorted(file for file in sources if file.endswith(".py") and file != __file__):
        target = cache_from_source(source)
        py_compile.compile(source, target, doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        written += Path(target).stat().st_size
    return written


def _modules_of(package: str) -> Iterator[str]:
    yield package
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            yield module.name


def _is_missing(exc: ImportError, name: str) -> bool:
    return exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}."))


def _remove(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        size = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
        shutil.rmtree(path)
        return size
    size = path.lstat().st_size
    path.unlink()
    return size


if __name__ == "__main__":
    main(Path(sys.argv[1]))
