import numpy as np
from matplotlib.figure import Figure

import bitlearn as bl

rng = np.random.default_rng(0)
base = rng.integers(0, 2, size=(2000, 256)).astype(bool)
near = base ^ (rng.random((2000, 256)) < 0.15)  # copies in which 15 % of the bits differ
packed, copies = bl.pack(base), bl.pack(near)

figure = Figure(figsize=(5.6, 3.2), layout="constrained")
ax = figure.subplots()
pairs = bl.hamming(copies, packed, 256)
bins = np.arange(0, 190, 2)
ax.hist(np.diag(pairs), bins, color="#0072B2", label="a row and its copy", density=True)
ax.hist(pairs[np.triu_indices(2000, 1)], bins, color="#D55E00", label="rows that have nothing in common", density=True)
ax.set_xlabel("bits that differ, of 256")
ax.set_yticks([])
ax.set_ylim(0, 1.4 * ax.get_ylim()[1])
ax.legend(loc="upper right")
