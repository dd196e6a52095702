#!/usr/bin/env bats
# Long jobs that save outlive where they run: a melt by LAMMPS and a training by PyTorch are killed
# with their site and go on from the last checkpoint, with the results of a run that never stopped.

load common

EXAMPLES=$BATS_TEST_DIRNAME/../../examples/resume

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --site home --sandbox-off
    export TOKEN WHERE="$(dirname "$STATE")"
    "$MAINS" site drain home --state "$STATE" >&2
    for site in lab campus; do
        "$MAINS" join "$("$MAINS" site token $site --state "$STATE" | sed 's/^mains join //')" \
            --state "$WHERE/$site" --detach --sandbox-off --cpus 2 >&2 3>&-
        wait_for 30 connected $site
    done
}
teardown_file() {
    for site in lab campus; do "$MAINS" down --state "$WHERE/$site" >/dev/null 2>&1 || :; done
    network_stop
}

show() { "$MAINS" show "$1" --state "$STATE" --json; }
is() { [ "$(show "$1" | jq -r .state)" = "$2" ]; }
has_checkpoint() { show "$1" | jq -e '.checkpoint.epoch == 1' >/dev/null; }
# The supervisor dies, and all of the job with it: as when the machine does.
kill_attempt() { kill -9 "$(cut -d' ' -f1 <"$WHERE/$1/agent/attempts/$2.$3/run")"; }

# begin JOB.yaml NAME=VALUE...: at `lab`, followed from the beginning, until a checkpoint of it is in the
# network; then its site is taken away under it.
begin() {
    local file=$1
    shift
    "$MAINS" site drain campus --state "$STATE" >/dev/null
    id=$("$MAINS" submit -q --state "$STATE" "${@/#/--env=}" "$file")
    "$MAINS" logs -f --state "$STATE" "$id" >"$BATS_TEST_TMPDIR/followed" 2>&1 3>&- &
    follower=$!
    wait_for 60 has_checkpoint "$id"
    "$MAINS" site resume campus --state "$STATE" >/dev/null
    "$MAINS" site drain lab --state "$STATE" >/dev/null
    kill_attempt lab "$id" 1
}
end() {
    run "$MAINS" wait --state "$STATE" "$id"
    [ "$status" -eq 0 ]
    wait "$follower"
    "$MAINS" site resume lab --state "$STATE" >/dev/null
    show "$id" | jq -c '[.attempts[] | [.site, .outcome]]'
    [ "$(show "$id" | jq -c '[.attempts[] | [.site, .outcome]]')" = '[["lab","lost"],["campus","exited"]]' ]
    # One log, from the beginning to the end, with the seam in it.
    cat "$BATS_TEST_TMPDIR/followed"
    [ "$(grep -c '^-- attempt ' "$BATS_TEST_TMPDIR/followed")" -eq 1 ]
    grep -qE '^-- attempt 2 at campus, from its checkpoint of 20[0-9T:.-]+Z --$' "$BATS_TEST_TMPDIR/followed"
    grep -q '^resumed at step [1-9]' "$BATS_TEST_TMPDIR/followed"
}

@test "the melt goes on from its last restart file, and its energies are those of an unbroken run" {
    command -v lmp >/dev/null || skip "LAMMPS is not installed"
    small=(STEPS=1000 CELLS=5)
    begin "$EXAMPLES/melt.yaml" "${small[@]}" PAUSE=3
    end
    [ "$(grep -c '^final: step 1000' "$BATS_TEST_TMPDIR/followed")" -eq 1 ]
    whole=$("$MAINS" submit -q --state "$STATE" "${small[@]/#/--env=}" "$EXAMPLES/melt.yaml")
    "$MAINS" wait --state "$STATE" "$whole"
    "$MAINS" outputs --print --state "$STATE" "$id" energy.csv | tee "$BATS_TEST_TMPDIR/broken"
    "$MAINS" outputs --print --state "$STATE" "$whole" energy.csv | tee "$BATS_TEST_TMPDIR/whole"
    # Total energy is what the solver conserves; its own drift over such a run is some 1e-4.
    paste -d, "$BATS_TEST_TMPDIR/broken" "$BATS_TEST_TMPDIR/whole" | awk -F, 'NR == 2 {
        rows++; d = $3 - $6; if (d < 0) d = -d; if ($1 != 1000 || $4 != 1000 || d > 1e-4) bad = 1 }
        END { exit bad || rows != 1 }'
}

@test "a training goes on from its last checkpoint, and its losses are those of an unbroken run, bit for bit" {
    python3 -c 'import torch' 2>/dev/null || /usr/bin/python3 -c 'import torch' 2>/dev/null || skip "python3-torch is not installed"
    begin "$EXAMPLES/train.yaml" STEPS=60 PAUSE=0.3
    end
    whole=$("$MAINS" submit -q --state "$STATE" --env=STEPS=60 "$EXAMPLES/train.yaml")
    "$MAINS" wait --state "$STATE" "$whole"
    "$MAINS" outputs --print --state "$STATE" "$id" losses.txt >"$BATS_TEST_TMPDIR/broken"
    "$MAINS" outputs --print --state "$STATE" "$whole" losses.txt >"$BATS_TEST_TMPDIR/whole"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/whole")" -eq 60 ]
    cmp "$BATS_TEST_TMPDIR/broken" "$BATS_TEST_TMPDIR/whole"
}
