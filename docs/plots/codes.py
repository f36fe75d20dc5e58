import numpy as np
from matplotlib.figure import Figure

import bitlearn as bl

rng = np.random.default_rng(0)
prices = np.exp(1.5 * rng.normal(size=(5000, 1)))  # a long tail

figure = Figure(figsize=(5.6, 3.2), layout="constrained")
left, right = figure.subplots(1, 2, sharey=True)
for ax, codes in ((left, "range"), (right, "quantile")):
    found = bl.datasets.prepare(prices, codes=codes).codes(prices)
    ax.hist(found.ravel(), np.arange(-128, 129, 4), color="#0072B2")
    ax.set_title(f"{codes}: {len(np.unique(found))} codes")
    ax.set_xlabel("code")
left.set_ylabel("values with that code")
left.set_yscale("log")
