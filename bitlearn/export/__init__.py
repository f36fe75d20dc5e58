"""Networks and learners in the form in which others run them: C99 for devices, ONNX for other frameworks."""

from bitlearn.export.graph import onnx as onnx
from bitlearn.export.source import c99 as c99
