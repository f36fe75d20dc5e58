from matplotlib.figure import Figure

import bitlearn as bl
from bitlearn.report.figures import accuracy_matrix

digits = bl.datasets.load("digits")
scenario = bl.continual.class_incremental(digits.x_train, digits.y_train, digits.x_test, digits.y_test, tasks=5)
figure = Figure(figsize=(6.4, 3.2), layout="constrained")
for ax, method in zip(figure.subplots(1, 2), ("naive", "analytic"), strict=True):
    model = bl.models.mlp((8, 8, 1), 10, hidden=(64,), head="real", precision="low-memory")
    result = bl.continual.run(method, scenario, model, bl.optim.adam(), bl.continual.Options(epochs=3))
    accuracy_matrix(result.accuracy_matrix, title=method, ax=ax)
