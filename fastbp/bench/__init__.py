"""`python -m fastbp bench`: the time of a step of training, side by side with other libraries on the user's own machine."""
