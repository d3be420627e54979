"""Programs to read and run: `python -m fastbp.examples.cartpole`."""
