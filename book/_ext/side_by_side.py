"""Sphinx extension: executes the notebooks that changed side by side, one for each processor, before pages are read.

MyST-NB executes one notebook after the other. Here they are executed ahead into the same cache, from which it then
takes their outputs; one that fails is left to it, so that the error is reported as ever.

Every kernel computes with one thread, unless OMP_NUM_THREADS says otherwise: the chapters' networks are so small that a
second thread gains nothing, and on a busy machine threads that wait for each other make them ten times slower.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from sphinx.util import logging

logger = logging.getLogger(__name__)


def execute(notebook, cache, timeout):
    """Puts an executed notebook into the cache; what goes wrong is found again, and said, when its page is read."""
    load_executor("local-serial", get_cache(cache)).run_and_cache(filter_uris=[notebook], timeout=timeout)


def is_known(notebook, cache):
    try:
        cache.match_cache_notebook(nbformat.read(notebook, as_version=4))
    except KeyError:
        return False
    return True


def num_processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def execute_side_by_side(app, env, docnames):
    if app.config.nb_execution_mode != "cache":
        return
    path = app.config.nb_execution_cache_path or str(Path(app.outdir).parent / ".jupyter_cache")
    cache = get_cache(path)
    notebooks = [str(env.doc2path(name)) for name in docnames]
    wanted = [name for name in notebooks if name.endswith(".ipynb") and not is_known(name, cache)]
    if len(wanted) < 2:
        return
    for notebook in wanted:
        cache.add_nb_to_project(notebook)
    at_once = min(len(wanted), num_processors())
    logger.info("executing %d notebooks, %d at a time; this takes minutes ...", len(wanted), at_once)
    with ProcessPoolExecutor(at_once) as pool:
        list(pool.map(partial(execute, cache=path, timeout=app.config.nb_execution_timeout), wanted))


def setup(app):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app.connect("env-before-read-docs", execute_side_by_side)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
