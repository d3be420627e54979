"""Pictures: what is drawn where; how they look is for eyes."""

import pickle
import sys
from types import ModuleType

import numpy as np
import pytest

import fastbp as fb
from fastbp.training.history import History

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    matplotlib.pyplot.close("all")


def drawn(ax):
    """The lines of the axes and of their twin, by label."""
    return {line.get_label(): line.get_ydata().tolist() for axes in ax.figure.axes for line in axes.lines}


class TestHistory:
    def test_it_draws_costs_and_the_learning_rate(self):
        history = History([3.0, 2.0], [4.0, 3.5], {}, [0.1, 0.05], [1.0, 1.0])
        ax = history.plot()
        lines = {"cost": [3.0, 2.0], "validation cost": [4.0, 3.5], "learning rate": [0.1, 0.05]}
        assert drawn(ax) == lines
        assert [text.get_text() for text in ax.get_legend().get_texts()] == list(lines)
        assert ax.lines[0].get_xdata().tolist() == [1, 2]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "cost")
        assert ax.figure.axes[1].get_ylabel() == "learning rate"

    def test_it_draws_into_axes_of_the_users(self):
        _, axes = matplotlib.pyplot.subplots(1, 2)
        assert History([1.0], learning_rate=[0.1]).plot(axes[1]) is axes[1]
        assert not axes[0].lines

    @pytest.mark.parametrize(
        ("values", "scale"),
        [([2.0, 1.0], "linear"), ([2.0, 0.05], "log"), ([2.0, 0.0], "linear"), ([2.0, -1.0], "linear"),
         ([2.0, 1e-9], "linear"), ([np.nan, 1.0], "linear"), ([np.inf, 2.0, 0.05], "log")],
    )  # fmt: skip
    def test_scales(self, values, scale):
        assert History(values).plot().get_yscale() == scale

    def test_the_learning_rate_has_a_scale_of_its_own(self):
        ax = History([2.0, 1.0], learning_rate=[0.1, 0.001]).plot()
        assert [axes.get_yscale() for axes in ax.figure.axes] == ["linear", "log"]

    def test_a_fit_that_was_interrupted_at_once(self, tmp_path):
        ax = History().plot()
        ax.figure.savefig(tmp_path / "nothing.png")
        assert drawn(ax) == {"learning rate": []}


class TestWeights:
    def test_images_lie_in_tiles(self, tmp_path):
        layer = fb.Dense(64, 7, seed=0)
        figure = fb.plot.weights(layer)
        image = figure.axes[0].images[0].get_array()
        assert image.shape == (3 * 9 - 1, 3 * 9 - 1)
        np.testing.assert_allclose(image[:8, 9:17], layer.weight[1].reshape(8, 8))
        np.testing.assert_allclose(image[18:26, :8], layer.weight[6].reshape(8, 8))
        assert image.mask[8].all()
        figure.savefig(tmp_path / "weights.png")

    def test_of_colours_and_of_a_given_shape(self, tmp_path):
        figure = fb.plot.weights(fb.Sequential(fb.Dense(4 * 5 * 3, 2)), shape=(4, 5, 3))
        assert figure.axes[0].images[0].get_array().shape[2] == 3
        figure.savefig(tmp_path / "weights.png")
        assert "64 of 70" in fb.plot.weights(fb.Dense(12, 70), (3, 4)).axes[0].get_title()

    @pytest.mark.parametrize(("inputs", "shape"), [(20, None), (49, None), (64, ())])
    def test_heat_maps_of_every_layer(self, inputs, shape):
        net = fb.Sequential(fb.Dense(inputs, 5, "relu"), fb.Dropout(0.5), fb.Dense(5, 2))
        first, second, _ = fb.plot.weights(net, shape).axes
        assert first.images[0].get_array().shape == (5, inputs)
        np.testing.assert_array_equal(second.images[0].get_array(), net.layers[2].weight)
        assert first.images[0].get_clim() == second.images[0].get_clim()
        assert first.get_title() == f"{inputs}-5 relu"

    @pytest.mark.parametrize("shape", [(3, 3), (2, 2, 5), (20,), (4, 5, 1)])
    def test_a_shape_that_does_not_fit(self, shape):
        with pytest.raises(ValueError, match=r"shape: got .*, expected \(height, width\)"):
            fb.plot.weights(fb.Dense(20, 2), shape)

    def test_what_has_no_weights(self):
        with pytest.raises(ValueError, match="net: got Dropout"):
            fb.plot.weights(fb.Dropout(0.5))


class TestNotebook:
    @pytest.fixture
    def shown(self, monkeypatch):
        """What IPython is asked to display, IPython being a stand-in."""
        shown = []
        module = ModuleType("IPython.display")
        module.display = shown.append
        monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
        monkeypatch.setitem(sys.modules, "IPython.display", module)
        return shown

    def test_a_figure_that_a_cell_returns_is_shown_once(self, shown, monkeypatch):
        monkeypatch.setattr(matplotlib.pyplot, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
        figure = fb.plot.weights(fb.Dense(12, 3))
        figure._ipython_display_()  # of the cell's value
        assert shown == [figure]
        assert not matplotlib.pyplot.get_fignums()  # what that backend shows at the end of the cell
        assert not hasattr(figure, "_ipython_display_")  # in a later cell it is shown like any other

    def test_other_backends_keep_it(self, shown):
        figure = fb.plot.weights(fb.Dense(12, 3))
        figure._ipython_display_()
        assert shown == [figure]
        assert matplotlib.pyplot.get_fignums() == [figure.number]

    def test_it_can_be_sent(self):
        figure = pickle.loads(pickle.dumps(fb.plot.weights(fb.Dense(12, 3))))
        assert figure.axes[0].get_title() == "12-3 identity"


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.delattr(matplotlib, "pyplot", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[plot\]'"):
        History([1.0]).plot()
