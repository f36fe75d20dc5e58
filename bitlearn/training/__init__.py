"""Training: one recorded step, one loop over epochs, and checkpoints."""

from bitlearn.training.budget import Plan as Plan
from bitlearn.training.budget import plan as plan
from bitlearn.training.callbacks import BestCheckpoint as BestCheckpoint
from bitlearn.training.callbacks import CsvLog as CsvLog
from bitlearn.training.callbacks import EarlyStopping as EarlyStopping
from bitlearn.training.callbacks import ProgressBar as ProgressBar
from bitlearn.training.callbacks import TensorBoard as TensorBoard
from bitlearn.training.checkpoints import Checkpoint as Checkpoint
from bitlearn.training.epochs import accuracy as accuracy
from bitlearn.training.epochs import steps_in_epoch as steps_in_epoch
from bitlearn.training.flips import FlipRatio as FlipRatio
from bitlearn.training.flips import flip_ratio as flip_ratio
from bitlearn.training.flips import signs as signs
from bitlearn.training.gradients import Gradients as Gradients
from bitlearn.training.hooks import Hook as Hook
from bitlearn.training.loop import fit as fit
from bitlearn.training.options import Options as Options
from bitlearn.training.parallel import DataParallel as DataParallel
from bitlearn.training.result import Result as Result
from bitlearn.training.step import Trainer as Trainer
from bitlearn.training.workers import LocalWorkers as LocalWorkers
from bitlearn.training.workers import Traffic as Traffic
from bitlearn.training.workers import WorkerLostError as WorkerLostError
from bitlearn.training.workers import Workers as Workers
