#!/usr/bin/env python3
"""Run the commands in docs/sim-examples.md (lines "    $ mains sim ...") and put what they print below them.

    tools/sim_examples.py [--list]     --list only prints the commands, one a line

MAINS names the program (build/release/src/cli/mains)."""
import os
import shlex
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(TOP, "docs", "sim-examples.md")
MARK = "    $ mains sim"


def run(program, command):
    words = [program, "sim", "--quiet"] + shlex.split(command)[2:]
    done = subprocess.run(words, cwd=TOP, stdout=subprocess.PIPE, check=True, text=True)
    return ["    " + line if line.strip() else "" for line in map(str.rstrip, done.stdout.rstrip().split("\n"))]


def main():
    program = os.path.abspath(os.environ.get("MAINS", os.path.join(TOP, "build/release/src/cli/mains")))
    lines = open(PAGE, encoding="utf-8").read().split("\n")
    out, inside = [], False
    for line in lines:
        if line.startswith(MARK):
            command = line[6:]
            if "--list" in sys.argv[1:]:
                print(command)
                continue
            out += [line, ""] + run(program, command)
            inside = True
        elif inside and (not line or line.startswith("    ")):
            continue  # what it printed before
        else:
            if inside:
                out.append("")
            inside = False
            out.append(line)
    if "--list" not in sys.argv[1:]:
        with open(PAGE, "w", encoding="utf-8") as page:
            page.write("\n".join(out))


if __name__ == "__main__":
    main()
