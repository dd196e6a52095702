#SBATCH --begin=16:00 --deadline=2026-11-22T10:00 -t 1-02:03:04
:
