"""The NumPy-level functions, one file a kernel family: each validates once, allocates, and dispatches to a kernel."""
