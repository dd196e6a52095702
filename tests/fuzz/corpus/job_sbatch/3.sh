#!/bin/sh
#SBATCH --fooo 3 --partition=x -N 2-4 "quoted\" --x"
:
