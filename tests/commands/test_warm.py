"""Compiling ahead: after it nothing of fastbp's is compiled, whatever part of the public face is used."""

import numpy as np

from fastbp.commands import warm_up

# Once everything was compiled ahead, whatever asks the cache for more is something that was forgotten.
PRELUDE = """
    import numpy as np
    from numba import njit
    import fastbp as fb
    from fastbp import engine, kernels
    from fastbp.commands import warm_up
    from fastbp.compiler.cache import PackageCache
    from fastbp.inspect import probe

    said, missed = [], []
    warm_up.compile_all(("float32",), report=said.append)
    load = PackageCache.load_overload
    PackageCache.load_overload = lambda self, sig, context: (missed.append((self._name, sig)), load(self, sig, context))[1]

    F = np.float32
    x, labels = np.random.default_rng(0).random((12, 3)).astype(F), np.arange(12) % 4
    z, targets = np.full((12, 4), 0.25, F), np.full((12, 4), 0.25, F)

    def network(activation="relu", last="identity"):
        return fb.Sequential(fb.Dense(3, 5, activation), fb.Dropout(0.1), fb.Scale(), fb.Dense(5, 4, last))
"""
USES = {
    "every optimizer, clipped or not": """
    for kind in (fb.SGD, fb.Adam, fb.AdamW, fb.RMSprop, fb.Adagrad):
        for settings in ({}, {"clip_norm": 1.0}, {"clip_value": 1.0}):
            network().fit(x, labels, optimizer=kind(0.01, **settings), epochs=1)
    network().fit(x, labels, optimizer=fb.SGD(0.01, momentum=0.9, nesterov=True))
    """,
    "every cost and activation": """
    for name in ("negative_log_likelihood", "binary_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber",
                 "poisson", "quantile", "softmax_cross_entropy"):
        last = "sigmoid" if name == "negative_log_likelihood" else "identity"
        network("tanh", last).fit(x, targets, loss=name, sample_weight=np.ones(12), validation_data=(x, targets))
        getattr(fb.losses, name)(z, targets)
    for name in fb.activations.names:
        network(name).fit(x, labels)
    """,
    "whole data, by hand, many": """
    net = network()
    net.fit(x, labels, validation_data=(x, labels), metrics=("accuracy",), callbacks=[fb.EarlyStopping(2)], epochs=2)
    net.fit([(x, labels)])
    net.fit(x.astype(np.float64), labels.astype(np.uint8), shuffle=False)
    for rows in (x, x[:1], x.astype(np.float64), x.astype(np.uint8)):
        net.predict(rows), net.predict(rows)
    net.evaluate(x, labels, sample_weight=np.ones(12))
    net.backward(net.forward(x), input_delta=True)
    net.step("sgd")
    fb.fit_many([network(), network()], x, labels, validation_data=(x, labels), early_stopping=fb.EarlyStopping(2))
    fb.check_gradients(network(), x, labels, "softmax_cross_entropy")
    large = fb.Sequential(fb.Dense(3, 512), fb.Dense(512, 512), fb.Dense(512, 4))
    large.fit(np.tile(x, (50, 1)), np.tile(labels, 50), batch_size=128)
    large.predict(np.tile(x, (50, 1)))
    probe.SECONDS = 0.0
    net.explain(8)
    """,
    "kernels, with arrays of any strides": """
    def forms(a):
        twice = np.repeat(np.repeat(a, 2, 0), 2, -1)
        return a, np.asfortranarray(a), twice[tuple(slice(None, None, 2) for _ in a.shape)]

    w, b, relu = np.ones((4, 3), F), np.ones(4, F), fb.Activation.RELU
    for module in (kernels, kernels.serial):
        for a, d, s in zip(forms(x), forms(z), forms(targets.copy())):
            module.dense_forward(a, w, b, relu), module.dense_forward(a, w, b, relu, d), module.dense_forward(a, w, None, relu)
            module.dense_forward(a, w, b, relu, d, s)
            module.propagate_delta(d, w, a, relu), module.propagate_delta(d, w, a, relu, np.empty_like(a))
            module.weight_gradient(d, a), module.weight_gradient(d, a, w, True), module.bias_gradient(d)
            module.bias_gradient(d, b, accumulate=True)
            module.activate(d, relu), module.activate(d, relu, s), module.activation_delta(d, s, relu)
            module.activation_delta(d, s, relu, d), module.softmax(d), module.softmax(d, s)
        for a, d in zip(forms(np.full((12, 4), 0.25, F)), forms(targets)):
            for name in ("negative_log_likelihood", "binary_cross_entropy", "mean_squared_error", "mean_absolute_error",
                         "huber", "poisson", "quantile", "softmax_cross_entropy"):
                cost = getattr(module, name)
                cost(a, d), cost(a, d, np.empty((12, 4), F)), cost(a, d, sample_weight=np.ones(12, F))
            for cost in (module.softmax_cross_entropy, module.negative_log_likelihood):
                cost(a, labels), cost(a, labels, np.empty((12, 4), F)), cost(a, labels, None, np.ones(12, F))
        p, g, m, v = (np.ones(5, F) for _ in range(4))
        module.sgd_step(p, g, 0.1), module.momentum_step(p, g, m, 0.1), module.momentum_step(p, g, m, 0.1, nesterov=True)
        module.adam_step(p, g, m, v, 1, 0.1), module.adamw_step(p, g, m, v, 1, 0.1)
        module.rmsprop_step(p, g, v, 0.1), module.adagrad_step(p, g, v, 0.1, weight_decay=0.1)
        module.clip_by_norm(g, 1.0), module.clip_by_value(g, 1.0)
    """,
    "verbs": """
    net = network()
    training = net.training("softmax_cross_entropy", "adam", 12)
    for module in (engine, engine.serial):
        for rows in (x, np.asfortranarray(x), x.astype(np.float64)):
            module.train_step(training, rows, labels), module.train_epoch(training, rows, labels)
            module.evaluate(training, rows, labels), module.predict(training, rows), module.forward(training, rows)
        module.train_step(training, x, targets, np.ones(12, F)), module.train_epoch(training, x, labels, np.arange(12))
        module.predict(training, x, z), module.forward(training, x, z), module.backward(training, z)
        module.backward(training, z, np.empty_like(x)), module.step(training)
    """,
    "within compiled code": """
    @njit
    def loop(training, x, labels, targets, order, out, w, b, weights):
        cost = engine.train_step(training, x[:4], labels[:4]) + engine.train_epoch(training, x, targets)
        cost += engine.train_epoch(training, x, labels, order) + engine.evaluate(training, x, labels)
        cost += engine.train_step(training, x, labels, weights) + engine.serial.train_step(training, x, labels)
        engine.backward(training, engine.forward(training, x))
        engine.predict(training, x, out)
        engine.step(training)
        z = kernels.dense_forward(x, w, b, fb.Activation.RELU)
        delta = kernels.softmax_cross_entropy(z, labels)[1]
        kernels.mean_squared_error(z, targets, delta)
        kernels.weight_gradient(delta, x, w)
        kernels.weight_gradient(delta, x, w, True)
        kernels.bias_gradient(kernels.softmax(delta))
        kernels.sgd_step(w.ravel(), kernels.serial.weight_gradient(delta, x).ravel(), 0.1)
        kernels.clip_by_norm(b, 1.0)
        return cost

    training = network().training("softmax_cross_entropy", "adam", 12)
    loop(training, x, labels, targets, np.arange(12), z, np.ones((4, 3), F), np.ones(4, F), np.ones(12, F))
    """,
    "estimators": """
    import warnings
    from fastbp.sklearn import MLPClassifier, MLPRegressor

    warnings.simplefilter("ignore")
    for solver in ("adam", "sgd", "lbfgs"):
        for settings in ({}, {"early_stopping": solver != "lbfgs", "validation_fraction": 0.3}):
            e = MLPClassifier((5,), solver=solver, max_iter=3, **settings).fit(x, labels % 2)
            e.predict_proba(x), e.predict(x)
            MLPRegressor(hidden_layer_sizes=(5,), solver=solver, max_iter=3).fit(x, targets[:, 0]).predict(x)
    """,
}


def test_after_it_nothing_compiles(run_python):
    code = PRELUDE + "".join(f"{use}\n    print({name!r}, missed)\n    missed.clear()\n" for name, use in USES.items())
    done = run_python(code, cache=None, timeout=600)
    assert done.stdout.splitlines() == [f"{name} []" for name in USES]


def test_it_says_what_took_how_long(monkeypatch):
    monkeypatch.setattr(warm_up, "PARTS", {"operations": lambda dtype: None, "kernels": lambda dtype: None})
    said = []
    warm_up.compile_all(("float32", "float64"), report=said.append)
    parts = [f"{dtype} {part}" for dtype in ("float32", "float64") for part in ("operations", "kernels")]
    assert said == [f"{part}: 0.0 s" for part in parts]


def test_every_kernel_and_every_verb_is_called():
    from fastbp import engine, kernels

    calls = [*warm_up.kernel_calls("float32"), *warm_up.cost_calls("float32")]
    assert {name for name, *_ in calls} == set(kernels.__all__) - {"serial"}
    verbs = warm_up.verb_calls(None, np.zeros((2, 2)), np.zeros(2, np.int64))
    assert {name for name, *_ in verbs} == set(engine.__all__) - {"serial"}
