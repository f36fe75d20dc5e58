import bitlearn as bl

digits = bl.datasets.load("digits")
preparation = bl.datasets.prepare(digits.x_train)
kept, held = bl.datasets.holdout(digits.y_train, 0.2, seed=0)
train = bl.datasets.Examples(digits.x_train[kept], digits.y_train[kept], preparation)
validation = bl.datasets.Examples(digits.x_train[held], digits.y_train[held], preparation)
model = bl.models.mlp((8, 8, 1), 10, hidden=(128,), head="real", precision="int8")
options = bl.training.Options(epochs=15, batch_size=50)
result = bl.training.fit(model, bl.optim.adam(), train, options, validation=validation)

figure = result.plot().figure
