#!/usr/bin/env bats
# A long melt runs at `lab`; lab is cut off, and later dies. The job goes on at `campus`, a Slurm, from the last
# restart file that reached the network, once lab's lease has surely ended, and comes to the energies of
# a run that nobody disturbed. Its log is one, with the seam marked.

load common
load lab.bash

EXAMPLES=$BATS_TEST_DIRNAME/../../examples/resume

setup_file() {
    command -v lmp >/dev/null || skip "LAMMPS is not installed"
    lab_need
    lab_start --lease 8s
    lab_site lab --cpus 2
    # `campus` is a real Slurm where there is one.
    lab_has_slurm && lab_campus campus || lab_site campus --cpus 2
}
teardown_file() { lab_stop; }

has_checkpoint() { lab_mains show --json "$1" | jq -e '.checkpoint.epoch == 1' >/dev/null; }
goes_on() { lab_mains show --json "$1" | jq -e '.epoch == 2 and .state == "running"' >/dev/null; }
melts() { pgrep -f "lmp -in in.melt .*-var steps $1 " | wc -l; }

@test "cut off and killed: it goes on elsewhere from the last checkpoint, and never runs twice" {
    lab_mains site drain campus
    options=(--env=STEPS=1411 --env=CELLS=5)
    id=$(lab_mains submit -q --on-unreachable move "${options[@]}" --env=PAUSE=3 "$EXAMPLES/melt.yaml")
    lab_mains logs -f "$id" >"$BATS_TEST_TMPDIR/followed" 2>&1 3>&- &
    follower=$!
    wait_for 60 has_checkpoint "$id"
    lab_mains site resume campus
    # Looked at all the while: two of it at one time are one too many.
    (
        while [ ! -e "$LAB_DIR/over" ]; do
            [ "$(melts 1411)" -le 1 ] || echo twice >>"$LAB_DIR/twice"
            sleep 0.2
        done
    ) 3>&- &
    watcher=$!
    lab_cut lab
    begin=$(date +%s%3N)
    wait_for 120 goes_on "$id"
    echo "# running elsewhere $((($(date +%s%3N) - begin) / 100))e-1 s after the cut, with a lease of 8 s" >&3
    # What is left of lab dies; nothing of it is waited for.
    kill -9 "$(lab_up_pid "$(lab_state lab)")" "$(lab_agent_pid lab)"
    run lab_mains wait "$id"
    [ "$status" -eq 0 ]
    touch "$LAB_DIR/over"
    wait "$follower" "$watcher"
    [ ! -e "$LAB_DIR/twice" ]
    lab_mains show --json "$id" | jq -c '[.attempts[] | [.site, .outcome]]'
    [ "$(lab_mains show --json "$id" | jq -c '[.attempts[].site]')" = '["lab","campus"]' ]
    grep -- '^--' "$BATS_TEST_TMPDIR/followed"
    [ "$(grep -cE '^-- attempt 2 at campus' "$BATS_TEST_TMPDIR/followed")" -eq 1 ]
    grep -q '^resumed at step [1-9]' "$BATS_TEST_TMPDIR/followed"
    whole=$(lab_mains submit -q "${options[@]}" "$EXAMPLES/melt.yaml")
    lab_mains wait "$whole"
    lab_mains outputs --print "$id" energy.csv >"$BATS_TEST_TMPDIR/broken"
    lab_mains outputs --print "$whole" energy.csv >"$BATS_TEST_TMPDIR/whole"
    cat "$BATS_TEST_TMPDIR/broken" "$BATS_TEST_TMPDIR/whole"
    # Total energy is what the solver conserves; its own drift over such a run is some 1e-4.
    paste -d, "$BATS_TEST_TMPDIR/broken" "$BATS_TEST_TMPDIR/whole" | awk -F, 'NR == 2 {
        rows++; d = $3 - $6; if (d < 0) d = -d; if ($1 != $4 || d > 1e-4) bad = 1 }
        END { exit bad || rows != 1 }'
}
