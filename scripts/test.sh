#!/usr/bin/env bash
# Run every test with coverage, two at a time; of those that start processes, no two of one file.
# All parts run even when one fails; the last line sums up, and the exit status is that of the worst.
set -uo pipefail
bin=.venv/bin
logs=.make
status=0
mkdir -p "$logs"
"$bin/coverage" erase
rm -f "$logs"/pytest-*.log

suite() {
    local name=$1
    shift
    echo "== $name"
    "$bin/pytest" --cov --cov-append --cov-report= "$@" 2>&1 | tee "$logs/pytest-$name.log" || status=1
}

total() {
    tail -qn 1 "$logs"/pytest-*.log | grep -oE "[0-9]+ $1" | awk '{ sum += $1 } END { print sum + 0 }'
}

suite in-process -m "not integration" -n 2
suite processes -m integration -n 2 --dist loadfile

echo "== coverage"
"$bin/coverage" report --fail-under=95 || status=1
"$bin/coverage" report --include='mirrord/oci/*,mirrord/planning/*' --fail-under=100 >"$logs/pure.txt" || {
    echo "mirrord.oci and mirrord.planning are covered to 100 %, and are not now:"
    cat "$logs/pure.txt"
    status=1
}
echo "coverage: $("$bin/coverage" report --format=total --precision=1) % of lines and branches"
failed=$(($(total failed) + $(total 'errors?')))
echo "$(total passed) passed, $failed failed, $(total skipped) skipped"
exit "$status"
