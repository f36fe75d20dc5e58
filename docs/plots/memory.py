from matplotlib.figure import Figure

import bitlearn as bl

policies = ("standard", "int8", "low-memory")
totals = {}
for precision in policies:
    model = bl.models.cnv(precision=precision)
    rows = bl.memory.predict(model, bl.optim.adam(), 50)
    totals[precision] = sum(row.bytes for row in rows) / 2**20

figure = Figure(figsize=(5.6, 2.2), layout="constrained")
ax = figure.subplots()
bars = ax.barh(policies, [totals[each] for each in policies], color="#0072B2")
ax.bar_label(bars, [f"{totals[each]:.1f} MiB" for each in policies], padding=4)
ax.set_xlabel("MiB of a training step of cnv, 50 images, Adam")
ax.set_xlim(0, 1.2 * max(totals.values()))
ax.invert_yaxis()
