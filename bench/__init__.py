"""The benchmarks: our kernels and the installed rivals, verified and then timed in one run.

They import bitlearn's public functions, as a user does, and take the list of kernels from the registry. Installed as
``bitlearn.bench``; ``python -m bitlearn bench`` and ``python -m bitlearn claims`` run them.
"""
