#!/usr/bin/env bash
# From questions to a fine-tuned model on a machine without a key or a GPU: `make data` runs it.
# Real documents, the extractive policy as teacher, the deterministic judge, a tiny model.
#
#     examples/end_to_end.sh [RUN_DIR [options of `datagen all`]]
set -euo pipefail
cd "$(dirname "$0")/.."
run=${1:-out/data}

.venv/bin/python -m datagen all "$run" --config examples/datagen.yaml "${@:2}"
.venv/bin/python -m datagen status "$run"
.venv/bin/python -m datagen funnel "$run"
.venv/bin/python -m datagen verify "$run/dataset"

rows=$run/dataset/sft-threads/train.parquet
.venv-rl/bin/python -m rl.tiny.base_model "$rows" "$run/base"
.venv-rl/bin/python -m rl.sft sft_cpu_tiny model.path="$run/base" data.train_files="$rows" \
  trainer.default_local_dir="$run/sft"
