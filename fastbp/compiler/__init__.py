"""Ways into numba: decorators, code by its address, emitted vectors, arguments and faults."""
