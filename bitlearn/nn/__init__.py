"""Layers of binary networks, one file a family, forward beside backward; and the networks made of them."""

from bitlearn.nn.average import AveragePool2d as AveragePool2d
from bitlearn.nn.conv import BinaryConv2d as BinaryConv2d
from bitlearn.nn.flatten import Flatten as Flatten
from bitlearn.nn.frozen import Frozen as Frozen
from bitlearn.nn.layer import Layer as Layer
from bitlearn.nn.layer import register as register
from bitlearn.nn.linear import BinaryLinear as BinaryLinear
from bitlearn.nn.linear import Linear as Linear
from bitlearn.nn.losses import Loss as Loss
from bitlearn.nn.losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from bitlearn.nn.losses import softmax_cross_entropy as softmax_cross_entropy
from bitlearn.nn.model import Model as Model
from bitlearn.nn.norm import BatchNorm as BatchNorm
from bitlearn.nn.norm import BatchNormSign as BatchNormSign
from bitlearn.nn.pool import MaxPool2d as MaxPool2d
from bitlearn.nn.real_conv import Conv2d as Conv2d
from bitlearn.nn.relu import ReLU as ReLU
from bitlearn.nn.sequential import Residual as Residual
from bitlearn.nn.sequential import Sequential as Sequential
from bitlearn.nn.sign import Sign as Sign
from bitlearn.nn.spec import Spec as Spec
from bitlearn.nn.step import Inference as Inference
from bitlearn.nn.step import ParameterGradient as ParameterGradient
from bitlearn.nn.step import Step as Step
from bitlearn.nn.value import Gradient as Gradient
from bitlearn.nn.value import Value as Value
