#!/usr/bin/env bash
# Install the project in place into a virtual environment, made if need be: install.sh DIRECTORY run|dev
# With the versions of constraints.txt, by uv, or by pip where uv cannot be had.
set -euo pipefail
venv=$1
purpose=$2

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11 or later is needed and none is on PATH; name one with PYTHON=/path/to/python3" >&2
    return 1
}

make_venv() {
    local python=$1 log version
    log=$("$python" -m venv "$venv" 2>&1) && return
    version=$("$python" -c 'import sys; print(f"python3.{sys.version_info.minor}-venv")')
    # Debian and Ubuntu keep the venv module's ensurepip in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $version" >&2
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$version" >/dev/null
        "$python" -m venv --clear "$venv"
        return
    fi
    rm -rf "$venv"
    printf '%s\n' "$log" "no virtual environment could be made; on Debian or Ubuntu: sudo apt-get install $version" >&2
    return 1
}

[ -x "$venv/bin/python" ] || make_venv "$(find_python)"

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
case $purpose in
run) extras='' groups=() ;;
dev) extras='[aws,gcp]' groups=(--group dev) ;;
*) echo "install.sh: the purpose is run or dev, not '$purpose'" >&2 && exit 2 ;;
esac

[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet uv || true
wanted=(--quiet --constraint constraints.txt --editable ".$extras" "${groups[@]}")
if [ -x "$venv/bin/uv" ] && "$venv/bin/uv" pip install --python "$venv/bin/python" "${wanted[@]}"; then
    exit
fi
echo "uv did not install the project: trying pip" >&2
"$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
"$venv/bin/python" -m pip install "${wanted[@]}"
