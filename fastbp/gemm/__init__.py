"""Matrix products at the limit of the CPU: the register tile, packing, the loops around them, and the parallel region."""
