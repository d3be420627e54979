"""The most memory that a process holds; `peakmem_nothing` is what Python, numba and the suite hold by themselves."""

import numpy as np

from benchmarks.cases import FAST, Workload, draw, use_threads


class Memory:
    params = (("4-32-2",) if FAST else ("4-32-2", "784-3000-3000-10"),)
    param_names = ("layers",)

    def peakmem_nothing(self, layers):
        pass

    def peakmem_fit(self, layers):
        self.fit(layers)

    def peakmem_predict(self, layers):
        use_threads("all")
        net = Workload.named(f"{layers} b128 relu adam float32").network()
        return net.predict(draw(10_000, net.inputs))

    def fit(self, layers):
        use_threads("all")
        w = Workload.named(f"{layers} b128 relu adam float32")
        net, (x, y) = w.network(), w.data(4)
        return net.fit(x, y, optimizer="adam", batch_size=w.batch_size)

    def check(self, layers):
        assert np.isfinite(self.fit(layers).cost).all()
        assert np.isfinite(self.peakmem_predict(layers)).all()
