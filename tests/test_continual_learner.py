"""The learner as an object: batches of any size, classes at any time, files, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from test_continual import clusters

import bitlearn as bl
from bitlearn.backends import variants
from bitlearn.bits import Bits
from bitlearn.continual import METHODS, ContinualLearner
from bitlearn.datasets import prepare
from bitlearn.errors import NonFiniteError
from bitlearn.training import Hook

X, Y, X_TEST, Y_TEST = clusters()
NAMES = np.array(["ant", "bee", "cat", "dog", "elk", "fox"])
STREAMS = [name for name, method in METHODS.items() if method.streams and not method.tells_apart]
CONSOLIDATING = ("latent-replay", "replay")
#: In turn: a batch, one example, a few, and a class after the other.
SIZES = [40, 1, 2, 7, 1, 33, 60]
SMALL = {"batch_size": 16, "replay_size": 30, "epochs": 2}


def learner(method: str, **settings) -> ContinualLearner:
    return ContinualLearner(method, **{**SMALL, **settings})


def streamed(made: ContinualLearner, y: np.ndarray = Y, sizes: list[int] = SIZES, start: int = 0) -> ContinualLearner:
    for size in sizes:
        made.partial_fit(X[start : start + size], y[start : start + size])
        start += size
    return made


def state(made: ContinualLearner, path) -> bytes:
    made.save(path)
    return path.read_bytes()


# --- learning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", STREAMS)
def test_batches_of_any_size_with_labels_of_any_kind(method):
    for labels in (Y, Y * 1000 - 5, NAMES[Y], NAMES[Y].astype(object), Y == 2, NAMES[Y].tolist()):
        made = streamed(learner(method), labels)
        found = made.predict(X_TEST)
        assert found.shape == Y_TEST.shape and made.examples == sum(SIZES) and made.batches == len(SIZES)
        assert set(np.unique(found)) <= set(np.unique(np.asarray(labels)))
        probabilities = made.predict_proba(X_TEST)
        assert probabilities.shape == (len(X_TEST), len(made.labels)) and np.allclose(probabilities.sum(axis=1), 1)
        assert np.array_equal(np.array(made.labels)[probabilities.argmax(axis=1)], found)


@pytest.mark.parametrize("method", STREAMS)
def test_names_of_labels_make_no_difference(method):
    plain, named = streamed(learner(method)), streamed(learner(method), NAMES[Y])
    assert np.array_equal(NAMES[plain.predict(X_TEST)], named.predict(X_TEST))
    assert np.array_equal(plain.scores(X_TEST), named.scores(X_TEST))


@pytest.mark.parametrize("method", ["analytic", "lda", "nearest-mean"])
def test_classes_that_come_one_after_the_other_are_learned(method):
    """Sorted by class, two examples at a time: the hardest stream there is."""
    made, order = learner(method), np.argsort(Y, kind="stable")
    for start in range(0, len(order), 2):
        rows = order[start : start + 2]
        made.partial_fit(X[rows], NAMES[Y[rows]])
        assert made.labels == NAMES[: Y[rows].max() + 1].tolist()
    assert made.evaluate(X_TEST, NAMES[Y_TEST]) > 0.8


def test_an_empty_batch_changes_nothing(tmp_path):
    made = streamed(learner("latent-replay"))
    before = state(made, tmp_path / "a")
    made.partial_fit(X[:0], Y[:0]).partial_fit(X[:0], [])
    assert state(made, tmp_path / "a") == before
    assert made.predict(X[:0]).shape == (0,) and made.evaluate(X[:0], Y[:0]) == 0


def test_a_class_grows_the_head_and_leaves_the_rest(tmp_path):
    """What is known of the others, weights and moments alike, is as it was."""
    made = learner("latent-replay")
    for _ in range(3):
        made.partial_fit(X[Y < 2][:20], Y[Y < 2][:20])
    model = made.method.networks.model
    weight = model["head1"].weight.copy()
    moments = {name: array.copy() for name, array in made.steps.trainer(model).state.items()}
    made.method.grow(5)
    made.steps.grown(model)
    assert model["head1"].weight.shape == (5, weight.shape[1]) and not model["head1"].weight[2:].any()
    assert np.array_equal(model["head1"].weight[:2], weight) and weight.any()
    for name, array in made.steps.trainer(model).state.items():
        old = moments[name]
        assert np.array_equal(array[tuple(slice(n) for n in old.shape)], old)
        assert array.shape == old.shape or not array[2:].any()


def test_a_stream_leaves_the_layers_before_the_cut_as_they_were_drawn():
    made = streamed(learner("latent-replay", model="mlp", cut="sign2", seed=3))
    drawn = bl.models.mlp((20,), 1, head="real", precision="low-memory", seed=3).split("sign2")[0]
    found = made.method.networks.lower
    assert np.array_equal(
        found.apply(drawn_codes := made.inputs.codes(X)).words, drawn.freeze().apply(drawn_codes).words
    )


def test_tasks_are_those_of_a_scenario():
    """`fit_task` after `fit_task` is `run`, bit for bit."""
    scenario = bl.continual.class_incremental(X, Y, X_TEST, Y_TEST, 3)
    for method in ("naive", "latent-replay", "cwr", "joint", "analytic", "replay", "der", "ewc", "ar1", "slda"):
        model, other = (bl.models.mlp((20,), 6, hidden=(65, 40), head="real", precision="int8", seed=3) for _ in "ab")
        result = bl.continual.run(method, scenario, model, bl.optim.adam(), bl.continual.Options(**SMALL))
        made = learner(method, model=other, labels=range(6))
        for task in scenario.tasks:
            made.fit_task(np.asarray(task.train.x[:]), task.train.y)
        found = [made.evaluate(np.asarray(task.test.x[:]), task.test.y) for task in scenario.tasks]
        assert found == result.accuracy_matrix[-1], method


def test_streams_and_tasks_in_turn():
    made = learner("latent-replay")
    made.fit_task(X[Y < 3], NAMES[Y[Y < 3]])
    lower = made.method.networks.lower
    for start in range(0, 70, 5):
        made.partial_fit(X[Y >= 3][start : start + 5], NAMES[Y[Y >= 3][start : start + 5]])
    assert made.method.networks.lower is lower and (made.tasks, made.batches) == (1, 14)
    assert made.evaluate(X_TEST, NAMES[Y_TEST]) > 0.8


@pytest.mark.parametrize("method", ["latent-replay", "cwr", "naive", "replay", "der", "ewc", "ar1", "slda"])
def test_every_backend_and_number_of_threads_learns_the_same(method, tmp_path):
    found = {}
    before = bl.get_num_threads()
    for name in dict.fromkeys(
        name for name in ("reference", "jit", "cext:portable", variants()[0]) if name in variants()
    ):
        for threads in (1, 2):
            bl.set_num_threads(threads)
            try:
                with bl.use_backend(name):
                    found[name, threads] = state(streamed(learner(method, model="mlp")), tmp_path / "a")
            finally:
                bl.set_num_threads(before)
    assert len(set(found.values())) == 1


# --- inputs --------------------------------------------------------------------------------------------------------


def test_what_an_example_may_be(rng):
    images = rng.integers(0, 256, size=(40, 28, 28), dtype=np.uint8)
    y = np.arange(40) % 3
    for x in (images, images[..., None], images > 100, images.astype(np.int8), images.reshape(40, -1)):
        assert ContinualLearner().partial_fit(x, y).predict(x).shape == (40,)
        assert learner("latent-replay").partial_fit(x, y).predict(x).shape == (40,)
    for x in (images, images[..., None]):
        small = bl.models.cnv((32, 32, 1), 3, filters=(8, 8), dense=(16,), head="real", precision="int8")
        made = learner("latent-replay", model=small).partial_fit(x, y)
        assert made.predict(x).shape == (40,) and made.inputs.shape == (32, 32, 1)
    bits = Bits(bl.pack(rng.normal(size=(40, 70))), 70)
    made = ContinualLearner().partial_fit(bits, y)
    assert made.predict(bits).shape == (40,)
    real = rng.normal(size=(40, 9))
    made = learner("latent-replay", preparation=prepare(real)).partial_fit(real, y)
    assert made.predict(real.astype(np.float32)).shape == (40,)


def test_an_array_that_a_file_holds(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    made, other = learner("latent-replay").fit_task(mapped, Y), learner("latent-replay").fit_task(X, Y)
    assert np.array_equal(made.scores(X_TEST), other.scores(X_TEST))


# --- backbones -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    model = bl.models.mlp((20,), 3, hidden=(64, 48, 32), precision="int8", seed=1)
    examples = bl.datasets.Examples(X[Y < 3], Y[Y < 3], prepare(X))
    bl.training.fit(model, bl.optim.adam(), examples, bl.training.Options(epochs=3, batch_size=16))
    return model


def test_a_backbone_is_cut_and_frozen(trained, tmp_path):
    bl.save(trained, tmp_path / "model")
    bl.save(trained.freeze(), tmp_path / "frozen")
    state = {name: array.copy() for name, array in trained.state().items()}
    for given in (trained, tmp_path / "model", str(tmp_path / "model")):
        made = streamed(learner("latent-replay", backbone=given, cut="sign2"), NAMES[Y])
        streamed(made, NAMES[Y])
        upper, lower = made.method.networks.model, made.method.networks.lower
        assert upper.names == ["linear3", "sign3", "head1"] and upper.output_shape == (6,)
        wanted = trained.split("sign2")[0].freeze()
        assert {name: array.tobytes() for name, array in lower.arrays.items()} == {
            name: array.tobytes() for name, array in wanted.arrays.items()
        }
        assert made.evaluate(X_TEST, NAMES[Y_TEST]) > 0.8
    made = learner("latent-replay", backbone=trained, cut="sign1")
    made.fit_task(X[:2], Y[:2])
    assert made.method.networks.model.names == ["linear2", "sign2", "linear3", "sign3", "head1"]
    assert all(np.array_equal(array, state[name]) for name, array in trained.state().items())
    # Of an inference form nothing behind the cut can be trained: its head is all there is.
    made = streamed(learner("latent-replay", backbone=tmp_path / "frozen"), Y)
    assert made.method.networks.model.names == ["head1"]
    for method in ("analytic", "cwr", "naive", "lda"):
        assert streamed(learner(method, backbone=trained), Y).evaluate(X_TEST, Y_TEST) > 0.25


def test_a_backbone_begins_with_the_weights_that_it_has(trained):
    made = learner("naive", backbone=trained, cut="sign1").partial_fit(X[:1], Y[:1])
    untouched = bl.continual.backbones.networks(trained, "sign1", 3).model
    for name, array in untouched.state().items():
        if not name.startswith("head1"):
            assert np.array_equal(array, trained.state()[name]), name
    assert made.method.networks.model["linear2"].index == trained["linear2"].index


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "settings"),
    [(method, {}) for method in STREAMS]
    + [(method, {"consolidate": True}) for method in CONSOLIDATING]
    + [(method, {"model": "mlp", "cut": "sign3", "precision": "int8"}) for method in STREAMS],
)
def test_a_saved_learner_goes_on_as_if_it_had_never_stopped(method, settings, tmp_path):
    one, path = learner(method, **settings), tmp_path / "learner"
    start = 0
    for size in SIZES:
        rows = slice(start, start + size)
        one.partial_fit(X[rows], NAMES[Y[rows]])
        bl.save(one, path)
        two = bl.load(path)
        assert two.labels == one.labels and repr(two) == repr(one)
        again = tmp_path / "again"
        bl.save(two, again)
        assert again.read_bytes() == path.read_bytes()
        one, start = two, start + size
    whole = streamed(learner(method, **settings), NAMES[Y])
    assert state(whole, tmp_path / "whole") == path.read_bytes()


@pytest.mark.parametrize("method", [name for name in STREAMS if METHODS[name].trains] + ["analytic", "slda"])
def test_a_task_is_gone_on_with_from_its_checkpoint(method, tmp_path):
    """Whichever epoch it is stopped behind."""
    options = {"epochs": 3} | ({"consolidate": True} if method in CONSOLIDATING else {})

    class Stop(Hook):
        left = 0

        def on_epoch(self, entry):
            if entry["task"] == 2 and entry["epoch"] == self.left + 1:
                raise KeyboardInterrupt

    first, second = Y < 3, Y >= 3
    whole = learner(method, **options).fit_task(X[first], Y[first]).fit_task(X[second], Y[second])
    wanted = state(whole, tmp_path / "whole")
    for epochs in range(3):
        path, hook = tmp_path / f"after {epochs}", Stop()
        hook.left = epochs
        made = learner(method, hooks=hook, **options).fit_task(X[first], Y[first], checkpoint=path)
        if METHODS[method].trains:
            with pytest.raises(KeyboardInterrupt):
                made.fit_task(X[second], Y[second], checkpoint=path)
        again = ContinualLearner.load(path)
        assert again.epochs == (epochs if METHODS[method].trains else 0) and again.tasks == 1
        if again.epochs:
            with pytest.raises(ValueError, match="x and y must be the examples of the task to continue"):
                again.fit_task(X[first], Y[first])
        again.fit_task(X[second], Y[second], checkpoint=path)
        assert path.read_bytes() == wanted


def test_a_task_that_was_interrupted_goes_on_in_the_same_learner(tmp_path):
    """Without a checkpoint too: the same examples go on, and others are refused."""

    class Stop(Hook):
        stopped = False

        def on_epoch(self, entry):
            if entry["task"] == 2 and not Stop.stopped:
                Stop.stopped = True
                raise KeyboardInterrupt

    first, second = Y < 3, Y >= 3
    made = learner("latent-replay", hooks=Stop()).fit_task(X[first], Y[first])
    with pytest.raises(KeyboardInterrupt):
        made.fit_task(X[second], Y[second])
    made.epochs = 1  # the hook stopped it as the first epoch was over, before the learner was told
    made.fit_task(X[second], Y[second])
    whole = learner("latent-replay").fit_task(X[first], Y[first]).fit_task(X[second], Y[second])
    assert state(made, tmp_path / "a") == state(whole, tmp_path / "b")


def test_what_cannot_be_saved_says_so(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match="a learner must have learned an example before it is saved"):
        learner("naive").save(path)
    with pytest.raises(ValueError, match="joint must be run again, not saved: it keeps the examples"):
        learner("joint").fit_task(X, Y).save(path)
    with pytest.raises(ValueError, match="schedule must be a name for the learner to be saved, got a function"):
        learner("naive", schedule=lambda done: 1 - done).fit_task(X, Y).save(path)
    assert not path.exists()


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["latent-replay", "analytic"])
def test_what_does_not_fit_is_refused_and_changes_nothing(method, tmp_path):
    made = streamed(learner(method), NAMES[Y])
    before = state(made, tmp_path / "a")
    for x, y, error, sentence in (
        (X[:3], Y[:3], TypeError, "y must hold labels like 'ant', got [0-9]"),
        (X[:3], NAMES[:2], ValueError, r"y must hold a label for each of the 3 examples, got shape \(2,\)"),
        (X[:3], NAMES[:3, None], ValueError, r"y must have shape \(count,\), got \(3, 1\)"),
        (X[:3], [0.5, 1.5, 2.5], TypeError, "y must hold integers or strings, got float64"),
        (X[:3, :19], NAMES[:3], ValueError, r"x must hold uint8 of shape \(20,\) per example, got uint8 of \(19,\)"),
        (X[:3] > 3, NAMES[:3], ValueError, r"x must hold uint8 of shape \(20,\) per example, got bool of \(20,\)"),
        (X[:3] / 2, NAMES[:3], TypeError, "x must be uint8, int8, bool or Bits, or come with preparation="),
        (X[0], NAMES[:20], ValueError, r"x must have shape \(count, ...\) with at least one value per example"),
        (X[:3], ["ant", "new", "old"][:2], ValueError, "y must hold a label for each"),
    ):
        with pytest.raises(error, match=sentence):
            made.partial_fit(x, y)
    assert made.labels == NAMES[np.array([list(NAMES).index(label) for label in made.labels])].tolist()
    assert state(made, tmp_path / "a") == before


def test_a_step_that_fails_forgets_the_label_that_it_brought(tmp_path):
    made = learner("latent-replay", precision="standard").partial_fit(X[Y < 2][:20], Y[Y < 2][:20])
    made.method.networks.model["head1"].weight[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="in layer 'head1'"):
        made.partial_fit(X[:4], [7, 7, 7, 7])
    assert 7 not in made.labels


def test_what_is_asked_too_early_or_of_the_wrong_method():
    with pytest.raises(ValueError, match="a learner must have learned an example before it predicts, got none"):
        learner("analytic").predict(X)
    with pytest.raises(ValueError, match="joint must be given whole tasks, by fit_task"):
        learner("joint").partial_fit(X, Y)
    with pytest.raises(ValueError, match="a task must have at least 2 examples, got 1"):
        learner("naive").fit_task(X[:1], Y[:1])
    with pytest.raises(ValueError, match="method must be one of naive"):
        ContinualLearner("replays")
    with pytest.raises(ValueError, match="model must be one of mlp"):
        ContinualLearner("naive", "vgg")
    with pytest.raises(TypeError, match="backbone must be a network or the path of a saved one, got 3"):
        ContinualLearner(backbone=3)
    with pytest.raises(ValueError, match="model and backbone must not both be networks"):
        ContinualLearner("naive", bl.models.mlp((20,), 2), backbone=bl.models.mlp((20,), 2))
    with pytest.raises(ValueError, match="backbone must have a layer whose output is packed bits"):
        ContinualLearner("naive", backbone=bl.nn.Model([bl.nn.BinaryLinear(3), bl.nn.BatchNorm()], (20,))).partial_fit(
            X, Y
        )
    with pytest.raises(
        ValueError, match=r"x must have the shape \(32, 32, 3\) per example for this network, got \(20,\)"
    ):
        ContinualLearner("naive", bl.models.cnv(head="real")).partial_fit(X, Y)
    with pytest.raises(ValueError, match="a network must end in a real head to grow, got one that ends in 'norm1'"):
        learner("latent-replay", model=bl.models.mlp((20,), 2, hidden=(8,))).partial_fit(X, Y)


def test_an_unseen_label_is_never_predicted_and_counts_as_wrong():
    made = learner("analytic", labels=["yeti", *NAMES]).partial_fit(X, NAMES[Y])
    assert "yeti" in made.labels and "yeti" not in made.predict(X)
    assert made.evaluate(X_TEST, np.where(Y_TEST == 0, "unknown", NAMES[Y_TEST])) < made.evaluate(X_TEST, NAMES[Y_TEST])


def test_hooks_are_told():
    class Log(Hook):
        def __init__(self):
            self.steps, self.epochs = [], []

        def on_step(self, step, steps, loss):
            self.steps.append((step, loss))

        def on_epoch(self, entry):
            self.epochs.append((entry["task"], entry["epoch"]))

    log = Log()
    made = learner("latent-replay", hooks=log)
    made.partial_fit(X[:20], Y[:20])
    streamed_steps = len(log.steps)
    assert streamed_steps == 5 and all(loss > 0 for _, loss in log.steps)
    made.fit_task(X, Y)
    assert log.epochs == [(1, 1), (1, 2)] and len(log.steps) > streamed_steps
