"""The main job, ready to run: the same agent with and without guidance."""

from llm_wrappers.demo.arms import ARMS, Arm
from llm_wrappers.demo.experiment import Experiment, run_experiment

__all__ = ["ARMS", "Arm", "Experiment", "run_experiment"]
