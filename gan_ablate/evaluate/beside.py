"""An extractor that a second process trains while the GAN trains here. Evaluations wait for it; training does not.

The two share nothing but the cache: the second process keeps there what it has made, and this one reads it.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch

from gan_ablate.cache import NotKept
from gan_ablate.data import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Extractor, load_extractor
from gan_ablate.evaluate.real_statistics import real_statistics
from gan_ablate.evaluate.small_cnn import WATCH

LOOK = 0.2  # seconds between two looks at an extractor that is waited for


class ExtractorBeside:
    """Starts a process that calls `load`, which trains the extractor and keeps it in the cache.

    load: gives the extractor; called here too, once the process has ended, where it finds what that one kept, or, if
    that one was killed, trains it itself. For Linux, and only where CUDA is not in use: the process is forked.

    watch: called with the share that is done, every `LOOK` seconds while `get` waits.
    """

    def __init__(self, load: Callable[[], Extractor]) -> None:
        context = multiprocessing.get_context("fork")
        self.watch: Callable[[float], object] = lambda share: None
        self._load, self._found = load, None  # type: Callable[[], Extractor], Extractor | None
        self._share: Any = context.Value("d", 0.0, lock=False)
        self._end, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_train, args=(load, self._share, theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()  # so that its death is an end of file here

    @property
    def ready(self) -> bool:
        """Whether `get` would return at once."""
        return self._found is not None or self._end.poll()

    @property
    def share(self) -> float:
        """Of its training that is done."""
        return float(self._share.value)

    def get(self) -> Extractor:
        """The extractor; waits for it. Raises the `InputError` that stopped the other process."""
        if self._found is None:
            while not self._end.poll(LOOK):
                self.watch(self.share)
            self.watch(1.0)
            refusal, said = self._ending()
            if said:
                print(said, end="", file=sys.stderr, flush=True)
            if refusal:
                raise InputError(refusal)
            self._found = self._load()
        return self._found

    def _ending(self) -> tuple[str, str]:
        """Why there is no extractor, and what the process printed."""
        try:
            return self._end.recv()
        except EOFError:  # it was killed
            return "", ""
        finally:
            self._end.close()
            self._process.join()


def extractor_beside(
    name: str, images: ImageSet, real: ImageSet, weights: str | None = None
) -> Extractor | ExtractorBeside:
    """The extractor of `images` where none has to be trained, else one that is trained beside, and measures `real` too.

    Raises as `load_extractor` does.
    """
    try:
        return load_extractor(name, dataset=images, weights=weights, kept_only=True)
    except NotKept:
        return ExtractorBeside(partial(_with_statistics, name, images, real))


def _with_statistics(name: str, images: ImageSet, real: ImageSet) -> Extractor:
    """The extractor, and in the cache what the real images look like to it."""
    extractor = load_extractor(name, dataset=images)
    real_statistics(real, extractor)
    return extractor


def _train(load: Callable[[], Extractor], share: Any, end: Connection, parent: int) -> None:
    """The second process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which may go on to its checkpoint
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)

    def watch(done: float) -> None:
        share.value = done
        if os.getppid() != parent:  # nobody is left to wait for it
            os._exit(1)

    WATCH.set(watch)
    said, refusal = io.StringIO(), ""
    with contextlib.redirect_stderr(said):  # a run's bar may be on the screen
        try:
            load()
        except InputError as error:
            refusal = str(error)
    end.send((refusal, said.getvalue()))
