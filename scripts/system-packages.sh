#!/usr/bin/env bash
# Install what integration tests and the benchmark start as processes. Nothing is done when all is there.
# Without root the missing packages are named and the tests that need them skip; in CI (CI=true) they fail.
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Images are built upon nothing: only a busybox that needs no library runs there.
has_static_busybox() {
    local program
    program=$(command -v busybox) && ! ldd "$program" >/dev/null 2>&1
}

# Debian 12's buildah (1.28) works without netavark; that of Debian 13 does nothing at all, and does not bring it.
lacks_netavark() {
    local directory version
    for directory in /usr/libexec/podman /usr/lib/podman /usr/local/libexec/podman /usr/local/lib/podman; do
        [ ! -x "$directory/netavark" ] || return 1
    done
    version=$(buildah --version 2>/dev/null | awk '{ print $3 }')
    [ -n "$version" ] || version=$(apt-cache policy buildah 2>/dev/null | awk '/Candidate:/ { print $2 }')
    dpkg --compare-versions "${version:-0}" ge 1.29 2>/dev/null
}

missing=()
command -v docker-registry >/dev/null || missing+=(docker-registry)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v skopeo >/dev/null || missing+=(skopeo)
command -v buildah >/dev/null || missing+=(buildah)
command -v prometheus >/dev/null && command -v promtool >/dev/null || missing+=(prometheus)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
command -v htpasswd >/dev/null || missing+=(apache2-utils)
command -v chromium >/dev/null || missing+=(chromium)
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v systemd-analyze >/dev/null || missing+=(systemd)
! command -v buildah >/dev/null || ! lacks_netavark || missing+=(netavark)
has_static_busybox || missing+=(busybox-static)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    if [ "${CI:-}" = true ] && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "missing system packages, as root: apt-get install ${missing[*]}" >&2
        exit 0
    fi
fi
if ! command -v apt-get >/dev/null; then
    echo "missing, and there is no apt-get here: ${missing[*]} (names of Debian's packages)" >&2
    exit 0
fi
echo "installing system packages: ${missing[*]}" >&2
# RUNLEVEL=1 keeps maintainer scripts from starting the services: tests start processes of their own.
install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends)
install_all() {
    "${as_root[@]}" apt-get update -qq || return
    command -v buildah >/dev/null || ! lacks_netavark || missing+=(netavark) # the lists tell which buildah
    "${as_root[@]}" "${install[@]}" "${missing[@]}" >/dev/null
}
if ! install_all; then
    echo "the system packages could not be installed: tests that need them will skip, and in CI fail" >&2
fi
