"""A team of threads that stay in one parallel region and wait for work: a job costs a third of a microsecond to deal, where
entering a region costs two or more.

One member leads: it runs the code it was given, in which `region.run` hands jobs to the team. The others serve. Each waits
for the job's number to change, claims the part that bears its own number, works, and reports. Parts that a member has not
claimed when the leader is done with its own the leader does itself, so nobody ever waits for a thread that has not begun: not
when the system gives its core to another program, and not when the threading layer runs the parts of the region one after the
other. For the same reason the thread that enters first leads, but with OpenMP only the thread that opened the team, which is
sure to enter: what is a thread's own, like numba's random numbers in an operation of the user's, stays that of the caller.
"""

from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code
from fastbp.compiler.jit import inner
from fastbp.compiler.live import CALLER_TAKES_PART, THREAD_IDENT, YIELD, state
from fastbp.compiler.llvm import atomic_read, atomic_write, call, exchange_if, fetch, on_stack, pause, read, write
from fastbp.parallel.parts import CACHE_LINE

# Places in a team's memory. JOB: number of the job << 16 | its parts; CLOSED when there will be no more.
JOB, SIZE, BODY, ARGS, LED, SEATS = 0, CACHE_LINE, CACHE_LINE + 8, CACHE_LINE + 16, 2 * CACHE_LINE, 3 * CACHE_LINE
CLOSED = -1
TEAM = 1  # a region's address with this bit is that of a team's memory
SPINS = 2000  # some 50 us, then a waiting thread offers its core to others at every turn


def team_bytes(threads: int) -> int:
    """Return the bytes of memory of a team of `threads`, at a cache line: a seat for each."""
    return SEATS + CACHE_LINE * threads


@inner
def seat(team, member):
    """Where a member notes 2 * job when it has claimed its part of that job, 2 * job + 1 when that part is done."""
    return team + SEATS + CACHE_LINE * member


@inner
def rest(turn):
    """Wait for one turn."""
    if turn < SPINS:
        pause()
    else:
        call(state(YIELD), ())
    return turn + 1


@inner
def claim(team, member, job):
    """Take the part of that number, unless it is taken: the seat must hold an earlier job's mark, otherwise the claim
    fails."""
    mark = atomic_read(seat(team, member))
    return mark < 2 * job and exchange_if(seat(team, member), mark, 2 * job)


@code
def deal_to_team(team, body, args, parts):
    """deal_to_team(team, body, args, parts): body(args, part, parts) for each part below `parts`, shared among the team."""
    job = (atomic_read(team + JOB) >> 16) + 1
    write(team + BODY, body)
    write(team + ARGS, args)
    atomic_write(team + JOB, job << 16 | parts)
    call(body, (args, 0, parts))
    for part in range(1, parts):
        if claim(team, part, job):
            call(body, (args, part, parts))
            atomic_write(seat(team, part), 2 * job + 1)
    for part in range(1, parts):
        turn = 0
        while atomic_read(seat(team, part)) != 2 * job + 1:
            turn = rest(turn)
    return 0


@inner
def serve(team, member):
    """Take part in job after job until the team is closed."""
    seen, turn = 0, 0
    while seen != CLOSED:
        posted = atomic_read(team + JOB)
        if posted == seen:
            turn = rest(turn)
            continue
        seen, turn = posted, 0
        job, parts = posted >> 16, posted & 0xFFFF
        if posted != CLOSED and member < parts and claim(team, member, job):
            call(read(team + BODY, np.int64), (read(team + ARGS, np.int64), member, parts))
            atomic_write(seat(team, member), 2 * job + 1)


class Lead(NamedTuple):
    """What a team is opened for: code(args, region)."""

    team: int
    code: int
    args: int
    thread: int  # that must lead; 0: any


@code
def take_part(args, part, parts):
    """take_part(args, part, parts): lead the team of the Lead at `args`, or serve it."""
    lead = fetch(Lead, args)
    may_lead = part == 0 or lead.thread == 0 or call(state(THREAD_IDENT), ()) == lead.thread
    if may_lead and exchange_if(lead.team + LED, 0, part + 1):
        call(lead.code, (lead.args, lead.team | TEAM))
        atomic_write(lead.team + JOB, CLOSED)
    else:  # the leader does part 0 of every job: one that came as part 0 too late sits in the seat left empty
        serve(lead.team, part if part > 0 else atomic_read(lead.team + LED) - 1)
    return 0


@inner
def open_team(team, threads, code, args, region):
    """Run code(args, region') in a team of `threads`, which meet in `region`; region' stands for the team."""
    for member in range(threads):
        write(seat(team, member), 0)
    write(team + JOB, 0)
    write(team + LED, 0)
    write(team + SIZE, threads)
    thread = call(state(THREAD_IDENT), ()) if state(CALLER_TAKES_PART) != 0 else 0
    call(region, (take_part(), on_stack(Lead(team, code, args, thread)), threads))
