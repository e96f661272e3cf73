#!/usr/bin/env bash
# One share of an evaluation for each task of a SLURM array; the task that ends last scores them all.
# sbatch --array=0-7 --gres=gpu:1 launchers/evaluate_array.sh benchmark=charades_sta checkpoint=CHECKPOINT output=FOLDER
#
# Submitted again after a failure, with any number of tasks, it answers what is left.
#SBATCH --job-name=museg-evaluate
#SBATCH --output=slurm-evaluate-%A_%a.out
#SBATCH --cpus-per-task=8
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
exec python evaluate.py "$@"
