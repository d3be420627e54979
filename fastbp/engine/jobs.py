"""Many networks at once: each a job, one job to a thread, for a stretch of time.

    train_jobs -> claim_jobs on every thread: the next job nobody has taken -> advance it, until it ends or time is up

A job advances in chunks, of steps or of rows to validate on, and looks at the clock between two of them; what it needs
to go on, on another thread maybe, lies in its Job.
"""

from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code, code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call, fetch, fetch_add, read, write
from fastbp.engine.finite import copy_if_finite
from fastbp.engine.shuffle import SHUFFLE_STREAM, shuffle
from fastbp.engine.steps import AT_PENALTIES, SLICE, Slice, evaluate_slice, train_slice
from fastbp.engine.table import Network
from fastbp.engine.walk import has_raised
from fastbp.parallel.clock import nanoseconds, seconds
from fastbp.parallel.pace import LARGE, know_alone, note, pace_of, shares
from fastbp.parallel.region import run, threads_now

RUNNING, ENDED, NOT_FINITE, RAISED = range(4)  # states of a job; the last: a function of the user's raised something
OTHERS_BRING = 0.25  # what other threads do at least while a thread works, as a share of it, if they do anything


class Job(NamedTuple):
    """The training of one network, and how far it is; addresses of 0 stand for nothing."""

    advance: int  # code, for the network's dtype
    training: int  # address of a Slice
    region: int  # address of the parallel region, for steps that threads share; 0: one thread
    validation: int  # address of a Slice
    rows: int  # address of the int64 numbers of the rows to train on; 0: all
    row_count: int
    validation_count: int
    order: int  # address of room for `row_count` int64, for the epoch's order; 0: the rows are not shuffled
    epochs: int
    steps_per_epoch: int
    steps_at_once: int  # in a chunk
    validation_at_once: int
    rates: int  # address of the learning rates from step `rates_first` on; 0: it is constant
    rates_first: int
    pause: int  # the step where the job has to wait for more rates, or for its figures to be read
    patience: int  # epochs without a better cost before it ends; 0: it does not
    min_delta: float
    best: int  # address of the parameters of the best epoch
    last: int  # address of the parameters of the last finite epoch
    room: int  # for how many epochs there is room for figures; then they begin again at the first place
    costs: int  # addresses of float64, one an epoch
    penalties: int  # of its weights, as a mean over the samples; apart from the costs
    validation_costs: int
    learning_rates: int
    seconds: int
    state: int
    epoch: int  # how many are finished
    step: int  # how many are made, in all epochs
    validated: int  # how many rows, in this epoch
    epochs_shuffled: int
    best_epoch: int  # counted from 1
    best_cost: float
    elapsed: float  # seconds of training in this epoch


class Jobs(NamedTuple):
    """What the threads share."""

    jobs: int  # address of `length` addresses of Jobs
    length: int
    next: int  # the place of the first that nobody has taken
    duration: float  # seconds
    deadline: float


JOB = {name: 8 * i for i, name in enumerate(Job._fields)}
JOBS = {name: 8 * i for i, name in enumerate(Jobs._fields)}
AT_STATE, AT_EPOCH, AT_STEP, AT_VALIDATED, AT_SHUFFLED, AT_BEST_EPOCH, AT_BEST_COST, AT_ELAPSED = (
    JOB[name]
    for name in ("state", "epoch", "step", "validated", "epochs_shuffled", "best_epoch", "best_cost", "elapsed")
)
AT_NEXT, AT_DEADLINE = JOBS["next"], JOBS["deadline"]
AT_ORDER, AT_FIRST, AT_LAST, AT_RATES, AT_COST, AT_WEIGHT, AT_STOPPED = (
    SLICE[name] for name in ("order", "first", "last", "rates", "cost", "weight", "stopped")
)


@code
def train_jobs(args, region):
    """train_jobs(args, region): advance the jobs of the Jobs at `args` for about its `duration`."""
    a = fetch(Jobs, args)
    write(args + AT_NEXT, 0)
    write(args + AT_DEADLINE, seconds() + a.duration)
    threads = min(a.length, threads_now(region))
    if threads == 1:
        call(claim_jobs(), (args, 0, 1))
        return 0
    pace, began = call(pace_of(), (claim_jobs(), threads, 0, 0, int(LARGE))), nanoseconds()
    know_alone(pace, 1.0)
    shared = shares(pace, began)
    run(region, claim_jobs(), args, threads if shared else 1)
    now = nanoseconds()
    # until the deadline each thread works: what they did takes one alone that long, and longer by what the others did
    call(note(), (pace, shared, began, now, int((1.0 + OTHERS_BRING) * 1e9 * a.duration) if shared else now - began))
    return 0


@code
def claim_jobs(args, part, parts):
    """claim_jobs(args, part, parts): one thread's share: job after job that no other thread has taken."""
    a = fetch(Jobs, args)
    place = fetch_add(args + AT_NEXT, 1)
    while place < a.length:
        job = read(a.jobs + 8 * place, np.int64)
        call(fetch(Job, job).advance, (job, args))
        if seconds() >= a.deadline:
            break
        place = fetch_add(args + AT_NEXT, 1)
    return 0


# ---------------------------------------------------------------------------------------------------------- one job


@inner
def is_trained(j):
    """Whether all steps of the epoch at hand are made."""
    return j.step == (j.epoch + 1) * j.steps_per_epoch


@inner
def arrange(j, epoch):
    """The rows in the order of that epoch."""
    seed = fetch(Network, fetch(Slice, j.training).network).seed
    call(shuffle(), (seed, SHUFFLE_STREAM + epoch, j.row_count, j.order))
    if j.rows != 0:
        for i in range(j.order, j.order + 8 * j.row_count, 8):
            write(i, read(j.rows + 8 * read(i, np.int64), np.int64))


@inner
def begin_epoch(job, j):
    write(job + AT_ELAPSED, 0.0)
    write(j.training + AT_COST, 0.0)
    write(j.training + AT_WEIGHT, 0.0)
    write(fetch(Slice, j.training).network + AT_PENALTIES, 0.0)
    write(j.training + AT_ORDER, j.rows)
    if j.order != 0:
        write(job + AT_SHUFFLED, j.epochs_shuffled + 1)
        arrange(j, j.epochs_shuffled + 1)
        write(j.training + AT_ORDER, j.order)


def chunk_maker(real):
    """train_chunk(job), validate_chunk(job): the next steps, the next rows to validate on; end_training(job, j): what
    follows the last step of an epoch."""

    @inner
    def conclude_epoch(job, j, cost):
        """Count the epoch; end the job where that was the last, or `cost` has not been better for `patience` epochs."""
        epoch, best_epoch = j.epoch + 1, j.best_epoch
        if cost < j.best_cost - j.min_delta:  # False for NaN
            best_epoch = epoch
            write(job + AT_BEST_COST, cost)
            write(job + AT_BEST_EPOCH, epoch)
            if j.best != 0:
                t = fetch(Network, fetch(Slice, j.training).network)
                call(copy_if_finite(real), (t.parameters, j.best, t.size, 0))
        write(job + AT_EPOCH, epoch)
        if epoch == j.epochs or (j.patience != 0 and epoch - best_epoch >= j.patience):
            write(job + AT_STATE, ENDED)

    @inner
    def end_training(job, j):
        """The last step of the epoch is made."""
        s = fetch(Slice, j.training)
        t, at, cost = fetch(Network, s.network), 8 * (j.epoch % j.room), s.cost / s.weight
        if call(copy_if_finite(real), (t.parameters, j.last, t.size, 0)) == 0:  # no cost has shown it yet
            write(job + AT_STATE, NOT_FINITE)
            return
        write(j.costs + at, cost)
        write(j.penalties + at, t.penalties / s.weight)
        write(j.seconds + at, j.elapsed)
        write(j.learning_rates + at, read(t.learning_rate, np.float64))
        if j.validation == 0:
            conclude_epoch(job, j, cost)
        else:
            write(job + AT_VALIDATED, 0)
            write(j.validation + AT_COST, 0.0)
            write(j.validation + AT_WEIGHT, 0.0)

    @inner
    def train_chunk(job):
        j = fetch(Job, job)
        batch_size, first = fetch(Network, fetch(Slice, j.training).network).batch_size, j.step % j.steps_per_epoch
        count = min(j.steps_at_once, j.steps_per_epoch - first, j.pause - j.step)
        write(j.training + AT_FIRST, first * batch_size)
        write(j.training + AT_LAST, min((first + count) * batch_size, j.row_count))
        write(j.training + AT_RATES, j.rates + 8 * (j.step - j.rates_first) if j.rates != 0 else 0)
        call(train_slice(real), (j.training, j.region))
        if read(j.training + AT_STOPPED, np.int64) >= 0:
            write(job + AT_STATE, RAISED if has_raised(fetch(Slice, j.training).network) else NOT_FINITE)
        else:
            write(job + AT_STEP, j.step + count)

    @inner
    def validate_chunk(job):
        j = fetch(Job, job)
        end = min(j.validated + j.validation_at_once, j.validation_count)
        write(j.validation + AT_FIRST, j.validated)
        write(j.validation + AT_LAST, end)
        call(evaluate_slice(real), (j.validation, j.region))
        if has_raised(fetch(Slice, j.validation).network):
            write(job + AT_STATE, RAISED)
            return
        write(job + AT_VALIDATED, end)
        if end == j.validation_count:
            s = fetch(Slice, j.validation)
            write(j.validation_costs + 8 * (j.epoch % j.room), s.cost / s.weight)
            conclude_epoch(job, j, s.cost / s.weight)

    return train_chunk, validate_chunk, end_training


@code_per_dtype
def advance(real):
    """advance(job, args): go on with the Job until it ends, has to pause, or the deadline of the Jobs at `args`."""
    train_chunk, validate_chunk, end_training = chunk_maker(real)

    @inner
    def train_some(job):
        """One chunk of training, with what comes before and after it where an epoch begins or ends."""
        j, began = fetch(Job, job), seconds()
        if j.step == j.epoch * j.steps_per_epoch:
            begin_epoch(job, j)
        train_chunk(job)
        write(job + AT_ELAPSED, read(job + AT_ELAPSED, np.float64) + seconds() - began)
        j = fetch(Job, job)
        if j.state == RUNNING and is_trained(j):
            end_training(job, j)

    def advance(job, args):
        a, j = fetch(Jobs, args), fetch(Job, job)
        while j.state == RUNNING and (is_trained(j) or j.step < j.pause):
            if is_trained(j):
                validate_chunk(job)
            else:
                train_some(job)
            j = fetch(Job, job)
            if seconds() >= a.deadline:
                break
        return 0

    return advance
