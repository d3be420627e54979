"""One code of a family, by its name: the code alone is compiled, where `family(x, number)` compiles them all."""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from fastbp._jit import dtype_name


def single(family: Any, name: str) -> Callable[[Any], int]:
    """In compiled code `single(family, name)(x)` is the address of the code of that name for the dtype of x."""

    @intrinsic
    def address(typingctx, x):
        found = family.of(dtype_name(x), name)
        return types.int64(x), lambda context, builder, signature, args: found.emit_address(context, builder)

    return address
