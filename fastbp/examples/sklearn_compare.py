"""fastbp.sklearn beside scikit-learn with the same parameters: `python -m fastbp.examples.sklearn_compare`.

Scores: the same folds and the same `random_state` for both, so that they begin with the same weights and differ in the order
of their minibatches alone; per seed the mean over the folds; the differences of the seeds' means are compared with 0 by a
paired t test. Seconds: of `fit` on all rows, all default parameters, each side with one thread and with all, whichever is
faster for it; the least of some repetitions in turns.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import scipy.stats
from sklearn import datasets, neural_network
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

import fastbp.sklearn


class Case(NamedTuple):
    name: str
    load: Callable[[], tuple[np.ndarray, np.ndarray]]
    classifies: bool

    def pair(self, seed: int) -> tuple[Any, Any]:
        """Return fastbp's estimator and scikit-learn's."""
        kind = "MLPClassifier" if self.classifies else "MLPRegressor"
        return tuple(getattr(module, kind)(random_state=seed) for module in (fastbp.sklearn, neural_network))

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x, in columns of mean 0 and deviation 1, and y."""
        x, y = self.load()
        return scale(x), y


def california_like(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Make eight skewed columns and a price with a ceiling, as in the census of California's houses, out of random numbers."""
    rng = np.random.default_rng(0)
    income, rooms, people = rng.lognormal(1.2, 0.5, rows), rng.lognormal(1.6, 0.3, rows), rng.lognormal(1.0, 0.3, rows)
    age, population = rng.integers(1, 53, rows), rng.lognormal(7.0, 0.8, rows)
    north, east = rng.uniform(32.5, 42.0, rows), rng.uniform(-124.5, -114.0, rows)
    coast = np.exp(-np.abs(east + 124.5 - 1.1 * (42.0 - north)))
    price = 0.45 * income + 0.1 * rooms - 0.2 * people + 0.005 * age + 1.2 * coast + 0.3 * rng.standard_normal(rows)
    x = np.column_stack(
        [income, age, rooms, rooms / 5 + 0.1 * rng.standard_normal(rows), population, people, north, east]
    )
    return x, np.minimum(price, 5.0)


CASES = (
    Case("digits", lambda: datasets.load_digits(return_X_y=True), True),
    Case("breast cancer", lambda: datasets.load_breast_cancer(return_X_y=True), True),
    Case("wine", lambda: datasets.load_wine(return_X_y=True), True),
    Case("iris", lambda: datasets.load_iris(return_X_y=True), True),
    Case("diabetes", lambda: datasets.load_diabetes(return_X_y=True), False),
    Case("california-like", california_like, False),
)


class Fastest(NamedTuple):
    """The shortest time of a fit, and its number of threads."""

    seconds: float
    threads: int

    def __str__(self) -> str:
        return f"{self.seconds:8.4f} s ({self.threads} thread{'s' * (self.threads > 1)})"


def seconds(estimator: Any, x: np.ndarray, y: np.ndarray, threads: int) -> float:
    numba.set_num_threads(threads)  # fastbp's
    with threadpool_limits(threads):  # BLAS's, scikit-learn's
        began = time.perf_counter()
        estimator.fit(x, y)
        return time.perf_counter() - began


def timed(case: Case, repetitions: int) -> tuple[Fastest, Fastest]:
    """Time fastbp's fit and scikit-learn's, each with the number of threads that suits it."""
    (x, y), pair = case.data(), case.pair(0)
    counts = sorted({1, numba.get_num_threads()})
    seconds(pair[0], x, y, counts[-1])  # compiles, or loads what was compiled
    runs = [[[seconds(e, x, y, count) for count in counts] for e in pair] for _ in range(repetitions)]
    ours, theirs = (Fastest(float(row.min()), counts[int(row.argmin())]) for row in np.min(runs, axis=0))
    return ours, theirs


def scored(case: Case, seeds: int, folds: int) -> np.ndarray:
    """Return mean scores over the folds, (2, seeds)."""
    (x, y), kind = case.data(), StratifiedKFold if case.classifies else KFold
    return np.array(
        [
            [cross_val_score(e, x, y, cv=kind(folds, shuffle=True, random_state=seed)).mean() for e in case.pair(seed)]
            for seed in range(seeds)
        ]
    ).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="0: no scores")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3, help="0: no seconds")
    parser.add_argument("names", nargs="*", help="of data sets; all by default")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of fits that did not converge in 200 epochs
    ratios = []
    for case in CASES:
        if options.names and case.name not in options.names:
            continue
        line = f"{case.name:16s}"
        if options.repetitions:
            ours, theirs = timed(case, options.repetitions)
            ratios.append(theirs.seconds / ours.seconds)
            line += f"  fit {ours}, scikit-learn {theirs}, {ratios[-1]:6.1f} times as fast"
        if options.seeds:
            score, reference = scored(case, options.seeds, options.folds)
            p = 1.0 if np.array_equal(score, reference) else scipy.stats.ttest_rel(score, reference).pvalue
            line += (
                f"  score {score.mean():.4f}, scikit-learn {reference.mean():.4f} +- {reference.std():.4f}, p = {p:.2f}"
            )
        print(line, flush=True)
    if ratios:
        print(f"geometric mean: {np.exp(np.mean(np.log(ratios))):.1f} times as fast, at least {min(ratios):.1f}")


if __name__ == "__main__":
    main()
