"""Continual learning: scenarios, metrics, replay memory, methods, and the loop that joins them."""

from bitlearn.continual.analytic import AnalyticLearner as AnalyticLearner
from bitlearn.continual.codecs import LatentCodec as LatentCodec
from bitlearn.continual.cwr import CwrHead as CwrHead
from bitlearn.continual.drift import drift as drift
from bitlearn.continual.drift import permuted_labels as permuted_labels
from bitlearn.continual.interval import mean_and_interval as mean_and_interval
from bitlearn.continual.latents import Cut as Cut
from bitlearn.continual.latents import cuts as cuts
from bitlearn.continual.latents import latent_codec as latent_codec
from bitlearn.continual.learner import Result as Result
from bitlearn.continual.learner import run as run
from bitlearn.continual.methods import METHODS as METHODS
from bitlearn.continual.metrics import METRICS as METRICS
from bitlearn.continual.options import Options as Options
from bitlearn.continual.prequential import Prequential as Prequential
from bitlearn.continual.prequential import prequential as prequential
from bitlearn.continual.replay import ReplayBuffer as ReplayBuffer
from bitlearn.continual.scenario import Scenario as Scenario
from bitlearn.continual.scenario import Stream as Stream
from bitlearn.continual.scenario import Task as Task
from bitlearn.continual.scenarios import SCENARIOS as SCENARIOS
from bitlearn.continual.scenarios import build as build_scenario  # noqa: F401
from bitlearn.continual.scenarios.classes import class_incremental as class_incremental
from bitlearn.continual.scenarios.classes import domain_incremental as domain_incremental
from bitlearn.continual.scenarios.classes import stream as stream
from bitlearn.continual.scenarios.classes import task_incremental as task_incremental
from bitlearn.continual.scenarios.inputs import permuted as permuted
from bitlearn.continual.scenarios.inputs import rotated as rotated
from bitlearn.continual.scenarios.instances import blurry as blurry
from bitlearn.continual.scenarios.instances import by_domain as by_domain
from bitlearn.continual.scenarios.instances import custom as custom
from bitlearn.continual.scenarios.instances import new_instances as new_instances
from bitlearn.continual.transfer import FORWARD_METRICS as FORWARD_METRICS
from bitlearn.continual.yardsticks import LDA as LDA
from bitlearn.continual.yardsticks import ClassPrototypes as ClassPrototypes
from bitlearn.continual.yardsticks import NearestClassMean as NearestClassMean
