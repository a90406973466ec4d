#!/usr/bin/env bash
# Starts the demonstration on a free port and looks at it in a real browser: by the
# tests that are named, or those of make test.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
../../bin/ampoule demo --listen 127.0.0.1:0 --dir "$work/demo" >"$work/out" 2>"$work/err" &
server=$!
for _ in $(seq 600); do
	url=$(sed -n 's/^open: *//p' "$work/out")
	grep -q '^scene ready' "$work/out" && break
	kill -0 "$server" 2>/dev/null || { cat "$work/err"; exit 1; }
	sleep 0.1
done
grep -q '^scene ready' "$work/out" || { echo "the demonstration did not start"; cat "$work/err"; exit 1; }
export AMPOULE_URL=$url AMPOULE_DEMO=$work/demo AMPOULE=$PWD/../../bin/ampoule AMPOULE_LOGINS=$work/out
if [ $# -eq 0 ]; then set -- page.test.mjs people.test.mjs engine.test.mjs verifier.test.mjs camera.test.mjs issuer.test.mjs clinic.test.mjs admin.test.mjs ledger.test.mjs coldchain.test.mjs sessions.test.mjs trace.test.mjs mqtt.test.mjs resolver.test.mjs tour.test.mjs; fi
case $1 in *.test.mjs) set -- node --test --test-concurrency=1 "$@" ;; *) set -- node "$@" ;; esac
"$@"
