"""How training and products grow with workers: a simulation from measured constants, checked against the small case."""
