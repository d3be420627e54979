"""How many threads share a piece of work: what it is worth by its size, and what its Pace says."""

from fastbp.compiler.code import code
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call
from fastbp.parallel.clock import nanoseconds
from fastbp.parallel.pace import note, pace_of, shares
from fastbp.parallel.region import run, threads_now
from fastbp.parallel.team import TEAM, open_team

SERIAL_BELOW = 1.0e6  # floating-point operations: below, waking a second thread costs more than it saves
TEAM_SERIAL_BELOW = 0.2e6  # the same where the second thread is awake, in a team


def shareable_flops(flops, rows):
    """Of a product of so many operations a sample, discounted where it has few samples and waits for its weights: a second
    thread saves 10 % at 64-64-10 in minibatches of 32, but costs 7 % at 128-128-10 in minibatches of 8."""
    return flops * rows * rows / (rows + 8)


shareable = inner(shareable_flops)


@inner
def most_parts(flops):
    """How many members of a team may share work of so many floating-point operations."""
    return 1 if flops < TEAM_SERIAL_BELOW else int(flops / (0.5 * TEAM_SERIAL_BELOW))


@inner
def parts_for(flops, region):
    """How many parts to split work of so many floating-point operations into."""
    if region & TEAM:
        return min(threads_now(region), most_parts(flops))
    if region == 0 or flops < SERIAL_BELOW:
        return 1
    return max(1, min(threads_now(region), int(flops / (0.5 * SERIAL_BELOW))))


@inner
def opens_region(flops, region):
    """Whether work of so many floating-point operations may have to wait for threads that do not wait for it."""
    return region & TEAM == 0 and parts_for(flops, region) > 1


@inner
def share_out(region, body, args, flops):
    """body(args, part, parts), in as many parts as that many floating-point operations are worth."""
    share_out_as(body, region, body, args, flops)


@inner
def share_out_as(kind, region, body, args, flops):
    """The same where the body does not tell which kind of work it is."""
    if opens_region(flops, region):
        call(share_at_pace(), (kind, region, body, args, int(flops)))
    else:
        run(region, body, args, parts_for(flops, region))


@code
def share_at_pace(kind, region, body, args, flops):
    """share_at_pace(kind, region, body, args, flops): as share_out, or on one thread where that has been faster of late."""
    pace, began = call(pace_of(), (kind, flops, 0, 0, flops)), nanoseconds()
    shared = shares(pace, began)
    run(region, body, args, parts_for(float(flops), region) if shared else 1)
    call(note(), (pace, shared, began, nanoseconds(), flops))
    return 0


@inner
def lead_at_pace(pace, work, team, threads, code, args, region):
    """code(args, region') in a team (see `open_team`), or code(args, 0) where that has been faster of late; the nanoseconds
    that so many units of work took."""
    began = nanoseconds()
    shared = shares(pace, began)
    if shared:
        open_team(team, threads, code, args, region)
    else:
        call(code, (args, 0))
    now = nanoseconds()
    call(note(), (pace, shared, began, now, work))
    return now - began
