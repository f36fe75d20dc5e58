"""Layers of binary networks, one file a family, forward beside backward."""

from bitlearn.nn.conv import BinaryConv2d as BinaryConv2d
from bitlearn.nn.conv import InputConv2d as InputConv2d
from bitlearn.nn.flatten import Flatten as Flatten
from bitlearn.nn.layer import Layer as Layer
from bitlearn.nn.layer import Variable as Variable
from bitlearn.nn.linear import BinaryLinear as BinaryLinear
from bitlearn.nn.linear import InputLinear as InputLinear
from bitlearn.nn.linear import Linear as Linear
from bitlearn.nn.losses import softmax_cross_entropy as softmax_cross_entropy
from bitlearn.nn.norm import BatchNorm as BatchNorm
from bitlearn.nn.norm import BatchNormSign as BatchNormSign
from bitlearn.nn.pool import MaxPool2d as MaxPool2d
from bitlearn.nn.sequential import Sequential as Sequential
from bitlearn.nn.sign import Sign as Sign
