"""Recorded programs: straight-line calls of kernels on named arrays, placed in one block of memory and run at once."""

from bitlearn.program.arena import Arena as Arena
from bitlearn.program.program import Program as Program
from bitlearn.program.record import Array as Array
from bitlearn.program.record import Buffer as Buffer
from bitlearn.program.record import Call as Call
from bitlearn.program.record import Cut as Cut
from bitlearn.program.record import Kernel as Kernel
from bitlearn.program.record import Recorder as Recorder
from bitlearn.program.record import counted as counted
