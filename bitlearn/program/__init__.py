"""Recorded programs: straight-line sequences of kernel calls on named arrays, placed in one block of memory."""

from bitlearn.program.arena import Arena as Arena
from bitlearn.program.program import Program as Program
from bitlearn.program.record import Array as Array
from bitlearn.program.record import Buffer as Buffer
from bitlearn.program.record import Call as Call
from bitlearn.program.record import Cut as Cut
from bitlearn.program.record import Kernel as Kernel
from bitlearn.program.record import Recorder as Recorder
from bitlearn.program.record import counted as counted
