"""A little memory on the stack, for what a body writes and reads back."""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastbp._llvm import I64

ROOM = 512  # bytes


@intrinsic
def stack_room(typingctx):
    """The address of `ROOM` bytes; they live as long as the calling function runs."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(cgutils.alloca_once(builder, I64, ROOM // 8), I64)

    return types.int64(), codegen
