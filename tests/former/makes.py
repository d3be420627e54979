"""What the former version made, and what is asked of it: by that version, when the files were written, and by this one.

`OBJECTS` makes what is pickled, by name. `told` says in plain values what an object is, bits included, and `continued` what
it comes to when it is used further. `FITS` are the fits that were killed, and `CACHED` a module with cached functions.
"""

import hashlib
import json
import os

import former_users as users
import numpy as np

import fastbp as fb
from fastbp.data import Standardizer

X = (np.arange(120.0).reshape(24, 5) * 7 % 11 / 4 - 1).astype(np.float32)
Y = np.arange(24) * 5 % 3
T = np.stack([X[:, 0] * X[:, 1], X[:, 2] - X[:, 3]], 1)
TABLE = "size,colour,price\n" + "".join(f"{i * 7 % 5},{'rgb'[i % 3]},{i * 3 % 7 + i / 10}\n" for i in range(12))
CLASSIFIER = {"loss": "softmax_cross_entropy", "batch_size": 7}
SCHEDULE = fb.schedules.WarmUp(0.5, fb.schedules.Cosine(0.01, 6))


def bits(array):
    array = np.ascontiguousarray(array)
    return f"{array.dtype.str} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"


# ----------------------------------------------------------------------------------------------------------- networks


def plain(**options):
    return fb.Sequential(fb.Dense(5, 6, "tanh"), fb.Dropout(0.25), fb.Dense(6, 3), **options)


def own(**options):
    """A network with a layer and an activation of the user's."""
    bent = fb.activations.custom(users.bent, users.bent_derivative)
    scale = fb.Custom(5, 5, users.scaled, users.scaled_backward, np.linspace(0.5, 1.5, 5))
    return fb.Sequential(scale, fb.Dense(5, 6, bent, bias=False), fb.Dropout(0.5), fb.Dense(6, 3), **options)


def fitted(net, **options):
    """After three epochs, with a history, moments, an order of epochs, metadata."""
    net.fit(X, Y, epochs=3, validation_data=(X[:5], Y[:5]), **{**CLASSIFIER, **options})
    net.metadata = {"made for": "a comparison", "rows": 24}
    return net


def by_hand():
    net = plain(dtype="float64", seed=3)
    net.forward(X)
    net.backward(np.ones((24, 3)))
    net.step(fb.RMSprop(0.01))
    return net


def derived():
    net = users.Thresholded(fb.Dense(5, 6, "relu"), fb.Dense(6, 3), seed=14)
    net.threshold = 0.75
    return fitted(net, optimizer=fb.Adam(users.Halving(0.1)))


def alone(layer):
    """After its own forward and backward pass, as a network of one."""
    layer.backward(np.ones_like(layer.forward(X)))
    return layer


def of_a_network(place):
    return fitted(own(seed=7)).layers[place]


def stopped():
    callback = fb.EarlyStopping(2)
    fitted(plain(), callbacks=callback)
    return callback


def explanation():
    return plain().explain(8)


def dataset(folder):
    from fastbp import datasets

    path = os.path.join(folder, "table.csv")
    with open(path, "w") as file:
        file.write(TABLE)
    return datasets.load_csv(path, "price")


def recipe(folder):
    from fastbp.datasets import Recipe

    return Recipe.fit(dataset(folder), np.arange(8))


def estimator(kind, **options):
    import fastbp.sklearn

    options = {"hidden_layer_sizes": (4,), "max_iter": 3, "batch_size": 8, "random_state": 0, **options}
    return getattr(fastbp.sklearn, kind)(**options)


def fitted_estimator(kind, **options):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three epochs are too few for it
        return estimator(kind, **options).fit(X, T if kind == "MLPRegressor" else np.array(["a", "b", "c"])[Y])


OBJECTS = {
    "network": lambda folder: plain(seed=1),
    "network-float64": lambda folder: plain(dtype="float64", seed=2),
    "network-fitted": lambda folder: fitted(plain(seed=4)),
    "network-sgd": lambda folder: fitted(plain(seed=4), optimizer=fb.SGD(0.1, momentum=0.9)),
    "network-scheduled": lambda folder: fitted(plain(seed=5), optimizer=fb.AdamW(SCHEDULE, clip_norm=1.0)),
    "network-by-hand": lambda folder: by_hand(),
    "network-derived": lambda folder: derived(),
    "network-own": lambda folder: own(seed=6),
    "network-own-fitted": lambda folder: fitted(own(seed=6)),
    "layer-dense": lambda folder: fb.Dense(5, 4, "gelu", weight_init="he_normal"),
    "layer-dense-given": lambda folder: fb.Dense(2, 2, weight_init=np.eye(2), bias_init=np.array([1.0, 2.0])),
    "layer-dropout": lambda folder: fb.Dropout(0.3),
    "layer-custom": lambda folder: own().layers[0].apart(),
    "layer-dense-alone": lambda folder: alone(fb.Dense(5, 4, "tanh", seed=3)),
    "layer-custom-alone": lambda folder: alone(own().layers[0].apart()),
    "layer-of-network-0": lambda folder: of_a_network(0),
    "layer-of-network-1": lambda folder: of_a_network(1),
    "layer-of-network-2": lambda folder: of_a_network(2),
    "network-and-its-layer": lambda folder: (lambda net: [net, net.layers[1]])(fitted(own(seed=8))),
    "activation": lambda folder: fb.activations.custom(users.bent, users.bent_derivative),
    "losses": lambda folder: [
        fb.losses.as_loss("mean_squared_error"), fb.losses.SoftmaxCrossEntropy(0.1), fb.losses.Huber(2.0),
        fb.losses.Quantile(0.3),
    ],
    "loss-custom": lambda folder: fb.losses.custom(users.quartic, users.quartic_delta),
    "optimizers": lambda folder: [
        fb.SGD(0.1), fb.SGD(SCHEDULE, momentum=0.5, nesterov=True, weight_decay=0.1), fb.Adam(), fb.AdamW(clip_norm=2.0),
        fb.RMSprop(), fb.Adagrad(),
    ],
    "schedules": lambda folder: [
        SCHEDULE, fb.schedules.Constant(0.1), fb.schedules.Step(0.1, 2), fb.schedules.Exponential(0.1, 0.5),
        users.Halving(0.1),
    ],
    "callbacks": lambda folder: [
        fb.EarlyStopping(3, restore_best=False, min_delta=0.5), fb.Checkpoint("somewhere.safetensors", every=2),
        fb.TensorBoard("somewhere"), fb.OptunaPruning(None, "cost"), users.Halting(3), users.keep_on,
    ],
    "early-stopping-used": lambda folder: stopped(),
    "history": lambda folder: fitted(plain(), metrics=[users.first_output]).history,
    "explanation": lambda folder: explanation(),
    "standardizer": lambda folder: Standardizer.fit(X),
    "dataset": dataset,
    "recipe": recipe,
    "classifier": lambda folder: fitted_estimator("MLPClassifier"),
    "classifier-stopping-early": lambda folder: fitted_estimator(
        "MLPClassifier", solver="sgd", early_stopping=True, validation_fraction=0.3, warm_start=True
    ),
    "regressor": lambda folder: fitted_estimator("MLPRegressor"),
    "regressor-lbfgs": lambda folder: fitted_estimator("MLPRegressor", solver="lbfgs"),
    "estimator-unfitted": lambda folder: estimator("MLPClassifier", alpha=0.1),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ what they tell


def told(x):
    """An object in plain values that JSON holds; of arrays a hash of their bits."""
    if isinstance(x, np.ndarray):
        return bits(x)
    if isinstance(x, list):
        return [told(entry) for entry in x]
    for kind, tell in TELLS.items():
        if kind in [cls.__name__ for cls in type(x).__mro__]:
            return [type(x).__name__, *tell(x)]
    return getattr(x, "__qualname__", None) or repr(x)


def told_network(net):
    numbers = [net.parameters, net.gradients, net.kept, net.predict(X)]
    return [
        repr(net),
        getattr(net, "threshold", None),
        net.seed,
        net.epochs_shuffled,
        net.metadata,
        told(net.history),
        *map(told, numbers),
    ]


def told_layer(layer):
    parts = [getattr(layer, name, None) for name in ("weight", "bias", "weight_gradient", "parameters_init")]
    place = layer.network and [i for i, other in enumerate(layer.network.layers) if other is layer]
    return [repr(layer), layer.size, place, *map(told, parts)]


def told_history(history):
    return [history.series(), history.steps]


def told_explanation(found):
    return [str(found), found.rows[-1].path, found.threads, found.dtype]


def told_estimator(e):
    fit = [told(e.coefs_), told(e.intercepts_), e.n_iter_, told(e.predict(X))] if hasattr(e, "coefs_") else []
    return [{name: repr(value) for name, value in e.get_params().items()}, *fit]


def told_loss(loss):
    output = np.linspace(-2, 2, 12).reshape(4, 3)
    y = np.arange(4) % 3 if loss.takes_labels else np.zeros((4, 3))
    cost, delta = loss(output, y)
    return [float(cost).hex(), told(delta)]


TELLS = {
    "Sequential": told_network,
    "Layer": told_layer,
    "History": told_history,
    "Explanation": told_explanation,
    "CustomActivation": lambda activation: [repr(activation), float(activation.f(0.3)).hex()],
    "Loss": told_loss,
    "Schedule": lambda schedule: [repr(schedule), told(schedule(np.arange(5.0)))],
    "Callback": lambda callback: [
        {name: str(getattr(callback, name)) for name in CALLBACKS[type(callback).__name__].split()},
        {name: told(values) for name, values in callback.state().items()},
    ],
    "Standardizer": lambda s: [told(s.mean), told(s.scale), told(s.transform(X))],
    "Dataset": lambda data: [told(data.x), told(data.y), repr(data[2:])],
    "Recipe": lambda recipe: [recipe.header, json.dumps(recipe.to_metadata(), default=np.ndarray.tolist)],
    "BaseEstimator": told_estimator,
}  # fmt: skip
CALLBACKS = {
    "EarlyStopping": "patience restore_best min_delta best_epoch best_cost", "Checkpoint": "path every",
    "TensorBoard": "folder", "OptunaPruning": "trial monitor", "Halting": "epochs seen",
}  # fmt: skip
OPTIMIZERS = {"network-sgd": fb.SGD(0.1, momentum=0.9), "network-scheduled": fb.AdamW(SCHEDULE, clip_norm=1.0)}


def continued(name, x):
    """What the object of that name comes to; None where nothing follows from it."""
    if name == "network-by-hand":
        x.step(fb.RMSprop(0.01))
        return told(x)
    if isinstance(x, fb.Sequential):
        x.fit(X, Y, epochs=2, optimizer=OPTIMIZERS.get(name, "adam"), **CLASSIFIER)
        return told(x.parameters)
    if name.startswith("layer-dense") or name == "layer-custom":
        out = x.forward(X[:, : x.inputs])
        return [told(out), told(x.backward(np.ones_like(out)))]
    if name.startswith("layer-of-network"):
        return told(x.network.predict(X))
    if name == "early-stopping-used":
        fitted(plain(seed=2), callbacks=x)
        return told(x)
    if name in ("classifier", "regressor"):
        return told(x.partial_fit(X, T if name == "regressor" else np.array(["a", "b", "c"])[Y]))
    return None


# ----------------------------------------------------------------------------------------------------- model files, fits

MODELS = {
    "model": lambda folder: fitted(plain(seed=11)),
    "model-float64": lambda folder: fb.Sequential(
        fb.Dense(5, 4, "selu", bias=False), fb.Dense(4, 4, "softplus"), fb.Dense(4, 1), dtype="float64", seed=12
    ),
    "model-of-a-table": lambda folder: with_recipe(folder),
}  # fmt: skip


def with_recipe(folder):
    net = fb.Sequential(fb.Dense(4, 3, "tanh"), fb.Dense(3, 1), seed=13)
    net.metadata = {"recipe": json.loads(json.dumps(recipe(folder).to_metadata()))}
    return net


def told_model(net):
    again = net.metadata.get("recipe")
    from fastbp.datasets import Recipe

    outputs = told(net.predict(X[:, : net.inputs]))
    return [
        repr(net),
        net.seed,
        net.metadata,
        told(net.parameters),
        outputs,
        again and told(Recipe.from_metadata(again)),
    ]


class Killing(fb.Callback):
    """Ends the process in the midst of the fourth epoch's callbacks."""

    def __init__(self, kills):
        self.kills = kills

    def on_epoch_end(self, net, history):
        if self.kills and len(history.cost) == 4:
            os._exit(9)


def fit_of_rows(path, kills):
    net = fitted(plain(seed=21))
    optimizer = fb.AdamW(SCHEDULE, weight_decay=0.1)
    callbacks = [fb.EarlyStopping(9), users.Halting(6), Killing(kills), fb.Checkpoint(path)]
    validation = {"validation_data": (X[:6], Y[:6]), "metrics": ["accuracy"]}
    net.fit(X, Y, epochs=9, optimizer=optimizer, callbacks=callbacks, **validation, **CLASSIFIER)
    return net


def fit_of_minibatches(path, kills):
    net = plain(seed=22, dtype="float64")
    batches = [(X[k : k + 6], Y[k : k + 6]) for k in range(0, 24, 6)]
    callbacks = [Killing(kills), fb.Checkpoint(path, every=2)]
    net.fit(batches, epochs=6, optimizer=fb.SGD(0.1, momentum=0.5), callbacks=callbacks)
    return net


FITS = {"killed-rows": fit_of_rows, "killed-minibatches": fit_of_minibatches}


def told_fit(net):
    """All but the seconds."""
    series = {name: values for name, values in net.history.series().items() if name != "seconds"}
    return [told(net.parameters), net.epochs_shuffled, net.history.steps, series]
