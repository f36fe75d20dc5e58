"""What a user's own arrays meet first: a sentence that says what was wanted, what was got, and what to do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli, datasets, training
from bitlearn.datasets import compressed, idx, npz

X = np.arange(40, dtype=np.uint8).reshape(10, 4)
Y = np.arange(10) % 3
PREPARED = datasets.prepare(X)
FEATURES = datasets.prepare(X.astype(np.float32))


@pytest.mark.parametrize(
    ("x", "y", "error", "sentence"),
    [
        (X, Y[:, None], ValueError, r"y must be labels of shape \(10,\), got shape \(10, 1\): .* y.ravel\(\)"),
        (X, np.eye(3)[Y].astype(int), ValueError, r"got shape \(10, 3\): of one column a class, y.argmax\(axis=1\)"),
        (X, Y[:9], ValueError, r"y must be labels of shape \(10,\), got shape \(9,\)"),
        (X, Y.astype(float), TypeError, r"y must be integers from 0 up, got float64: y.astype\(int\)"),
        (X, np.array(list("abcabcabca")), TypeError, "y must be integers from 0 up, got text: .*BitClassifier"),
        (X, np.array(list("abcabcabca"), dtype=object), TypeError, "y must be integers from 0 up, got text"),
        (X[:, 0], Y, ValueError, r"x must have shape \(count, ...\), got \(10,\): .*x.reshape\(-1, 1\)"),
        (X.astype(object).tolist()[:9] + [[1, 2]], Y, ValueError, "x must have rows of one length"),
        (np.array([["a", "b", "c", "d"]] * 10), Y, TypeError, "x must hold real numbers, got <U1"),
        (X.astype(complex), Y, TypeError, "x must hold real numbers, got complex128"),
        (X / 255, Y, TypeError, "x must be uint8 like the prepared data, got float64"),
        (np.ma.masked_equal(X, 3), Y, TypeError, "x must be a plain array, got a masked one"),
    ],
)
def test_examples_are_checked(x, y, error, sentence):
    with pytest.raises(error, match=sentence):
        datasets.Examples(x, y, PREPARED)


def test_examples_of_other_widths_or_without_a_preparation():
    with pytest.raises(ValueError, match=r"samples must have shape \(4,\) as in training, got \(3,\)"):
        datasets.Examples(X[:, :3] / 2, Y, FEATURES)
    with pytest.raises(
        TypeError, match=r"preparation must be what bitlearn.datasets.prepare\(x_train\) gives, got None"
    ):
        datasets.Examples(X, Y, None)


def test_lists_and_small_types_are_taken():
    given = datasets.Examples((X / 2).tolist(), Y.astype(np.uint8).tolist(), FEATURES)
    np.testing.assert_array_equal(given.codes(), FEATURES.codes(X / 2))
    assert given.y.dtype == np.int64 and given.x.dtype == np.float64
    assert datasets.Examples(X, Y.astype(bool), PREPARED).y.tolist() == (Y > 0).astype(int).tolist()


def test_sparse_matrices_and_data_frames():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    with pytest.raises(TypeError, match=r"x must be dense, got a sparse csr_matrix: x.toarray\(\)"):
        datasets.Examples(sparse.csr_matrix(X), Y, PREPARED)
    pd = pytest.importorskip("pandas", reason="pandas is not installed: bitlearn-xnor[data]")
    frame = pd.DataFrame(X / 2, columns=list("abcd"))
    np.testing.assert_array_equal(datasets.Examples(frame, Y, FEATURES).codes(), FEATURES.codes(X / 2))
    with pytest.raises(TypeError, match=r"x must hold numbers, got column 'd' of .*get_dummies"):
        datasets.Examples(frame.assign(d=list("abcdefghij")), Y, FEATURES)


def test_examples_without_labels():
    bare = datasets.Examples(X, None, PREPARED)
    assert len(bare) == 10 and len(bare[:3]) == 3 and "without labels" in repr(bare)
    model = bl.models.mlp((4,), 3, hidden=(8,))
    with pytest.raises(ValueError, match="train must have labels, got examples without"):
        training.fit(model, bl.optim.adam(), bare, training.Options(epochs=1))
    with pytest.raises(ValueError, match="examples must have labels for an accuracy"):
        training.accuracy(model, bare)


def test_too_few_examples():
    one = datasets.Examples(X[:1], Y[:1], PREPARED)
    with pytest.raises(ValueError, match="train must hold at least 2 examples, since a batch norm needs two, got 1"):
        training.fit(bl.models.mlp((4,), 3, hidden=(8,)), bl.optim.adam(), one, training.Options(epochs=1))


def test_a_mapped_array(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    examples = datasets.Examples(mapped, Y, datasets.prepare(mapped))
    assert np.shares_memory(examples.x, mapped)  # never copied whole
    np.testing.assert_array_equal(examples.codes(slice(2, 5)), PREPARED.codes(X[2:5]))


def test_names_in_an_npz_file(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x_train=X, y_train=Y, x_test=X, y_test=Y)
    with pytest.raises(ValueError, match=r"must hold an array X, got x_test, x_train, y_test, y_train: .*savez"):
        datasets.load("npz", path)
    np.savez(path, X, Y)
    with pytest.raises(ValueError, match="must hold an array X, got arr_0, arr_1"):
        datasets.load("npz", path)
    np.savez(path, X=np.array([[1, "a"]], dtype=object), y=Y[:1])
    with pytest.raises(ValueError, match=r"must hold numbers, got object: .*pickles") as found:
        datasets.load("npz", path)
    assert "corrupt" not in str(found.value)
    np.savez(path, X=X)
    np.testing.assert_array_equal(npz.unlabelled(path), X)


def test_a_truncated_idx_file_says_how_many_images_it_holds():
    content = bytes([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(20)
    stream = compressed.Expanded(io.BytesIO(content), 1000, Path("images"))
    with pytest.raises(ValueError, match=r"must hold 54 bytes .* got 20, which are 3 whole images"):
        idx.decode(stream, 3, "images")


def test_float_images_say_how_they_are_coded():
    x = np.zeros((2, 4, 4, 1), dtype=np.float32)
    with pytest.raises(ValueError, match=r"\(x \* 255\).round\(\).astype\(numpy.uint8\)"):
        datasets.Dataset("mine", x, Y[:2], x, Y[:2], 3)


@pytest.mark.parametrize(
    ("name", "near"), [("trian", "train"), ("memmory", "memory"), ("continua", "continual"), ("zzz", "")]
)
def test_a_misspelled_command(name, near, capsys):
    assert cli.main([name]) == 2
    err = capsys.readouterr().err
    assert err.startswith("bitlearn: error: expected a command") and err.count("\n") == 1
    assert (f"; perhaps {near}" in err) == bool(near)


def test_no_command_shows_help(capsys):
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: bitlearn")


def test_bits_where_words_are(rng):
    a, b = rng.choice([-1, 1], size=(5, 70)), rng.choice([-1, 1], size=(3, 70))
    first, second = (bl.Bits(bl.pack(each), 70) for each in (a, b))
    np.testing.assert_array_equal(bl.xnor_matmul(first, second), a @ b.T)
    np.testing.assert_array_equal(bl.hamming(first, second), (70 - a @ b.T) // 2)
    np.testing.assert_array_equal(bl.xnor_matmul(first, bl.pack_weights(second, 70), 70), a @ b.T)
    np.testing.assert_array_equal(first.unpack(), a)
    np.testing.assert_array_equal(bl.popcount(first), (a > 0).sum(axis=1))
    assert len(first) == 5 and repr(first) == "Bits(shape=(5, 70), 80 bytes)"
    with pytest.raises(ValueError, match="a must hold n=69 values per row, got Bits of n=70"):
        bl.hamming(first, second, 69)
    with pytest.raises(TypeError, match="n must be given unless an operand is Bits"):
        bl.hamming(first.words, second.words)
    out = first.words.view(np.int32)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        bl.hamming(first, bl.Bits(first.words[:4], 70), out=out)
    with pytest.raises(TypeError, match=r"Bits are packed: .unpack\(\) gives their values"):
        np.asarray(first)


def test_what_one_sees():
    data = datasets.load("digits")
    model = bl.models.mlp((8, 8, 1), 10, hidden=(16,), head="real", precision="int8")
    examples = datasets.Examples(data.x_train, data.y_train, datasets.prepare(data.x_train))
    result = training.fit(model, bl.optim.adam(), examples, training.Options(epochs=2))
    assert len(result.table().splitlines()) == 3 and result.to_csv().startswith("epoch,loss")
    for each in (model, model.root, model.freeze(), examples, result, data, examples.preparation, model["linear1"]):
        assert len(repr(each)) < 400, repr(each)
    for each in (model, model.freeze(), result):
        assert each._repr_html_().startswith("<table>")
    assert str(model.freeze().summary()) == str(model.summary())
    scenario = bl.continual.class_incremental(data.x_train, data.y_train, data.x_test, data.y_test, tasks=2)
    found = bl.continual.run("naive", scenario, model, bl.optim.adam(), bl.continual.Options(epochs=1))
    assert len(repr(found)) < 400 and "<table>" in found._repr_html_()
    assert len(repr(scenario)) < 400


def test_curves():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: bitlearn-xnor[plot]").use("agg")
    entry = {"epoch": 1, "loss": 2.0, "validation_accuracy": 0.5, "seconds": 1.0}
    result = training.Result(history=[entry, entry | {"epoch": 2, "loss": 1.0}])
    ax = result.plot()
    assert ax.get_ylabel() == "training loss" and ax.lines[0].get_ydata().tolist() == [2.0, 1.0]
    assert [each.get_ylabel() for each in ax.figure.axes] == ["training loss", "validation accuracy"]
    with pytest.raises(ValueError, match="a result must have at least one step to be plotted"):
        training.Result().plot()
