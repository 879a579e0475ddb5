#!/bin/sh
# Makes the two secrets of compose.yaml, once: the token of mirrord's API, and the password of Grafana's user admin.
#
# Change     nothing; a file that is there stays as it is
#
# Compose mounts a file with the owner and mode that it has, and the users of the containers are none of yours. So the files
# can be read by all, and the folder around them by you alone.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in token grafana-password; do
    if [ ! -s "secrets/$name" ]; then
        head -c 32 /dev/urandom | od -A n -t x1 | tr -d ' \n' >"secrets/$name"
    fi
    chmod 0444 "secrets/$name"
done
