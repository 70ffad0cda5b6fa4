"""One rank of supervised fine-tuning: verl's trainer, with the protocol beside each checkpoint.

Started by `rl.sft` through torch.distributed.run, with the composed configuration as a file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rl.launch.environment import prepare_environment


def train(config: DictConfig) -> None:
    """Train to the end (verl/trainer/sft_trainer.py, run_sft)."""
    from verl.trainer.sft_trainer import SFTTrainer
    from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group

    initialize_global_process_group()
    trainer = SFTTrainer(config=config)
    _leave_protocol(trainer.ckpt_handler, config)
    trainer.fit()
    destroy_global_process_group()


def _leave_protocol(handler: Any, config: DictConfig) -> None:  # noqa: ANN401 - verl's
    """Let the handler write the protocol into each checkpoint that it has finished."""
    from rl.rows.fingerprint import training_protocol, write_fingerprint
    from rl.settings import from_config

    save, protocol = (
        handler.save_checkpoint,
        training_protocol(from_config(config).research_settings),
    )

    def save_with_protocol(step: int) -> None:
        save(step)
        if handler.rank == 0:
            write_fingerprint(Path(handler.default_local_dir) / f"global_step_{step}", protocol)

    handler.save_checkpoint = save_with_protocol


def main() -> None:
    """Read the file named on the command line and train."""
    config = OmegaConf.load(Path(sys.argv[1]))
    assert isinstance(config, DictConfig)  # noqa: S101 - rl.sft wrote it
    prepare_environment(str(config.trainer.device))
    train(config)


if __name__ == "__main__":
    main()
