"""Tasks of a new user, each in at most the lines given: the statements of the string, imports apart, on made data."""

from __future__ import annotations

import ast

import numpy as np
import pytest

import bitlearn as bl

pytest.importorskip("sklearn", "1.6", reason="scikit-learn is not installed: bitlearn-xnor[sklearn]")

IMPORTS = """
import numpy as np
import numba
import bitlearn as bl
from bitlearn import nn
from bitlearn.sklearn import BitClassifier, ContinualBitClassifier
"""

#: By task: how many lines it may have, and what they are.
TASKS = {
    "Hamming nearest neighbours": (
        2,
        """
bits = bl.Bits(bl.pack(codes), codes.shape[1])
found, distances = bl.nearest(bits, bits, 5)
""",
    ),
    "a kernel in compiled code": (
        3,
        """
@numba.njit
def count(a, b): return bl.hamming(a, b, 777)
found = count(bl.pack(codes), bl.pack(codes))
""",
    ),
    "labels of text from a data frame": (
        3,
        """
x, y = frame.drop(columns="species"), frame["species"]
classifier = BitClassifier().fit(x, y)
found = classifier.predict(x)
""",
    ),
    "a stream in which a class comes late": (
        4,
        """
learner = ContinualBitClassifier()
for x, y in stream:
    learner.partial_fit(x, y)
found = learner.predict(inputs)
""",
    ),
    "a CSV file": (
        4,
        """
data = bl.datasets.load("csv", path / "flowers.csv", label="species")
classifier = BitClassifier().fit(data.x_train, data.y_train)
found = classifier.score(data.x_test, data.y_test)
names = data.labels
""",
    ),
    "images of 64 by 64 pixels": (
        4,
        """
network = lambda spec, classes: nn.Model([nn.BinaryConv2d(8), nn.MaxPool2d(8), nn.BatchNormSign(), nn.Flatten(),
                                          nn.Linear(classes)], spec, precision="int8")
classifier = BitClassifier(network, epochs=3).fit(images, kinds)
found = classifier.predict(images)
""",
    ),
    "a folder of images": (
        4,
        """
data = bl.datasets.load("folder", path / "photos", image_size=64)
network = lambda spec, classes: bl.models.cnv(spec.shape, classes, filters=(8, 8), dense=(16,), head="real")
classifier = BitClassifier(network, epochs=3, batch_size=20).fit(data.x_train, data.y_train)
found = classifier.score(data.x_test, data.y_test)
""",
    ),
    "save and load": (
        2,
        """
bl.save(trained, path / "flowers.safetensors")
found = bl.load(path / "flowers.safetensors").predict(inputs)
""",
    ),
    "go on for more epochs": (
        2,
        """
options = bl.training.Options(epochs=5)
found = bl.training.fit(model, bl.optim.adam(), train, options, checkpoint=checkpoint, resume=True)
""",
    ),
    "a schedule of one's own": (
        2,
        """
warm = lambda done: min(1, 10 * done + 0.1) * (1 - done)
classifier = BitClassifier(schedule=warm).fit(inputs, labels)
""",
    ),
    "curves": (1, "found = trained.plot()"),
    "a summary": (1, "found = trained.summary()"),
    "a layer of one's own": (
        10,
        """
@nn.register
class Kept(nn.Layer):
    kind = "kept"
    def infer(self, spec): return spec
    def settings(self): return {}
    def forward(self, step, x): return x, None
    def backward(self, step, cache, grad, *, wanted): return grad if wanted else None
    def predict(self, step, arrays, x): return x
made = lambda spec, classes: nn.Model([nn.BinaryLinear(32), Kept(), nn.BatchNormSign(), nn.Linear(classes)], spec)
bl.save(BitClassifier(made).fit(inputs, labels), path / "own"); found = bl.load(path / "own").predict(inputs)
""",
    ),
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """What the tasks begin with: flowers as arrays, as a frame, as a file, as a stream; images; a trained estimator."""
    from sklearn.datasets import load_iris

    from bitlearn.nn import description, layer
    from bitlearn.sklearn import BitClassifier

    known = dict(layer.REGISTERED)
    monkeypatch.setattr(layer, "REGISTERED", known)
    monkeypatch.setattr(description, "REGISTERED", known)
    inputs, y = load_iris(return_X_y=True)
    labels = np.array(["setosa", "versicolor", "virginica"])[y]
    lines = [",".join(map(str, [*row, label])) for row, label in zip(inputs, labels, strict=True)]
    (tmp_path / "flowers.csv").write_text("\n".join(["a,b,c,d,species", *lines]))
    order = np.argsort(y, kind="stable")
    rng = np.random.default_rng(0)
    kinds = rng.choice(["dark", "light"], size=60)
    images = rng.integers(0, 128, size=(60, 64, 64, 3), dtype=np.uint8) + np.where(kinds == "light", 127, 0).astype(
        np.uint8
    ).reshape(-1, 1, 1, 1)
    train = bl.datasets.Examples(inputs, y, bl.datasets.prepare(inputs))
    model = bl.models.mlp((4,), 3, hidden=(16,), head="real", precision="int8")
    checkpoint = str(tmp_path / "checkpoint")
    bl.training.fit(model, bl.optim.adam(), train, bl.training.Options(epochs=2), checkpoint=checkpoint)
    return {
        "path": tmp_path,
        "codes": rng.integers(0, 2, size=(1000, 777)).astype(bool),
        "inputs": inputs,
        "labels": labels,
        "stream": [(inputs[rows], labels[rows]) for rows in np.array_split(order, 10)],
        "images": images,
        "kinds": kinds,
        "trained": BitClassifier(epochs=5).fit(inputs, labels),
        "train": train,
        "model": model,
        "checkpoint": checkpoint,
    }


def lines_of(task: str) -> int:
    return len([line for line in task.splitlines() if line.strip()])


@pytest.mark.parametrize("name", TASKS)
def test_a_task_of_a_new_user(name, world):
    most, task = TASKS[name]
    assert lines_of(task) <= most and ast.parse(task)
    if name == "labels of text from a data frame":
        pd = pytest.importorskip("pandas", reason="pandas is not installed: bitlearn-xnor[data]")
        world["frame"] = pd.DataFrame(world["inputs"], columns=list("abcd")).assign(species=world["labels"])
    if name == "a folder of images":
        image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: bitlearn-xnor[data]")
        for at, (pixels, kind) in enumerate(zip(world["images"], world["kinds"], strict=True)):
            (world["path"] / "photos" / kind).mkdir(parents=True, exist_ok=True)
            image.fromarray(pixels).save(world["path"] / "photos" / kind / f"{at}.png")
    if name == "curves":
        pytest.importorskip("matplotlib", reason="matplotlib is not installed: bitlearn-xnor[plot]").use("agg")
    exec(compile(IMPORTS + task, name, "exec"), world)
    found = world.get("found")
    codes = world["codes"]
    apart = np.count_nonzero(codes[:3, None] != codes, axis=2)  # of three rows from all, in plain NumPy
    match name:
        case "Hamming nearest neighbours":
            order = np.argsort(apart, axis=1, kind="stable")[:, :5]
            np.testing.assert_array_equal(found[:3], order)
            np.testing.assert_array_equal(world["distances"][:3], np.take_along_axis(apart, order, axis=1))
        case "a kernel in compiled code":
            assert found.shape == (1000, 1000)
            np.testing.assert_array_equal(found[:3], apart)
        case "labels of text from a data frame" | "a layer of one's own":
            assert (found == world["labels"]).mean() > 0.9
        case "a stream in which a class comes late":
            # Its first batch holds 15 flowers of one kind, and the codes are fitted on nothing else.
            assert (found == world["labels"]).mean() > 0.85
        case "a CSV file":
            assert found > 0.8 and world["names"] == ("setosa", "versicolor", "virginica")
        case "images of 64 by 64 pixels":
            assert (found == world["kinds"]).mean() > 0.9
        case "a folder of images":
            assert found > 0.9
        case "save and load":
            np.testing.assert_array_equal(found, world["trained"].predict(world["inputs"]))
        case "go on for more epochs":
            assert found.resumed == 2 and len(found.history) == 5
        case "curves":
            assert len(found.lines[0].get_ydata()) == 5
        case "a summary":
            assert str(found).splitlines()[0].split()[:6] == ["layer", "type", "output", "parameters", "bits", "stored"]
