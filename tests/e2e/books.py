#!/usr/bin/env python3
"""books.py STAMPS HISTORY.DB - do the books agree with what the jobs themselves stamped?

STAMPS holds a file for each rank of each attempt, JOB.EPOCH.RANK, with the lines `begin UPTIME SITE`
and `end UPTIME EXITCODE`, and between them perhaps `tick UPTIME`. Prints each disagreement; the last line counts; exit 1 if there was one.
"""
import os
import sqlite3
import sys

SLACK_S = 0.6  # /proc/uptime counts hundredths; two processes read two clocks

stamps, wrong = {}, []
for name in sorted(os.listdir(sys.argv[1])):
    parts = name.rsplit(".", 2)
    if len(parts) != 3:
        continue
    job, epoch, rank = parts[0], int(parts[1]), int(parts[2])
    with open(os.path.join(sys.argv[1], name)) as file:
        lines = [line.split() for line in file if line.strip()]
    begins = [line for line in lines if line[0] == "begin"]
    ends = [line for line in lines if line[0] == "end"]
    ticks = [float(line[1]) for line in lines if line[0] == "tick" and len(line) == 2]
    if len(begins) != 1 or len(ends) > 1:
        wrong.append("%s: began %d times, ended %d times" % (name, len(begins), len(ends)))
        continue
    end = ends[0] if ends else None
    stamps.setdefault((job, epoch), {})[rank] = (
        float(begins[0][1]), float(end[1]) if end else None, begins[0][2], int(end[2]) if end else None,
        float(end[1]) if end else ticks[-1] if ticks else None)

db = sqlite3.connect("file:%s?mode=ro" % sys.argv[2], uri=True)
db.row_factory = sqlite3.Row
jobs = {row["id"]: row for row in db.execute("SELECT * FROM jobs")}
known = {}
for row in jobs.values():
    known[row["id"]] = str(row["id"])
attempts = {}
for row in db.execute("SELECT * FROM attempts"):
    if row["job_id"] not in known:
        wrong.append("attempt %d of job %d: no such job" % (row["epoch"], row["job_id"]))
        continue
    attempts[(known[row["job_id"]], row["epoch"])] = row

for key, ranks in stamps.items():
    row = attempts.get(key)
    text = "job %s attempt %d" % key
    if row is None:
        wrong.append("%s: ran, and is in no book" % text)
        continue
    for rank, (begin, end, site, code, _) in ranks.items():
        if site != row["site"]:
            wrong.append("%s: ran at %s, booked at %s" % (text, site, row["site"]))
        if end is None:
            if row["outcome"] == 0:
                wrong.append("%s: rank %d never ended, booked as exited" % (text, rank))
        elif row["wall_ms"] / 1000.0 + SLACK_S < end - begin:
            wrong.append("%s: ran %.2f s, booked %.2f s" % (text, end - begin, row["wall_ms"] / 1000.0))
        if end is not None and row["outcome"] == 0 and len(ranks) == 1 and code != row["exit_code"]:
            wrong.append("%s: exit code %s, booked %s" % (text, code, row["exit_code"]))

for (job, epoch), row in attempts.items():
    if row["outcome"] == 0 and (job, epoch) not in stamps:
        wrong.append("job %s attempt %d: booked as run, stamped nothing" % (job, epoch))

# No two attempts of a job at one time, whoever says so.
spans = {}
for (job, epoch), ranks in stamps.items():
    begin = min(r[0] for r in ranks.values())
    ends = [r[4] for r in ranks.values()]
    spans.setdefault(job, []).append((epoch, begin, None if None in ends else max(ends)))
for job, list_ in spans.items():
    list_.sort()
    for (epoch, _, end), (later, begin, _) in zip(list_, list_[1:]):
        if end is not None and begin < end:
            wrong.append("job %s: attempt %d began %.2f s before attempt %d had ended" % (job, later, end - begin, epoch))

# Jobs are the sums of their attempts.
for id_, row in jobs.items():
    for column in ("wall_ms", "cpu_ms", "cpu_held_ms", "device_milli_ms", "energy_mj", "price_micro"):
        total = db.execute("SELECT coalesce(sum(%s), 0) FROM attempts WHERE job_id = ?" % column, (id_,)).fetchone()[0]
        if total != row[column]:
            wrong.append("job %s: %s %d, its attempts %d" % (known[id_], column, row[column], total))

for line in wrong[:40]:
    print(line)
print("%d jobs, %d attempts booked, %d stamped, %d disagreements" % (len(jobs), len(attempts), len(stamps), len(wrong)))
sys.exit(1 if wrong else 0)
