"""One target: scores and a temperature, as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from triage.classifier.calibration import Floats, fit_weights, softmax
from triage.classifier.scores import fit_scores


class LabelClassifier(ClassifierMixin, BaseEstimator):
    """Linear classifier with calibrated probabilities.

    One class against the rest, and one temperature that makes the softmax of held-out scores likely. A
    class with a single example is no obstacle: it has a score, and a probability above 0.

    Parameters
    ----------
    loss : {"squared_hinge", "squared_error"}, default="squared_hinge"
        Hinge: scikit-learn's LinearSVC. Error: closed form, at most 32,000 rows; better where classes
        are many and examples few.
    C : float, default=3.0
        Inverse strength of regularisation.
    n_folds : int, default=3
        Folds of the held-out scores (hinge only).
    n_jobs : int or None, default=None
        Trainings at once (joblib).
    random_state : int, default=0

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    coef_ : float32 array of shape (n_features, n_classes)
    intercept_ : float32 array of shape (n_classes,)
    temperature_ : float
        Factor on the scores before the softmax.
    held_out_scores_ : float32 array of shape (n_rows, n_classes)
        Scores of the training rows by models that had not seen them.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1], [0.1, 1], [1, 0], [1, 0.2]])
    >>> model = LabelClassifier().fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[1, 0]]).tolist()
    ['b']
    >>> model.predict_proba([[1, 0]]).sum().round(6).item()
    1.0
    """

    def __init__(
        self,
        *,
        loss: str = "squared_hinge",
        C: float = 3.0,
        n_folds: int = 3,
        n_jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.loss = loss
        self.C = C
        self.n_folds = n_folds
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Learn from a matrix and labels.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
        groups : array-like of shape (n_rows,) or None
            Rows of one group are held out together; None holds out every row by itself.

        Returns
        -------
        LabelClassifier
            Itself.

        Raises
        ------
        ValueError
            If an option is out of range, the arrays do not fit, or there is only one class.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32, accept_large_sparse=False)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"labels must be of at least two classes, got one class in {len(y)} rows")
        group_of = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
        fitted = fit_scores(sp.csr_matrix(X), [codes], [len(self.classes_)], [group_of], self.get_params())
        self.coef_, self.intercept_, (self.held_out_scores_,) = fitted.coef(), fitted.intercept, fitted.held_out
        right = codes[:, None] == np.arange(len(self.classes_))
        self.temperature_ = float(fit_weights([self.held_out_scores_], [right], [4.0])[0][0, 0])
        return self

    def _scores(self, X: Any) -> Floats:
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)
        scores: Floats = X @ self.coef_ + self.intercept_
        return scores

    def decision_function(self, X: Any) -> Floats:
        """Return the scores.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        float array of shape (n_rows, n_classes), or (n_rows,) for two classes
            Higher is likelier; for two classes, positive means ``classes_[1]``.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Floats:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        float array of shape (n_rows, n_classes)
            Rows sum to 1; columns in the order of `classes_`.
        """
        scores = self._scores(X)
        return softmax(self.temperature_ * scores)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likeliest label of each row.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        array of shape (n_rows,)
        """
        scores = self._scores(X)
        labels: npt.NDArray[Any] = self.classes_[scores.argmax(1)]
        return labels

    def __sklearn_tags__(self) -> Any:
        """Say that sparse matrices are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
