# shellcheck shell=sh
# fleet.sh - sites that are made up (`mains join --executor sim`), many of them, each with a process
# and a token of its own as a real one has. Sourced by tests and benches. Needs $MAINS.

FLEET_CHIPS="h100-sxm-80g a100-sxm-80g l40s h20 mi300x gaudi3 ascend-910b3 mlu590-m9 dcu-k100 mtt-s4000
metax-c500 br100 bi-v150 kunlun-p800 enflame-s60 tpu-v5e trainium2 v100-sxm2-32g h200-sxm b200"
fleet_place= fleet_count=0

# fleet_chip I: the kind of chip that site I has; 20 kinds in turn.
fleet_chip() {
    # shellcheck disable=SC2086
    set -- "$1" $FLEET_CHIPS
    shift $((($1 - 1) % 20 + 1))
    echo "$1"
}

# fleet_join STATE PLACE SITES NODES DEVICES [KEYS]: sites s1, s2, ... join the network of STATE; what
# each has and keeps is PLACE/sI.yaml and PLACE/sI. KEYS are more of the fleet file, as "run: 5s".
fleet_join() {
    fleet_place=$2
    for i in $(seq "$3"); do
        printf '{nodes: %s, devices: %s, chip: %s, rack_nodes: 8, seed: %s%s}\n' "$4" "$5" \
            "$(fleet_chip "$i")" "$i" "${6:+, $6}" >"$2/s$i.yaml"
        token=$("$MAINS" site token "s$i" --state "$1") || return 1
        "$MAINS" join "${token#mains join }" --state "$2/s$i" --detach --executor sim \
            --sim-fleet "$2/s$i.yaml" >/dev/null || return 1
        fleet_count=$i
    done
}

# fleet_agent I: the process of the agent of site I.
fleet_agent() {
    fleet_parent=$(tr -dc 0-9 <"$fleet_place/s$1/lock") || return 1
    pgrep -P "${fleet_parent:-0}" -f ' agent' | head -n 1
}

# The processes only: their folders are whose PLACE is.
fleet_down() {
    for i in $(seq "$fleet_count"); do
        kill "$(tr -dc 0-9 <"$fleet_place/s$i/lock")" 2>/dev/null || :
    done
    for i in $(seq "$fleet_count"); do
        while kill -0 "$(tr -dc 0-9 <"$fleet_place/s$i/lock")" 2>/dev/null; do sleep 0.1; done
    done
    fleet_count=0
}
