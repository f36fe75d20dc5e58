"""A binary network as a classifier of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from bitlearn import datasets, models, nn, optim, training
from bitlearn.classifier import Classifier, probabilities
from bitlearn.errors import by_name
from bitlearn.nn.summary import Summary
from bitlearn.precision import Precision
from bitlearn.sklearn.coded import Coded, seed_of
from bitlearn.training.hooks import Hooks


class BitClassifier(ClassifierMixin, Coded):
    """A binary network as a classifier of scikit-learn.

    Parameters
    ----------
    model : str or callable
        A name of `bitlearn.models`: ``"mlp"``, or ``"cnv"``, ``"binarynet"``, ``"resnete18"``, ``"birealnet18"`` for
        images. Or ``model(spec, classes)``, which returns a `bitlearn.nn.Model` for that input type.
    hidden : int or tuple of int
        The widths of the hidden layers of ``"mlp"``.
    precision : str or Precision
        The policy: ``"standard"``, ``"int8"``, ``"int4"``, ``"low-memory"``...
    optimizer : str or Optimizer
        ``"adam"``, ``"sgd"``, ``"bop"``, ``"quantized-sgd"`` or an optimiser from `bitlearn.optim`.
    learning_rate : float, optional
        The optimiser's own by default.
    schedule : str or callable
        The factor of the learning rate as a function of the fraction of steps done.
    epochs, batch_size : int
    codes : {"auto", "thermometer", "quantile", "range"}
        How features become the input: see `bitlearn.datasets.prepare`. ``auto`` leaves uint8 unchanged, and gives an
        ``mlp`` a thermometer if that has at most 16,384 bits per example.
    bits : int, optional
        Bits per feature of a thermometer; 64 by default.
    augment : bool
        Shift images randomly.
    early_stopping : bool
        Hold out examples, keep the epoch that is best on them, and stop when it has not been improved on for `patience`
        epochs.
    validation_fraction : float
        The share to hold out then, the same for every class.
    patience : int
    hooks : Hook or iterable of Hook, optional
        Notified of steps and epochs: see `bitlearn.training`.
    random_state : int, RandomState or None
        The seed of everything random: the same number gives the same weights, bit for bit, under an integer policy.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    classifier_ : Classifier
        The inference network with its preparation and labels: what `bitlearn.save` writes.
    model_ : Model
        The network as it was trained.
    result_ : Result
        The result of training: ``result_.history``, ``result_.plot()``.
    n_features_in_ : int
    n_iter_ : int
        The number of epochs trained.

    Notes
    -----
    `partial_fit` fits the codes on its first batch, which should therefore be typical; it makes one pass at a constant
    learning rate. For classes that are not announced, use `ContinualBitClassifier`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True, as_frame=False)
    >>> names = np.array(["setosa", "versicolor", "virginica"])[y]
    >>> classifier = BitClassifier().fit(x, names)
    >>> classifier.score(x, names) > 0.95, classifier.predict(x[:2]).tolist()
    (True, ['setosa', 'setosa'])
    """

    def __init__(
        self,
        model: str | Callable[[nn.Spec, int], nn.Model] = "mlp",
        *,
        hidden: int | tuple[int, ...] = (512,),
        precision: str | Precision = "int8",
        optimizer: str | optim.Optimizer = "adam",
        learning_rate: float | None = None,
        schedule: str | Callable[[float], float] = "cosine",
        epochs: int = 20,
        batch_size: int = 100,
        codes: str = "auto",
        bits: int | None = None,
        augment: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        hooks: training.Hook | Iterable[training.Hook] | None = None,
        random_state: Any = 0,
    ):
        self.model = model
        self.hidden = hidden
        self.precision = precision
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.codes = codes
        self.bits = bits
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.hooks = hooks
        self.random_state = random_state

    def _rule(self) -> optim.Optimizer:
        if isinstance(self.optimizer, optim.Optimizer):
            return self.optimizer
        return by_name("optimizer", self.optimizer, optim.OPTIMIZERS)()

    def _images(self, x: np.ndarray) -> np.ndarray:
        """Return grey images with a channel where the network takes images."""
        return x[..., None] if isinstance(self.model, str) and self.model != "mlp" and x.ndim == 3 else x

    def _begin(self, x: np.ndarray, seed: int) -> None:
        """Fit the codes, and make the network."""
        x = self._images(x)
        size = None
        if isinstance(self.model, str) and x.dtype == np.uint8 and x.ndim == 4:
            size = models.image_size(self.model, x.shape[1:])
        self.preparation_ = self._prepare(
            x, takes_bits=not isinstance(self.model, str) or self.model == "mlp", image_size=size
        )
        self._shape = self._shape[:2] if x.shape[1:] != self._shape else self._shape
        spec, classes = nn.Spec.of(self.preparation_.codes(x[:1])), len(self.classes_)
        if callable(self.model):
            self.model_ = self.model(spec, classes)
            return
        options: dict[str, Any] = {"head": "real", "precision": self.precision, "seed": seed}
        if self.model == "mlp":
            options["hidden"] = (self.hidden,) if isinstance(self.hidden, int) else tuple(self.hidden)
        given: Any = spec if spec.kind == "bits" else spec.shape
        self.model_ = models.build(self.model, given, classes, **options)

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array_like or DataFrame, shape (count, features) or (count, height, width[, channels])
            Finite numbers. uint8 images and features are used unchanged.
        y : array_like, shape (count,)
            Labels of any type that can be sorted.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If examples, labels or parameters make no sense.
        NonFiniteError
            If a weight or gradient becomes NaN or infinite, naming the step and the layer.
        """
        x, y = self._labelled_examples(X, y, reset=True)
        outputs = self._labelled(y)
        if len(x) < 2:
            raise ValueError(f"X must have at least 2 samples to be trained on, got n_samples={len(x)}")
        seed = seed_of(self.random_state)
        options = training.Options(
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            augment=self.augment,
        )
        self._begin(x, seed)
        x, hooks = self._images(x), Hooks(self.hooks).hooks
        train, validation = datasets.Examples(x, outputs, self.preparation_), None
        if self.early_stopping:
            kept, held = datasets.holdout(outputs, self.validation_fraction, seed)
            train, validation = train[kept], train[held]
            hooks = [*hooks, training.EarlyStopping(self.patience)]
        self.result_ = training.fit(self.model_, self._rule(), train, options, validation=validation, hooks=hooks)
        self.n_iter_ = len(self.result_.history)
        self._trainer: training.Trainer | None = None
        self._network = self.result_.best
        return self

    def _labelled(self, y: np.ndarray) -> np.ndarray:
        """Return the outputs of labels, which become the classes."""
        check_classification_targets(y)
        self.classes_, outputs = np.unique(y, return_inverse=True)
        return outputs.astype(np.int64)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Continue training with a batch, or start.

        Parameters
        ----------
        X, y
            As `fit`. One example is enough.
        classes : array_like, optional
            All labels that will ever occur: required in the first call, unless `fit` was called before.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `fit`; also if the first call names no classes, or a label is not among them.
        """
        first = not hasattr(self, "classes_")
        x, y = self._labelled_examples(X, y, reset=first)
        check_classification_targets(y)
        if first:
            if classes is None:
                raise ValueError("classes must be given in the first call of partial_fit, got None")
            named = np.unique(classes)
            strange = np.setdiff1d(y, named)
        else:
            named = self.classes_
            if classes is not None and not np.array_equal(np.unique(classes), named):
                raise ValueError(f"classes must be those of the first call, {named.tolist()}, got others")
            strange = np.setdiff1d(y, named)
        if len(strange):
            raise ValueError(f"y must hold labels among the classes {named.tolist()}, got {strange.tolist()[0]!r}")
        if first:
            self.classes_ = named
            self._begin(x, seed_of(self.random_state))
            self.result_, self._trainer, self.n_iter_ = training.Result(), None, 0
        trainer = self._trainer or training.Trainer(self.model_, self._rule(), seed_of(self.random_state))
        self._trainer = trainer
        rate = self.learning_rate or self._rule().rate(self.model_.precision)
        examples = datasets.Examples(self._images(x), np.searchsorted(self.classes_, y), self.preparation_)
        rows = np.arange(len(examples)) if len(examples) > 1 else np.zeros(2, dtype=int)  # a batch norm wants two
        for part in np.array_split(rows, max(1, len(rows) // self.batch_size)):
            self.result_.losses.append(trainer.step(examples.codes(part), examples.y[part], rate))
        self._network, self.n_iter_ = None, self.n_iter_ + 1
        return self

    @property
    def classifier_(self) -> Classifier:
        """The inference network, its preparation and the labels."""
        check_is_fitted(self, "classes_")
        if self._network is None:
            self._network = self.model_.freeze()
        return Classifier(self._network, self.preparation_, tuple(self.classes_.tolist()))

    @property
    def saved_as_(self) -> Classifier:
        """What `bitlearn.save` writes and `bitlearn.load` returns: the same predictions, but no further training."""
        return self.classifier_

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "classes_")
        x = self._images(self._examples(X, reset=False))
        return self.classifier_.scores(x)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each example, shape (count,)."""
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the softmax of the scores, float64 of shape (count, classes), in the order of ``classes_``."""
        return probabilities(self._scores(X))

    def summary(self) -> Summary:
        """Return a table of the network: parameters, bits, bytes and operations of each layer."""
        return self.classifier_.summary()

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curves: see `Result.plot <bitlearn.training.Result.plot>`."""
        check_is_fitted(self, "classes_")
        return self.result_.plot(ax)
