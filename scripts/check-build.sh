#!/usr/bin/env bash
# Prove that the built wheel and source archive carry what they must, and that the wheel runs by itself.
set -euo pipefail
wheel=$(ls dist/*.whl)
sdist=$(ls dist/*.tar.gz)

require() {
    local archive=$1 listing=$2 wanted
    shift 2
    for wanted in "$@"; do
        grep -qE "$wanted" <<<"$listing" || { echo "$archive lacks $wanted" >&2 && exit 1; }
    done
}

require "$wheel" "$(.venv/bin/python -m zipfile -l "$wheel" | awk '{ print $1 }')" \
    '^mirrord/py\.typed$' '^mirrord/config/mirrord\.schema\.json$' '^mirrord/web/page/index\.html$' '^mirrord/web/page/main\.js$' '^mirrord-.*/licenses/LICENSE$' '^mirrord-.*/entry_points\.txt$' \
    '/share/mirrord/grafana/dashboards/mirrord\.json$' '/share/mirrord/grafana/alerts/mirrord\.yaml$'
require "$sdist" "$(tar -tzf "$sdist")" \
    '/pyproject\.toml$' '/LICENSE$' '/README\.md$' '/Makefile$' '/scripts/install\.sh$' '/constraints\.txt$' '/mirrord/py\.typed$' '/tests/conftest\.py$' \
    '/Dockerfile$' '/\.dockerignore$' '/requirements\.lock$' '/requirements-build\.lock$' '/grafana/dashboards/mirrord\.json$'
.venv/bin/uv run --quiet --isolated --no-project --with "$wheel" mirrord version
ls -l "$wheel" "$sdist"
