"""The names of arguments as numbers, which compiled code hands over and the sentences of errors turn back into words."""

NAMES = [""]  # by their number
NO_NAME = 0


def name(words: str) -> int:
    """Return the number of a new name."""
    NAMES.append(words)
    return len(NAMES) - 1


A = name("a")
ACCUMULATE = name("accumulate")
ACTIVATION = name("activation")
B = name("b")
BETA1 = name("beta1")
BETA2 = name("beta2")
DELTA = name("delta")
EPSILON = name("epsilon")
GRADIENTS = name("gradients")
INPUT_DELTA = name("input_delta")
LABEL_SMOOTHING = name("label_smoothing")
LEARNING_RATE = name("learning_rate")
M = name("m")
MOMENTS = name("moments")
MOMENTUM = name("momentum")
NESTEROV = name("nesterov")
NETWORK = name("the network")
NORM = name("norm")
ORDER = name("order")
OUT = name("out")
P = name("p")
PARAMETERS = name("parameters")
QUANTILE = name("quantile")
RHO = name("rho")
SAMPLE_WEIGHT = name("sample_weight")
STEP = name("step")
STORED = name("stored")
TRAINING = name("training")
V = name("v")
VALUE = name("value")
VELOCITY = name("velocity")
W = name("w")
WEIGHT_DECAY = name("weight_decay")
X = name("x")
Y = name("y")
Z = name("z")
