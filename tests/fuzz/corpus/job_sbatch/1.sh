#!/bin/sh
#SBATCH -n 3 -c 2 --gpus=2 --mem-per-cpu=100
:
