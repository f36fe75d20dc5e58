"""The benchmarks: our kernels beside the rivals that are installed, verified and then timed in one run.

They import the public functions of bitlearn, as a user does, and ask the registry what there is. Installed as
``bitlearn.bench``; ``python -m bitlearn bench`` and ``python -m bitlearn claims`` run them.
"""
