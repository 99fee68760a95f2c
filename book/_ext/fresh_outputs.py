"""Sphinx extension: no page ever shows an output that the present code would not produce.

The notebook cache of Jupyter Book knows a notebook by its code cells alone. It returns old outputs after a change in
the package that the cells import, after an upgrade of torch, or after a build in smoke mode. This extension takes a
fingerprint of all that. When the fingerprint changes, the cached outputs are deleted and every page is built again.

It also reads a notebook again that failed in the last build: Sphinx would take its page for finished and succeed.

Settings, under `sphinx: config:` of _config.yml:

- `outputs_depend_on_packages`: importable packages; every file in them counts, data included.
- `outputs_depend_on_versions`: distributions of which the version counts.
- `outputs_depend_on_environment`: environment variables of which the value counts.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from myst_nb.sphinx_ import NbMetadataCollector

IGNORED_FOLDERS = {"__pycache__"}


def fingerprint(packages, versions, environment):
    """A short hash of all that decides the outputs besides the notebook itself."""
    digest = hashlib.sha256(platform.python_version().encode())
    for name in packages:
        for folder in package_folders(name):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not IGNORED_FOLDERS & set(path.relative_to(folder).parts):
                    digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name in versions:
        digest.update(f"\0{name}={installed_version(name)}".encode())
    for name in environment:
        digest.update(f"\0{name}={os.environ.get(name)!r}".encode())
    return digest.hexdigest()[:16]


def package_folders(name):
    """Where the package is that the notebooks would import; found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the notebooks need the package {name!r}: run `pip install -r requirements.txt`")
    return [Path(folder) for folder in spec.submodule_search_locations]


def installed_version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def drop_stale_outputs(app, config):
    """Deletes the notebook cache if it was filled under another fingerprint."""
    config.outputs_fingerprint = fingerprint(
        config.outputs_depend_on_packages, config.outputs_depend_on_versions, config.outputs_depend_on_environment
    )
    cache = Path(config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache")
    stamp = cache / "fingerprint.txt"
    if not stamp.exists() or stamp.read_text() != config.outputs_fingerprint:
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        stamp.write_text(config.outputs_fingerprint)


def read_failed_notebooks_again(app, env, added, changed, removed):
    failed = []
    for name in env.found_docs:
        execution = NbMetadataCollector.get_exec_data(env, name)
        if execution and not execution["succeeded"]:
            failed.append(name)
    return failed


def setup(app):
    app.add_config_value("outputs_depend_on_packages", [], "")
    app.add_config_value("outputs_depend_on_versions", [], "")
    app.add_config_value("outputs_depend_on_environment", [], "")
    # "env": Sphinx keeps the value with its pickled pages and reads every page again when it differs. The pages and
    # the cache are stamped separately, so that an interrupted build cannot leave one of them behind.
    app.add_config_value("outputs_fingerprint", "", "env")
    app.connect("config-inited", drop_stale_outputs)
    app.connect("env-get-outdated", read_failed_notebooks_again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
