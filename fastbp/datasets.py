"""Data sets in files: scikit-learn's digits, tables, npz; and the recipe that takes their rows to a network and back."""

from fastbp.data.files import Dataset, load_csv, load_digits, load_features, load_npz
from fastbp.data.recipe import Recipe

__all__ = ["Dataset", "Recipe", "load_csv", "load_digits", "load_features", "load_npz"]
