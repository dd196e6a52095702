#!/bin/sh
# CPU of the controller with 60 sites and 100,000 devices that have nothing to do, over 30 s; and
# what they cost it in memory and at a restart.
set -eu
. "$(dirname "$0")/lib.sh"
sites=${SITES:-60}
network_up --listen 127.0.0.2:0 --tls
mkdir "$bench_dir/fleet"
fleet_join "$state" "$bench_dir/fleet" "$sites" 209 8
while [ "$(metric mains_site_sessions)" -le "$sites" ]; do sleep 0.2; done
pid=$(jq -r .pid "$state/endpoint.json")

ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13}'; }
agent=$(fleet_agent 1)
sleep 3
before=$(ticks "$pid") agent_before=$(ticks "$agent")
sleep 30
after=$(ticks "$pid") agent_after=$(ticks "$agent")
percent() { awk -v t=$(($2 - $1)) -v hz="$(getconf CLK_TCK)" 'BEGIN {printf "%.2f", t / hz / 30 * 100}'; }
figure controller_idle "$(percent "$before" "$after")" "% of a core" "<5" "" "" "$sites sites, $(metric mains_devices) devices, sessions over TLS, 30 s; load $(cut -d' ' -f1 /proc/loadavg)"
figure controller_idle_agent "$(percent "$agent_before" "$agent_after")" "% of a core" "" "" "" "one agent of 1,672 devices"
figure controller_idle_memory "$(awk '/^VmRSS/ {printf "%.0f", $2 / 1024}' "/proc/$pid/status")" MiB "" "" "" "resident"

# The controller alone is killed; its parent starts it again, and the sites come back by themselves.
start=$(now_ns)
kill -9 "$pid"
while [ "$(jq -r .pid "$state/endpoint.json" 2>/dev/null || :)" = "$pid" ] || ! ask -o /dev/null "$url/readyz" 2>/dev/null; do
    sleep 0.02
    url=$(jq -r '.url // ""' "$state/endpoint.json" 2>/dev/null || :)
done
ready=$(now_ns)
while [ "$(metric mains_site_sessions 2>/dev/null || echo 0)" -le "$sites" ]; do sleep 0.1; done
end=$(now_ns)
figure controller_idle_restart "$(awk -v a="$start" -v b="$ready" 'BEGIN {printf "%.2f", (b - a) / 1e9}')" s "" "" "" "killed, until it answers; its parent waits some of that"
figure controller_idle_reunion "$(awk -v a="$start" -v b="$end" 'BEGIN {printf "%.2f", (b - a) / 1e9}')" s "" "" "" "killed, until all $sites sites are heard again"
