#!/usr/bin/env bats
# Scripts that start their tasks with srun, as they were written for a cluster with Slurm.

load common.bash

setup_file() {
    DIR=$(mktemp -d /var/tmp/mains-e2e.XXXXXX)
    export DIR STATE=$DIR/state
    "$MAINS" up --detach --state "$STATE" --listen 127.0.0.1:0 --cpus 4 >&2
}

teardown_file() {
    "$MAINS" down --cancel --state "$STATE" >&2 || :
    rm -rf "$DIR"
}

setup() { cd "$DIR" || return; }

# script LINE...: a job of two tasks; its output, then `exit CODE`.
script() {
    { printf '%s\n' '#!/bin/bash' '#SBATCH --ntasks=2 --output=/dev/null'; printf '%s\n' "$@"; } >job.sh
    "$MAINS" run --quiet --state "$STATE" job.sh 3>&- || echo "exit $?"
}

@test "each task has its rank, and the step its size" {
    run script 'srun sh -c "echo \$SLURM_PROCID/\$SLURM_NTASKS of \$SLURM_JOB_ID at \$SLURM_LOCALID" | sort'
    [ "${lines[0]%% of*}" = 0/2 ]
    [ "${lines[1]%% of*}" = 1/2 ]
    [ "${#lines[@]}" -eq 2 ]
    run script 'srun -n3 -O sh -c "echo \$SLURM_PROCID \$SLURM_STEP_NUM_TASKS" | sort | tr "\n" ,' 'srun -n1 echo one'
    [ "$output" = "0 3,1 3,2 3,one" ]
}

@test "options of an allocation are left out; of an unknown one it says which" {
    run script 'srun --mpi=none -N1 --exclusive --gres=gpu:0 --cpu-bind=cores -p x -t 5 --mem 1G -u echo two words | uniq -c'
    [[ $output == *"2 two words" ]]
    run script 'srun --no-such-thing true'
    [[ $output == *"srun: no option --no-such-thing"*"exit 1" ]]
    run script 'srun -n 0 true'
    [[ $output == *"--ntasks 0: expected a number from 1 to "*"exit 1" ]]
    run script 'srun -n 900 true'
    [[ $output == *"the job has 2 CPUs"*"exit 1" ]]
    run script 'srun'
    [[ $output == *"expected a command"*"exit 1" ]]
    run script 'srun no-such-program'
    [[ $output == *"no-such-program: no such command"*"exit 127" ]]
}

@test "the worst exit counts, and a signal is one" {
    run script 'srun sh -c "exit \$((SLURM_PROCID * 7))"'
    [[ $output == *"task 1: Exited with exit code 7"*"exit 7" ]]
    run script 'srun sh -c "kill -9 \$\$"'
    [[ $output == *"exit 137" ]]
}

@test "with -K one failure ends the others; without, they go on" {
    run script 'srun -K sh -c "[ \$SLURM_PROCID = 0 ] || exit 5; sleep 600"'
    [[ $output == *"task 1: Exited with exit code 5"* ]]
    run script 'srun sh -c "[ \$SLURM_PROCID = 0 ] || exit 5; sleep 0.5; echo went on"'
    [[ $output == *"went on"*"exit 5" ]]
}

@test "a signal for the step reaches its tasks" {
    run script 'srun sh -c "trap \"echo told; exit 0\" TERM; : >up.\$SLURM_PROCID; while :; do sleep 0.05; done" &' \
        'until [ -e up.0 ] && [ -e up.1 ] || ! kill -0 $!; do sleep 0.05; done; kill -TERM $!; wait $!' 'rm up.*'
    [ "$output" = "$(printf 'told\ntold')" ]
}

@test "labels, files of a task, input for the first" {
    run script 'srun -l sh -c "echo a; echo b" | sort'
    [ "$output" = "$(printf '0: a\n0: b\n1: a\n1: b')" ]
    run script 'srun -l sh -c "head -c 20000 /dev/zero | tr \"\\0\" x" | tr -d "01: \n" | wc -c'
    [ "$output" = 40000 ]
    run script 'srun -o out.%t.%j%% sh -c "echo \$SLURM_PROCID; echo e >&2"' 'cat out.0.* out.1.*' 'rm out.*'
    [ "$output" = "$(printf '0\ne\n1\ne')" ]
    run script 'echo in | srun cat'
    [ "$output" = in ]
    run script 'srun -o out.%q true'
    [[ $output == *"out.%q: expected a path with"* ]]
}

@test "a program of MPI gets its ranks, from srun and from mpirun" {
    command -v lmp >/dev/null && command -v mpirun >/dev/null || skip "no LAMMPS with MPI here"
    printf '%s\n' 'units lj' 'lattice fcc 0.8' 'region box block 0 4 0 4 0 4' 'create_box 1 box' \
        'create_atoms 1 box' 'mass 1 1' 'pair_style lj/cut 2.5' 'pair_coeff 1 1 1 1' 'run 0' >in.melt
    run script 'srun lmp -in in.melt -log none' 'srun --mpi=pmix sh -c "echo rank \$SLURM_PROCID" | sort'
    [[ $output == *"on 2 procs for 0 steps"*"rank 0"*"rank 1" ]]
    run script 'mpirun -n 2 --oversubscribe lmp -in in.melt -log none'
    [[ $output == *"on 2 procs for 0 steps"* ]]
}
