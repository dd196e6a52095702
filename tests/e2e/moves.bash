# moves.bash - a job that is moved from a cluster to `lab`: what it says, where it is, that it is never twice.
# Needs common.bash, $STATE, $PLACE with a folder `beats` that jobs may write, and the site's name in $FROM.

job() { "$MAINS" show "$JOB" --state "$STATE" --json | jq -r "$1"; }
is() { [ "$(job "$1")" = "$2" ]; } # is FILTER VALUE
heard() { [ "$("$MAINS" site show "$FROM" --state "$STATE" --json | jq -r .connected)" = true ]; }
nothing_live() { [ "$("$MAINS" ps --state "$STATE" --json | jq length)" -eq 0 ]; }
beats() { grep -qs "^$1 " "$PLACE/beats/$JOB"; } # beats SITE
counts() { [ "$(grep -c "^$FROM " "$PLACE/beats/$JOB")" -gt 3 ]; }
# The last word of $FROM came before the first of lab, from whatever rank.
never_twice() {
    awk -v from="$FROM" '$1 == from && $2 > last {last = $2} $1 == "lab" && (!first || $2 < first) {first = $2}
         END {exit !(first && last < first)}' "$PLACE/beats/$JOB"
}

# begin [options of mains submit]: $JOB, at $FROM, that says ten times a second where it is and counts in a
# checkpoint when it is asked for one. It may go to lab from then on. DEAF: its trap of SIGTERM; GRACE: what a
# checkpoint may take, and an end; SAVING: seconds that one takes.
begin() {
    cat >"$PLACE/job.yaml" <<YAML
run: |
  ${DEAF:-}
  mkdir -p ck # not in the trap: on a busy machine an empty folder could be taken for a checkpoint
  trap 'sleep ${SAVING:-0}; echo \$n >ck/n.\$MAINS_RANK' USR1
  n=\$(cat ck/n.\$MAINS_RANK 2>/dev/null || echo 0)
  while :; do
      read -r up rest </proc/uptime
      echo "\$MAINS_SITE \$up \$n \$MAINS_RANK" >>$PLACE/beats/\$MAINS_JOB_ID
      n=\$((n + 1))
      sleep 0.1 & wait \$!
  done
checkpoint: {path: ck, signal: USR1}
grace: ${GRACE:-2s}
YAML
    JOB=$("$MAINS" submit --state "$STATE" --json "$@" "$PLACE/job.yaml" | jq -r .id)
    wait_for 30 beats "$FROM" || { "$MAINS" why "$JOB" --state "$STATE"; return 1; }
    "$MAINS" site resume lab --state "$STATE" >/dev/null
}
