#!/bin/bash
#SBATCH --job-name=mtt
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=train-%j.log
# Add --gres=gpu:1 and `device: cuda` for a GPU. `mtt train options.yaml --dry-run` says how much
# memory training takes.

# The command: an mtt that is installed, or an image with it. --nv gives the image the GPU.
MTT=${MTT:-mtt}
# MTT="apptainer run --nv mtt-2.sif"

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
# Libraries that write into the home directory, which jobs often cannot.
export XDG_CACHE_HOME=${TMPDIR:-/tmp}/cache-$SLURM_JOB_ID

# A job that is queued again resumes, once there is something to resume from.
resume=""
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && ls outputs/*/*/model_*.ckpt > /dev/null 2>&1; then
  resume="--continue auto"
fi

srun $MTT train options.yaml --output "model-$SLURM_JOB_ID.pt" $resume
code=$?

# 143: mtt has saved, five minutes before the time limit. After scancel nobody comes here.
if [ $code -eq 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
