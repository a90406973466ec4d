#!/usr/bin/env bash
# Counts the instructions of a case under callgrind: the difference of a long and
# a short run, so that start-up falls out. What is left of chance, whatever else
# the machine does, is below half a percent: signatures are new every time, and
# compress a little better or worse.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -tags valgrind -o "$work/bench" ./bench

# Preemption by signal confuses callgrind, so it is off.
count() { # case, repetitions
	GOGC=off GOMAXPROCS=1 GODEBUG=asyncpreemptoff=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/bench" -case "$1" -n "$2" 2>&1 |
		sed -n 's/.*Collected : *//p'
}

per_run() { echo $((($(count "$1" 420) - $(count "$1" 20)) / 400)); }

echo "| case | instructions | against ecdsa-verify | goal |"
echo "|---|---|---|---|"
base=$(per_run ecdsa-verify)
echo "| ecdsa-verify | $base | | |"
for name in claims claims-dynamic verify verify-icvp claims-shc verify-shc; do
	n=$(per_run "$name")
	goal=""
	[ "$name" = claims ] && goal="≤ 1.09"
	printf '| %s | %d | %s | %s |\n' "$name" "$n" "$(awk "BEGIN { printf \"%.3f\", $n / $base }")" "$goal"
done
