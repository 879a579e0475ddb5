#!/usr/bin/env bash
# Write the locks of the container image: the versions of constraints.txt, with the hashes of every file of each.
# requirements.lock has what mirrord and its extras need, requirements-build.lock what builds its wheel.
# No index is named in them: hashes say what may be installed, wherever it comes from.
set -euo pipefail
bin=.venv/bin
compile=("$bin/uv" pip compile --quiet --universal --no-header --no-annotate --generate-hashes
    --constraint constraints.txt --no-emit-index-url --no-emit-find-links)

"${compile[@]}" --all-extras --output-file requirements.lock pyproject.toml
"$bin/python" - <<'PYTHON' | "${compile[@]}" --python-version 3.11 --output-file requirements-build.lock -
import tomllib
from pathlib import Path

print("\n".join(tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["build-system"]["requires"]))
PYTHON
