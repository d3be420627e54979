"""scikit-learn's multi-layer perceptrons with fastbp inside: change one import.

    from fastbp.sklearn import MLPClassifier, MLPRegressor

They take and have what scikit-learn's do (1.6 and later), and more: see the classes. Extra `sklearn`.
"""

from fastbp.checks import missing

try:
    from fastbp.sklearn.classifier import MLPClassifier
    from fastbp.sklearn.onnx import register_when_imported
    from fastbp.sklearn.regressor import MLPRegressor
except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] not in ("joblib", "scipy", "sklearn"):
        raise
    raise missing("fastbp.sklearn needs scikit-learn and scipy", "sklearn") from error

__all__ = ["MLPClassifier", "MLPRegressor"]

register_when_imported(MLPClassifier, MLPRegressor)
