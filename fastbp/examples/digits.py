"""From data to a file that other runtimes read: handwritten digits, in a second or two.

    python -m fastbp.examples.digits [FOLDER]

Trains on the 1,797 digits of scikit-learn, chooses the best epoch on rows held out, and writes digits.safetensors, for fastbp
and PyTorch, and digits.onnx, which gives probabilities, to FOLDER. Extras `io`, `data` and `onnx`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fastbp as fb
from fastbp.data import train_validation_split
from fastbp.data.files import load_digits


def main(argv: Sequence[str] | None = None) -> int:
    (folder,) = (sys.argv[1:] if argv is None else argv) or ["."]
    data = load_digits()
    rows, held_out = train_validation_split(len(data.x), 0.2, seed=0, labels=data.y)
    x, y, xv, yv = data.x[rows], data.y[rows], data.x[held_out], data.y[held_out]

    net = fb.Sequential(fb.Dense(64, 128, activation="relu"), fb.Dropout(0.2), fb.Dense(128, 10), seed=0)
    stopping = fb.EarlyStopping(patience=10)
    history = net.fit(
        x, y, optimizer=fb.AdamW(fb.schedules.Cosine(3e-3, epochs=60)), epochs=60,
        validation_data=(xv, yv), callbacks=[stopping],
    )  # fmt: skip
    print(f"{len(history.cost)} epochs in {sum(history.seconds):.2f} s, the best is epoch {stopping.best_epoch}")

    guess = net.predict(xv).argmax(axis=1)
    print(f"accuracy on {len(yv)} rows held out: {np.mean(guess == yv):.4f}, cost {net.evaluate(xv, yv):.4f}")
    wrong = [f"a {was} taken for a {taken}" for was, taken in zip(yv, guess, strict=True) if was != taken]
    print("wrong:", ", ".join(wrong))

    model, exported = Path(folder, "digits.safetensors"), Path(folder, "digits.onnx")
    net.save(model, metadata={"made by": "fastbp.examples.digits"})
    same = np.array_equal(fb.Sequential.load(model).predict(xv), net.predict(xv))
    net.to_onnx(exported, output="softmax")
    print(f"wrote {model} ({'the same bits when read again' if same else 'damaged'}) and {exported}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
