"""CSV and Parquet: what is read, and what is refused in a sentence; predictions of tables without labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli, datasets
from bitlearn.datasets import tables


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.csv"


def test_a_table_with_names(path):
    path.write_text("width, height,Species\n1.5,2,cat\n0.5,1e3,dog\n\n2,3,cat\n", encoding="utf-8")
    with pytest.raises(ValueError, match="must have a column 'species' of labels"):
        tables.read(path, "species")
    names, x, y = tables.read(path, "Species")
    assert names == ["width", "height"] and y.tolist() == ["cat", "dog", "cat"]
    np.testing.assert_array_equal(x, np.array([[1.5, 2], [0.5, 1000], [2, 3]], dtype=np.float32))


def test_a_table_without_names(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text("1\t2\t0\n3\t4\t1\n")
    names, x, y = tables.read(path)
    assert names == ["0", "1", "2"] and y is None and x.shape == (2, 3)
    _, x, y = tables.read(path, "2")
    assert x.tolist() == [[1, 2], [3, 4]] and y.dtype == np.int64 and y.tolist() == [0, 1]


def test_a_data_set_of_a_table(path, rng):
    values, labels = rng.normal(size=(50, 3)), rng.choice([5, 7, 9], size=50)
    lines = ["a,b,c,Label", *(",".join(map(str, [*row, label])) for row, label in zip(values, labels, strict=True))]
    path.write_text("\n".join(lines))
    data = datasets.load("csv", path)
    assert data.classes == 3 and data.labels == (5, 7, 9) and len(data.x_train) + len(data.x_test) == 50
    both = np.concatenate([data.x_train, data.x_test])
    assert sorted(both[:, 0].tolist()) == sorted(values[:, 0].astype(np.float32).tolist())
    np.testing.assert_array_equal(np.bincount(data.y_test) > 0, True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must have rows, got an empty file"),
        ("a,b,label\n", "must have rows with at least one feature, got 0 rows"),
        ("a,b,label\n1,2\n", "must have 3 cells in each row, got 2 in line 2"),
        ("a,b,label\n1,x,0\n", "must hold numbers as 'b', got 'x' in row 1 of its data: drop the column"),
        ("a,b,label\n1,,0\n", "must hold numbers as 'b', got '' in row 1"),
        ("a,b,label\n1,nan,0\n", "must hold finite numbers as 'b', got 'nan' in row 1"),
        ("a,b,label\n1,1e99,0\n", "must hold finite numbers as 'b', got '1e99'"),
        ("a,a,label\n1,2,0\n", "must have columns of different names"),
        ("a,label\n1,\n", "must hold a label in each row as 'label', got none in row 1"),
        ("a,b\n1,2\n", "must have a column of labels, named by label="),
        ("label\n1\n", "must have rows with at least one feature"),
    ],
)
def test_wrong_tables(path, text, sentence):
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        datasets.load("csv", path)


def test_what_is_no_text(path):
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="must be a table in CSV, got what fails with"):
        datasets.load("csv", path)
    with pytest.raises(FileNotFoundError):
        datasets.load("csv", path.with_name("none.csv"))


def test_parquet(tmp_path):
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1")
    try:
        import pandas as pd
        import pyarrow as _  # noqa: F401
    except ImportError:
        with pytest.raises(
            ImportError, match=r"Parquet files need pandas and pyarrow: pip install 'bitlearn-xnor\[data\]'"
        ):
            datasets.load("parquet", path)
        pytest.skip("pandas or pyarrow is not installed: bitlearn-xnor[data]")
    with pytest.raises(ValueError, match="must be a Parquet file"):
        datasets.load("parquet", path)
    pd.DataFrame({"a": [1.0, 2.0] * 5, "label": ["x", "y"] * 5}).to_parquet(path)
    data = datasets.load("parquet", path)
    assert data.labels == ("x", "y") and data.x_train.shape[1] == 1


def test_training_and_predicting_tables_from_a_shell(path, tmp_path, capsys, rng):
    values = rng.normal(size=(80, 3))
    kinds = np.where(values[:, 0] > 0, "above", "below")
    rows = [",".join(map(str, row)) for row in values]
    path.write_text("\n".join(["a,b,c,kind", *(f"{row},{kind}" for row, kind in zip(rows, kinds, strict=True))]))
    model, told = tmp_path / "model", tmp_path / "told.json"
    train = ["train", "--dataset", "csv", "--data", str(path), "--label", "kind", "--epochs", "2", "--batch-size", "20"]
    assert cli.main([*train, "--save", str(model)]) == 0
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(["a,b,c", *rows]))
    predict = ["predict", "--dataset", "csv", "--model", str(model), "--json", str(told)]
    assert cli.main([*predict, "--data", str(bare)]) == 0
    found = json.loads(told.read_text())
    assert found["accuracy"] is None and found["examples"] == 80 and set(found["predictions"]) <= {"above", "below"}
    assert found["predictions"] == bl.load(model).predict(values.astype(np.float32)).tolist()
    assert "without labels" in capsys.readouterr().out
    assert cli.main([*predict, "--data", str(path), "--label", "kind"]) == 0
    assert json.loads(told.read_text())["accuracy"] is not None
    assert cli.main([*predict, "--data", str(bare), "--label", "kind"]) == 2
