"""Optimisers: SGD, also on weights of a few bits, Adam and Bop; what may stand before an update; schedules."""

from __future__ import annotations

from collections.abc import Callable

from bitlearn.optim.adam import Adam as Adam
from bitlearn.optim.adam import adam as adam
from bitlearn.optim.bop import Bop as Bop
from bitlearn.optim.bop import bop as bop
from bitlearn.optim.quantized_sgd import QuantizedSGD as QuantizedSGD
from bitlearn.optim.quantized_sgd import quantized_sgd as quantized_sgd
from bitlearn.optim.rule import Optimizer as Optimizer
from bitlearn.optim.schedules import SCHEDULES as SCHEDULES
from bitlearn.optim.schedules import Schedule as Schedule
from bitlearn.optim.sgd import SGD as SGD
from bitlearn.optim.sgd import sgd as sgd
from bitlearn.optim.transforms import Transform as Transform
from bitlearn.optim.transforms import clip as clip
from bitlearn.optim.transforms import mask as mask
from bitlearn.optim.transforms import of_update as of_update
from bitlearn.optim.transforms import penalise as penalise
from bitlearn.optim.transforms import project as project

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adam": adam, "bop": bop, "quantized-sgd": quantized_sgd}
