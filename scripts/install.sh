#!/usr/bin/env bash
# Install the project in place into a virtual environment, made if need be: install.sh DIRECTORY run|dev
# With the versions of constraints.txt, by uv, or by pip where uv cannot be had.
set -euo pipefail
venv=$1
purpose=$2

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

find_python() {
    local candidate candidates=(python3 python3.14 python3.13 python3.12 python3.11)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is no Python 3.11 or later"
    fail "Python 3.11 or later is needed and none is on PATH; name one with PYTHON=/path/to/python3"
}

# Whether there is an environment into which something can be installed: one that was left half made has no pip.
usable() {
    [ -x "$venv/bin/python" ] && { [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip --version >/dev/null 2>&1; }
}

make_venv() {
    local python=$1 log package
    log=$("$python" -m venv --clear "$venv" 2>&1) && return
    rm -rf "$venv"
    if command -v uv >/dev/null && uv venv --quiet --seed --python "$python" "$venv"; then
        return
    fi
    # Debian and Ubuntu keep what the venv module needs in a package of its own.
    package=$("$python" -c 'import sys; print(f"python3.{sys.version_info.minor}-venv")')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $package" >&2
        if apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$package" >/dev/null &&
            log=$("$python" -m venv --clear "$venv" 2>&1); then
            return
        fi
        rm -rf "$venv"
    fi
    # What Debian's own hint says at length stands below; any other reason is shown.
    [[ $log == *ensurepip* ]] || printf '%s\n' "$log" >&2
    fail "$python cannot make a virtual environment: its module venv, or ensurepip, is missing." \
        "On Debian and Ubuntu, as root: apt-get install $package" "Then run make again."
}

if ! usable; then
    python=$(find_python)
    make_venv "$python"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
case $purpose in
run) extras='' groups=() ;;
dev) extras='[aws,gcp]' groups=(--group dev) ;;
*) echo "install.sh: the purpose is run or dev, not '$purpose'" >&2 && exit 2 ;;
esac

echo "installing into $venv what pyproject.toml and constraints.txt name" >&2
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --retries 1 uv || true
wanted=(--quiet --constraint constraints.txt --editable ".$extras" "${groups[@]}")
if [ -x "$venv/bin/uv" ] && "$venv/bin/uv" pip install --python "$venv/bin/python" "${wanted[@]}"; then
    exit
fi
# pip knows indexes, proxies and certificates of pip.conf, which uv does not read.
echo "uv did not install the project: trying pip" >&2
if "$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1' &&
    "$venv/bin/python" -m pip install "${wanted[@]}"; then
    exit
fi
fail "" "The packages could not be installed; the lines above say why. Without a way to the package index: a proxy is" \
    "named by HTTPS_PROXY, an index of your own by PIP_INDEX_URL, its certificate authority by PIP_CERT."
