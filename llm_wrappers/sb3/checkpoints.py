"""Checkpoints that hold the state of guidance beside the model."""

from __future__ import annotations

from stable_baselines3.common.callbacks import CheckpointCallback

from llm_wrappers.wrappers import save_guidance

__all__ = ["GuidanceCheckpointCallback"]


class GuidanceCheckpointCallback(CheckpointCallback):
    """SB3's `CheckpointCallback`, which also saves the guidance state of the training environment.

    A model alone does not bring a run back: trust that was learned, counters and the moment of the
    schedules are in the environment. They are written beside each checkpoint of the model as
    ``<name_prefix>_guidance_<steps>_steps.json``, whole or not at all; `llm_wrappers.load_guidance`
    reads them into an environment that is wrapped in the same way. Where there is no guidance no
    such file is written.

    The arguments are those of `stable_baselines3.common.callbacks.CheckpointCallback`.

    Args:
        save_freq: After how many calls, each a step of all sub-environments, it saves.
        save_path: The folder; it is made where needed.
        name_prefix: How the names of the files begin.
        save_replay_buffer: Whether the replay buffer is saved too.
        save_vecnormalize: Whether the statistics of `VecNormalize` are saved too.
        verbose: As in Stable-Baselines3.
    """

    def _on_step(self) -> bool:
        goes_on = super()._on_step()
        if self.n_calls % self.save_freq == 0 and self.training_env.has_attr("guidance_state"):
            path = self._checkpoint_path("guidance_", extension="json")
            save_guidance(self.training_env, path)
            if self.verbose >= 2:
                print(f"Saving guidance state to {path}")
        return goes_on
