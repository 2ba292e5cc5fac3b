#!/usr/bin/env bash
# Runs the official conformance suite's server scenarios against the workspace.
#   conformance.sh DIR [SCENARIO…]    DIR/node_modules has @modelcontextprotocol/conformance; NODE names a Node >= 22
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); suite=$(cd "$1" && pwd)/node_modules/@modelcontextprotocol/conformance; shift
node=${NODE:-node}; scratch=$(mktemp -d)
cargo build --quiet --manifest-path "$here/Cargo.toml"
target=${CARGO_TARGET_DIR:-$here/../../target}
"$target/debug/aerostack-workspace" --http --rate-limit 0 --conformance --ready-file "$scratch/ready" >"$scratch/log" &
server=$!; trap 'kill $server; wait $server || true; rm -rf "$scratch"' EXIT
until [ -s "$scratch/ready" ]; do kill -0 $server; sleep 0.05; done
url=$(sed -E 's/.*"url":"([^"]*)".*/\1/' "$scratch/ready")
more="json-schema-2020-12 server-sse-polling server-session-lifecycle http-header-validation http-custom-header-server-validation"
failed=0
for version in 2025-11-25 2026-07-28; do
  required=$(awk '/^server:/ {on=1; next} /^[a-z]/ {on=0} on && /^  - / {print $2}' "$suite/requirements/$version.yaml")
  for scenario in ${*:-$required $more}; do
    if "$node" "$suite/dist/index.js" server --url "$url" --scenario "$scenario" --spec-version "$version" \
      -o "$scratch/out" >"$scratch/run" 2>&1; then verdict=ok; else verdict=FAILED; failed=$((failed + 1)); fi
    # The suite exits 0 when no check applies: say so instead of ok.
    sum=$(grep -oE 'Passed: [0-9]+/[0-9]+' "$scratch/run" | tail -1 || true)
    [ -n "$sum" ] || [ $verdict = FAILED ] || verdict="not applicable"
    echo "$verdict $version $scenario ${sum#Passed: }"
    [ "$verdict" != FAILED ] || cat "$scratch/run"
  done
done
[ $failed = 0 ]
