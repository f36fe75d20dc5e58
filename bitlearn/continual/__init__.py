"""Continual learning: scenarios, metrics, replay memory, methods, and the loop that joins them."""

from bitlearn.continual.cwr import CwrHead as CwrHead
from bitlearn.continual.learner import Result as Result
from bitlearn.continual.learner import run as run
from bitlearn.continual.methods import METHODS as METHODS
from bitlearn.continual.metrics import METRICS as METRICS
from bitlearn.continual.options import Options as Options
from bitlearn.continual.replay import ReplayBuffer as ReplayBuffer
from bitlearn.continual.scenario import SCENARIOS as SCENARIOS
from bitlearn.continual.scenario import Scenario as Scenario
from bitlearn.continual.scenario import Task as Task
from bitlearn.continual.scenario import build as build_scenario  # noqa: F401
from bitlearn.continual.scenario import class_incremental as class_incremental
