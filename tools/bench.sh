#!/bin/sh
# Run every bench, or those named: tools/bench.sh [NAME ...]. Each bench/NAME.sh prints JSON lines
# {"name","value","unit","goal","holds","peer","peer_value","ratio","note"}; they are kept in
# build/bench/NAME.json and shown as a table. Exit 1 when a goal does not hold.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/bench
MAINS=$(realpath "${MAINS_BUILD:-build/release}/src/cli/mains")
BENCH_BIN=$(realpath "${MAINS_BUILD:-build/release}/bench")
export MAINS BENCH_BIN
names=
for file in bench/*.sh; do
    name=$(basename "$file" .sh)
    [ "$name" = lib ] || names="$names$name "
done
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $names
status=0
for name; do
    [ -e "bench/$name.sh" ] || { echo "bench.sh: no bench named '$name'; there are: $names" >&2; exit 2; }
    out=build/bench/$name.json
    if ! sh "bench/$name.sh" >"$out.tmp" 2>"build/bench/$name.log"; then
        echo "FAIL bench $name: $(tail -n 3 "build/bench/$name.log" | tr '\n' ' ')"
        status=1
        continue
    fi
    mv "$out.tmp" "$out"
    jq -r '[.name, (.value|tostring) + " " + .unit,
            (if .goal == null then "" else "goal " + .goal + (if .holds then " holds" else " MISSED" end) end),
            (if .peer == null then "" else .peer + " " + (.peer_value|tostring) + (if .ratio == null then "" else " (x" + (.ratio|tostring) + ")" end) end),
            (.note // "")] | @tsv' "$out" | column -t -s "$(printf '\t')"
    if jq -e 'select(.holds == false)' "$out" >/dev/null; then status=1; fi
done
exit "$status"
