#!/usr/bin/env bats
# What jobs save goes through the network: a checkpoint that was made at one site is gone on from at
# another.

load common

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --site home --sandbox-off
    export TOKEN WHERE="$(dirname "$STATE")"
    for site in east west; do
        "$MAINS" join "$("$MAINS" site token $site --state "$STATE" | sed 's/^mains join //')" \
            --state "$WHERE/$site" --detach --sandbox-off >&2
        wait_for 20 connected $site
    done
}
teardown_file() {
    for site in east west; do
        "$MAINS" down --state "$WHERE/$site" >/dev/null 2>&1 || :
    done
    network_stop
}

connected() {
    "$MAINS" site show "$1" --state "$STATE" --json 2>/dev/null | jq -e .connected >/dev/null
}
job_is() { [ "$("$MAINS" show "$1" --state "$STATE" --json | jq -r .state)" = "$2" ]; }
# A network's word on what it holds of a job.
checkpoint_of() { "$MAINS" show "$1" --state "$STATE" --json | jq -r '.checkpoint.manifest // ""'; }
has_checkpoint() { [ -n "$(checkpoint_of "$1")" ]; }
has_other_checkpoint() { has_checkpoint "$1" && [ "$(checkpoint_of "$1")" != "$2" ]; }
# The supervisor of a job's attempt at a site; what it runs dies with it.
supervisor_of() { cut -d' ' -f1 <"$WHERE/$1/agent/attempts/$2.$3/run"; }
drain() { "$MAINS" site drain "$1" --state "$STATE"; }
resume() { "$MAINS" site resume "$1" --state "$STATE"; }

# Counts on from its checkpoint, a step each time a file `step` comes into the folder $1.
steps_job() {
    cat <<EOF
name: steps
checkpoint: {path: ckpt}
run: |
  n=0
  if [ "\$MAINS_RESTORED" = 1 ]; then n=\$(cat ckpt/n); fi
  echo "attempt \$MAINS_ATTEMPT at \$MAINS_SITE begins at \$n"
  mkdir -p ckpt
  while [ ! -e "$1/end" ]; do
    if [ -e "$1/step" ]; then
      rm "$1/step"; n=\$((n + 1))
      head -c 300000 /dev/zero | tr '\\0' "\$n" >ckpt/data.new && mv ckpt/data.new ckpt/data
      echo \$n >ckpt/n.new && mv ckpt/n.new ckpt/n
    fi
    sleep 0.05
  done
  echo "ends at \$n"
EOF
}

@test "a job goes on at another site from the checkpoint that the network holds" {
    steps_job "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/job.yaml"
    drain west
    drain home
    job=$("$MAINS" submit --state "$STATE" --json "$BATS_TEST_TMPDIR/job.yaml" | jq -r .id)
    wait_for 30 job_is "$job" running
    touch "$BATS_TEST_TMPDIR/step"
    wait_for 30 has_checkpoint "$job"
    first=$(checkpoint_of "$job")
    touch "$BATS_TEST_TMPDIR/step"
    wait_for 30 has_other_checkpoint "$job" "$first"
    drain east
    resume west
    kill -9 "$(supervisor_of east "$job" 1)"
    at_west() { [ -e "$WHERE/west/agent/attempts/$job.2/run" ]; }
    wait_for 60 at_west
    touch "$BATS_TEST_TMPDIR/end"
    run "$MAINS" wait "$job" --state "$STATE"
    [ "$status" -eq 0 ]
    run "$MAINS" logs "$job" --state "$STATE"
    [[ $output == *"attempt 1 at east begins at 0"* ]]
    [[ $output == *"attempt 2 at west begins at 2"* ]]
    [[ $output == *"ends at 2"* ]]
    resume east
    resume home
}
