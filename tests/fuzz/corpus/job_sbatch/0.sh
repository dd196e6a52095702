#!/bin/bash -l
#SBATCH --job-name=melt -o out-%j.txt
#SBATCH --array=1-10:3%2 --gres=gpu:A100:1
#SBATCH --export=ALL,X=1,Y --chdir /tmp
#SBATCH -d afterok:12:13,afternotok:14_3 --signal=B:USR1@120
#SBATCH --comment='hello world' --no-requeue --begin=now+1hour
srun hostname
