#!/usr/beni/nv pythoRn3	r
int(1)
#SBATCH -n 3
