"""How many threads share a piece of work: decided by its size, and by what its Account says."""

from fastbp.compiler.code import code
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call
from fastbp.parallel.clock import nanoseconds
from fastbp.parallel.region import run, threads_now
from fastbp.parallel.sharing_account import account_of, note, shares
from fastbp.parallel.team import TEAM, open_team

SERIAL_BELOW = 1.0e6  # floating-point operations: below, waking a second thread costs more than it saves
TEAM_SERIAL_BELOW = 0.2e6  # the same where the second thread is awake, in a team


def shareable_flops(flops, rows):
    """Return the floating-point operations worth sharing in a product of `flops` a sample: fewer in small minibatches,
    which wait for the weights. A second thread saves 10 % at 64-64-10 in minibatches of 32, but costs 7 % at 128-128-10 in
    minibatches of 8."""
    return flops * rows * rows / (rows + 8)


shareable = inner(shareable_flops)


@inner
def most_parts(flops):
    """Return how many members of a team may share work of `flops` floating-point operations."""
    return 1 if flops < TEAM_SERIAL_BELOW else int(flops / (0.5 * TEAM_SERIAL_BELOW))


@inner
def parts_for(flops, region):
    """Return how many parts to split work of `flops` floating-point operations into."""
    if region & TEAM:
        return min(threads_now(region), most_parts(flops))
    if region == 0 or flops < SERIAL_BELOW:
        return 1
    return max(1, min(threads_now(region), int(flops / (0.5 * SERIAL_BELOW))))


@inner
def opens_region(flops, region):
    """Return whether work of `flops` floating-point operations may have to wait for threads that do not wait for it."""
    return region & TEAM == 0 and parts_for(flops, region) > 1


@inner
def share_out(region, body, args, flops):
    """Run body(args, part, parts) in as many parts as work of `flops` floating-point operations is worth."""
    share_out_as(body, region, body, args, flops)


@inner
def share_out_as(kind, region, body, args, flops):
    """Run `body` as `share_out` does, where `kind` tells which kind of work it is, and `body` does not."""
    if opens_region(flops, region):
        call(share_if_faster(), (kind, region, body, args, int(flops)))
    else:
        run(region, body, args, parts_for(flops, region))


@code
def share_if_faster(kind, region, body, args, flops):
    """share_if_faster(kind, region, body, args, flops): as share_out, or on one thread where that has been faster of late."""
    account, began = call(account_of(), (kind, flops, 0, 0, flops)), nanoseconds()
    shared = shares(account, began)
    run(region, body, args, parts_for(float(flops), region) if shared else 1)
    call(note(), (account, shared, began, nanoseconds(), flops))
    return 0


@inner
def lead_if_faster(account, work, team, threads, code, args, region):
    """Run code(args, region') in a team (see `open_team`), or code(args, 0) where that has been faster of late; returns the
    nanoseconds that the `work` units of work took."""
    began = nanoseconds()
    shared = shares(account, began)
    if shared:
        open_team(team, threads, code, args, region)
    else:
        call(code, (args, 0))
    now = nanoseconds()
    call(note(), (account, shared, began, now, work))
    return now - began
