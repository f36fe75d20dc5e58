"""A robustness campaign: random calls, damaged files, kills, faults and growth, for as long as there is time.

``python -m campaign --help`` with this folder's parent on PYTHONPATH, or ``make campaign``.
"""
