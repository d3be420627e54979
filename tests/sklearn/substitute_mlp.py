"""A pytest plugin: scikit-learn's own tests of its multi-layer perceptrons, run against those of fastbp.

PYTHONPATH=tests/sklearn python -m pytest -p substitute_mlp --pyargs sklearn.neural_network.tests.test_mlp
"""

import sklearn.neural_network

import fastbp.sklearn

LEFT_OUT = {
    "test_gradient": "calls a private method, _loss_grad_lbfgs; tests/sklearn/test_lbfgs.py does the same for fastbp",
}


def pytest_configure(config):
    """Before the tests import them."""
    sklearn.neural_network.MLPClassifier = fastbp.sklearn.MLPClassifier
    sklearn.neural_network.MLPRegressor = fastbp.sklearn.MLPRegressor


def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if item.name.split("[")[0] in LEFT_OUT]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
