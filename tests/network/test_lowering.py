"""Networks as tables: another architecture is other numbers in a table, and nothing to compile."""

import pytest

FITS = """
    import numpy as np, fastbp as fb
    from numba.core import event
    from fastbp import _code

    compiled = []
    compile_uncached = _code._CodeFunction._compile_uncached

    def noted(self):
        compiled.append(self._pyfunc.__name__)
        return compile_uncached(self)

    _code._CodeFunction._compile_uncached = noted

    def fit(sizes, rows, batch, dtype="{dtype}", optimizer={optimizer}, dropout={dropout}):
        layers = []
        for i, (n, m) in enumerate(zip(sizes, sizes[1:])):
            layers += [fb.Dropout(0.1)] * (dropout and i == 1)
            layers.append(fb.Dense(n, m, "tanh" if i < len(sizes) - 2 else "identity"))
        net = fb.Sequential(*layers, dtype=dtype)
        x, y = np.random.default_rng(0).standard_normal((rows, sizes[0])).astype("float32"), np.arange(rows) % sizes[-1]
        net.fit(x, y, optimizer=optimizer, batch_size=batch, epochs=2)

    def events(*arguments, **settings):
        with event.install_recorder("numba:compile") as recorder:
            fit(*arguments, **settings)
        return len(recorder.buffer)

    first = events((300, 256, 10), 300, 128)  # shared among threads: the parallel region is compiled when first needed
    print(first, len(compiled))
    del compiled[:]
    print(
        events((301, 203, 67, 11), 300, 77)  # shared, too, and one layer more
        + events((1, 2), 5, 2)  # a layer alone
        + events((70, 20, 31, 44, 5, 9), 9, 40)  # a single minibatch
        + events((5, 7, 3), 20, 8)
        + events((5, 7, 3), 700, 700),  # gradients are stored
        compiled,
    )
    print(events((5, 7, 3), 20, 8, dtype="{other}"), len(compiled))
"""


@pytest.mark.parametrize(
    ("dtype", "other", "optimizer", "dropout"),
    [("float32", "float64", "fb.Adam(0.01, weight_decay=0.1)", True), ("float64", "float32", "fb.SGD(0.1)", False)],
)
def test_another_architecture_compiles_nothing(dtype, other, optimizer, dropout, run_python, tmp_path):
    """With an empty cache, after a network of the same activations, cost, optimizer and dtype; another dtype does compile."""
    code = FITS.format(dtype=dtype, other=other, optimizer=optimizer, dropout=dropout)
    first, second, third = run_python(code, cache=tmp_path).stdout.splitlines()
    assert all(int(count) > 0 for count in first.split())
    assert second == "0 []"
    assert all(int(count) > 0 for count in third.split())
