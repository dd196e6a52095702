#!/usr/bin/env bats
# As kubernetes.bats, with a volume that pods and agent share: inputs, outputs, scripts, checkpoints.

load common.bash
load kubernetes.bash

setup_file() { kube_start && kube_network '{"volume": {"claim": "shared", "path": "@PLACE"}}'; }
teardown_file() {
    network_stop
    kube_stop
}
setup() { cd "$(dirname "$STATE")"; }

@test "inputs come in, outputs come out" {
    printf 'inputs: [ { content: "seven\\n", to: data/in.txt } ]\noutputs: [ out/*.txt ]\nrun: mkdir out; tr a-z A-Z <data/in.txt >out/up.txt; pwd\n' >"$KUBE_DIR/io.yaml"
    id=$(submit "$KUBE_DIR/io.yaml")
    mains wait "$id"
    [[ $(mains logs "$id") == "$(dirname "$STATE")/"*/work ]]
    [ "$(cat "$STATE/agent/attempts/$id.1/outputs/out/up.txt")" = SEVEN ]
}

@test "an output that is not there fails the job" {
    printf 'outputs: [ never.txt ]\nrun: echo ran\n' >"$KUBE_DIR/none.yaml"
    id=$(submit "$KUBE_DIR/none.yaml")
    run mains wait "$id"
    [ "$status" -ne 0 ]
    [[ $(mains show "$id") == *never.txt* ]]
}

@test "a script works where it was submitted" {
    mkdir -p scripts && cd scripts
    printf '#!/usr/bin/env python3\n#SBATCH --ntasks=1\nimport os\nprint("python", os.environ["SLURM_JOB_ID"], os.getcwd())\n' >p.py
    id=$(mains submit --quiet p.py)
    mains wait "$id"
    [[ $(mains logs "$id") == "python $id $(pwd)" ]]
}

@test "the agent is killed meanwhile: outputs come all the same" {
    printf 'outputs: [ late.txt ]\nrun: sleep 3; echo late >late.txt\n' >"$KUBE_DIR/late.yaml"
    id=$(submit "$KUBE_DIR/late.yaml")
    wait_for 20 is_state "$id" running
    kill -9 "$(agent_pid)"
    mains wait "$id"
    [ "$(cat "$STATE/agent/attempts/$id.1/outputs/late.txt")" = late ]
    [ "$(starts_of "$id")" -eq 1 ]
}
