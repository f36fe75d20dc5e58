"""Networks and learners in the form in which others run them: C99 for devices, ONNX for other frameworks."""

from bitlearn.export.source import c99 as c99
