from matplotlib.figure import Figure

import bitlearn as bl
from bitlearn.report.figures import accuracy_over_tasks

digits = bl.datasets.load("digits")
scenario = bl.continual.class_incremental(digits.x_train, digits.y_train, digits.x_test, digits.y_test, tasks=5)
options = bl.continual.Options(epochs=3, replay_size=300)
found = {}
for method in ("naive", "latent-replay", "joint"):
    model = bl.models.mlp((8, 8, 1), 10, hidden=(128, 128), head="real", precision="low-memory")
    found[method] = [bl.continual.run(method, scenario, model, bl.optim.adam(), options).accuracy_matrix]

figure = Figure(figsize=(5.6, 3.6), layout="constrained")
accuracy_over_tasks(found, ax=figure.subplots())
