# slurm.bash - a real Slurm on loopback for a file of tests, from Debian's packages. Needs root.
#
#   slurm_place              $PLACE and $SLURM_CONF; fails, $WHY told, where it cannot be done
#   slurm_start NODES PORT   it; fails, $WHY told
#   slurm_lacks JOB          nothing of it runs there
#   slurm_stop               it and $PLACE go
#
# bats 1.8 counts a `skip` in setup_file as a failure: `setup` skips when $WHY is not empty.

LOCAL=${MAINS_SLURM_LOCAL:-$BATS_TEST_DIRNAME/slurm}

slurm_missing() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "needs root to start a Slurm"
    elif [ ! -x "$LOCAL/start.sh" ]; then
        echo "no script here that starts a Slurm (MAINS_SLURM_LOCAL)"
    elif ! command -v sbatch >/dev/null || [ ! -x /usr/sbin/slurmctld ]; then
        echo "Slurm is not installed"
    fi
}

slurm_place() {
    WHY=$(slurm_missing)
    export WHY
    [ -z "$WHY" ] || return 1
    PLACE=$(mktemp -d /tmp/mains-slurm.XXXXXX)
    export PLACE SLURM_CONF="$PLACE/c/slurm.conf"
    chmod 755 "$PLACE"
}
slurm_start() {
    timeout 60 "$LOCAL/start.sh" "$PLACE/c" "$1" 16 4 "$2" >&2 || {
        WHY="this Slurm does not start"
        return 1
    }
}
slurm_lacks() {
    local jobs
    jobs=$(squeue -h -t running -o %j) && ! grep -q -- "-$1\." <<<"$jobs"
}
slurm_stop() {
    "$LOCAL/stop.sh" "$PLACE/c" 3>&- || :
    rm -rf "$PLACE"
}
