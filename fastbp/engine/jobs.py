"""Many networks at once: each a job, one job to a thread, for a stretch of time.

    train_jobs -> claim_jobs on every thread: the next job that no thread has taken -> advance it, until it ends or time is up

A job advances in chunks, of steps or of rows to validate on, and looks at the clock between two of them. What it needs
to go on, perhaps on another thread, lies in its JobRecord.
"""

from typing import NamedTuple

import numpy as np

from fastbp.compiler.code import code, code_per_dtype
from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import call, fetch, fetch_add, get, place_of, places, put, read, write
from fastbp.engine.finite import copy_if_finite
from fastbp.engine.infer import evaluate_slice
from fastbp.engine.shuffle import SHUFFLE_STREAM, shuffle
from fastbp.engine.slices import Slice
from fastbp.engine.table import Network
from fastbp.engine.train import train_slice
from fastbp.engine.walk import has_raised
from fastbp.parallel.clock import nanoseconds, seconds
from fastbp.parallel.region import run, threads_now
from fastbp.parallel.sharing_account import LARGE, account_of, know_alone, note, shares

RUNNING, ENDED, NOT_FINITE, RAISED = range(4)  # states of a job; the last: a user's function raised something
OTHERS_BRING = 0.25  # the work that other threads do at least while a thread works, as a share of it, if they do any


class JobRecord(NamedTuple):
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
    steps_at_once: int  # steps in a chunk
    validation_at_once: int  # rows in a chunk
    rates: int  # address of the learning rates from step `rates_first` on; 0: it is constant
    rates_first: int
    pause: int  # the step where the job has to wait for more rates, or for its figures to be read
    patience: int  # epochs without a better cost after which it ends; 0: any number
    min_delta: float
    best: int  # address of the parameters of the best epoch
    last: int  # address of the parameters of the last finite epoch
    room: int  # epochs whose figures have room; then they begin again at the first place
    costs: int  # addresses of float64, one an epoch: its cost
    penalties: int  # the penalty on the weights, as a mean over the samples; apart from the costs
    validation_costs: int
    learning_rates: int
    seconds: int
    state: int
    epoch: int  # epochs that are finished
    step: int  # steps that are made, in all epochs
    validated: int  # rows that are validated on, in this epoch
    epochs_shuffled: int
    best_epoch: int  # counted from 1
    best_cost: float
    elapsed: float  # seconds of training in this epoch


class JobQueue(NamedTuple):
    """What the threads share."""

    jobs: int  # address of `length` addresses of JobRecords
    length: int
    next: int  # the place of the first that no thread has taken
    duration: float  # seconds
    deadline: float


JOB, QUEUE = places(JobRecord), places(JobQueue)


@code
def train_jobs(queue, region):
    """train_jobs(queue, region): advance the jobs of the JobQueue at `queue` for about its `duration`."""
    q = fetch(JobQueue, queue)
    put(queue, JobQueue, "next", 0)
    put(queue, JobQueue, "deadline", seconds() + q.duration)
    threads = min(q.length, threads_now(region))
    if threads == 1:
        call(claim_jobs(), (queue, 0, 1))
        return 0
    account, began = call(account_of(), (claim_jobs(), threads, 0, 0, int(LARGE))), nanoseconds()
    know_alone(account, 1.0)
    shared = shares(account, began)
    run(region, claim_jobs(), queue, threads if shared else 1)
    now = nanoseconds()
    # until the deadline each thread works: what they did takes one alone that long, and longer by what the others did
    work = int((1.0 + OTHERS_BRING) * 1e9 * q.duration) if shared else now - began
    call(note(), (account, shared, began, now, work))
    return 0


@code
def claim_jobs(queue, part, parts):
    """claim_jobs(queue, part, parts): advance job after job that no other thread has taken, until time is up."""
    q = fetch(JobQueue, queue)
    place = fetch_add(place_of(queue, JobQueue, "next"), 1)
    while place < q.length:
        job = read(q.jobs + 8 * place, np.int64)
        call(get(job, JobRecord, "advance"), (job, queue))
        if seconds() >= q.deadline:
            break
        place = fetch_add(place_of(queue, JobQueue, "next"), 1)
    return 0


# --------------------------------------------------------------------------- one job: its record, and where that lies


@inner
def is_trained(j):
    """Return whether all steps of the epoch at hand are made."""
    return j.step == (j.epoch + 1) * j.steps_per_epoch


@inner
def begin_sums(s):
    """Let the sums of the Slice at `s` begin at 0."""
    put(s, Slice, "cost", 0.0)
    put(s, Slice, "weight", 0.0)


@inner
def begin_epoch(job, j):
    """Get ready for the first step of an epoch."""
    network = get(j.training, Slice, "network")
    put(job, JobRecord, "elapsed", 0.0)
    begin_sums(j.training)
    put(network, Network, "penalties", 0.0)
    put(j.training, Slice, "order", j.rows)
    if j.order != 0:
        put(job, JobRecord, "epochs_shuffled", j.epochs_shuffled + 1)
        arrange(j, get(network, Network, "seed"), j.epochs_shuffled + 1)
        put(j.training, Slice, "order", j.order)


@inner
def arrange(j, seed, epoch):
    """Put the numbers of the rows into the order of that epoch."""
    call(shuffle(), (seed, SHUFFLE_STREAM + epoch, j.row_count, j.order))
    if j.rows != 0:
        for i in range(j.order, j.order + 8 * j.row_count, 8):
            write(i, read(j.rows + 8 * read(i, np.int64), np.int64))


@inner
def train_chunk(real, job):
    """Make the next steps."""
    j = fetch(JobRecord, job)
    network = get(j.training, Slice, "network")
    batch_size, first = get(network, Network, "batch_size"), j.step % j.steps_per_epoch
    count = min(j.steps_at_once, j.steps_per_epoch - first, j.pause - j.step)
    put(j.training, Slice, "first", first * batch_size)
    put(j.training, Slice, "last", min((first + count) * batch_size, j.row_count))
    put(j.training, Slice, "rates", j.rates + 8 * (j.step - j.rates_first) if j.rates != 0 else 0)
    call(train_slice(real), (j.training, j.region))
    if get(j.training, Slice, "stopped") >= 0:
        put(job, JobRecord, "state", RAISED if has_raised(network) else NOT_FINITE)
    else:
        put(job, JobRecord, "step", j.step + count)


@inner
def end_training(real, job, j):
    """Conclude the training of an epoch, all steps of which are made: with the epoch itself, unless validation follows."""
    s = fetch(Slice, j.training)
    t, at, cost = fetch(Network, s.network), 8 * (j.epoch % j.room), s.cost / s.weight
    if call(copy_if_finite(real), (t.parameters, j.last, t.kept_size, 0)) == 0:  # no cost has shown it yet
        put(job, JobRecord, "state", NOT_FINITE)
        return
    write(j.costs + at, cost)
    write(j.penalties + at, t.penalties / s.weight)
    write(j.seconds + at, j.elapsed)
    write(j.learning_rates + at, read(t.learning_rate, np.float64))
    if j.validation == 0:
        conclude_epoch(real, job, j, cost)
    else:
        put(job, JobRecord, "validated", 0)
        begin_sums(j.validation)


@inner
def train_some(real, job):
    """Train for one chunk, with what comes before and after it where an epoch begins or ends."""
    j, began = fetch(JobRecord, job), seconds()
    if j.step == j.epoch * j.steps_per_epoch:
        begin_epoch(job, j)
    train_chunk(real, job)
    put(job, JobRecord, "elapsed", get(job, JobRecord, "elapsed") + seconds() - began)
    j = fetch(JobRecord, job)
    if j.state == RUNNING and is_trained(j):
        end_training(real, job, j)


@inner
def validate_chunk(real, job):
    """Validate on the next rows; conclude the epoch after the last."""
    j = fetch(JobRecord, job)
    end = min(j.validated + j.validation_at_once, j.validation_count)
    put(j.validation, Slice, "first", j.validated)
    put(j.validation, Slice, "last", end)
    call(evaluate_slice(real), (j.validation, j.region))
    s = fetch(Slice, j.validation)
    if has_raised(s.network):
        put(job, JobRecord, "state", RAISED)
        return
    put(job, JobRecord, "validated", end)
    if end == j.validation_count:
        write(j.validation_costs + 8 * (j.epoch % j.room), s.cost / s.weight)
        conclude_epoch(real, job, j, s.cost / s.weight)


@inner
def conclude_epoch(real, job, j, cost):
    """Count the epoch; end the job where that was the last, or `cost` has not been better for `patience` epochs."""
    epoch, best_epoch = j.epoch + 1, j.best_epoch
    if cost < j.best_cost - j.min_delta:  # False for NaN
        best_epoch = epoch
        put(job, JobRecord, "best_cost", cost)
        put(job, JobRecord, "best_epoch", epoch)
        if j.best != 0:
            t = fetch(Network, get(j.training, Slice, "network"))
            call(copy_if_finite(real), (t.parameters, j.best, t.kept_size, 0))
    put(job, JobRecord, "epoch", epoch)
    if epoch == j.epochs or (j.patience != 0 and epoch - best_epoch >= j.patience):
        put(job, JobRecord, "state", ENDED)


@code_per_dtype
def advance(real):
    """advance(job, queue): go on with the job until it ends, has to pause, or the deadline of the JobQueue is over."""

    def advance(job, queue):
        q, j = fetch(JobQueue, queue), fetch(JobRecord, job)
        while j.state == RUNNING and (is_trained(j) or j.step < j.pause):
            if is_trained(j):
                validate_chunk(real, job)
            else:
                train_some(real, job)
            j = fetch(JobRecord, job)
            if seconds() >= q.deadline:
                break
        return 0

    return advance
