"""MkDocs hooks: links to files outside of docs/, the API's completeness, and mermaid.

A problem is a warning, which fails `mkdocs build --strict`.
"""

from __future__ import annotations

import importlib
import logging
import os
import pathlib
import re
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocstrings import Inventory

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "adapters")]
PACKAGES = (
    "gateway_proto",
    "gateway_proto.driver",
    "gateway_proto.fleet",
    "gateway_proto.server",
    "gateway_proto.shards",
    "gateway_proto.testing",
    "gateway_proto.trace",
    "gateway_asyncio",
    "gateway_trio",
    "gateway_fleet",
    "gateway_pytest",
)
"""Packages with public names."""
_LINK = re.compile(r"(?<=\]\()\.\.?/[^)\s#]*")
_MERMAID = "assets/mermaid.min.js"
_log = logging.getLogger("mkdocs.hooks.site")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Use the mermaid.min.js that MERMAID names; without it, browsers load one from unpkg.com."""
    if os.environ.get("MERMAID"):
        config.extra_javascript.append(_MERMAID)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    if path := os.environ.get("MERMAID"):
        files.append(
            File.generated(config, _MERMAID, abs_src_path=str(pathlib.Path(path).resolve()))
        )
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links to files outside of docs/ absolute: these are in the repository only."""
    folder = pathlib.Path(config.docs_dir, page.file.src_uri).parent

    def absolute(match: re.Match[str]) -> str:
        target = (folder / match[0]).resolve()
        if target.is_relative_to(config.docs_dir) or not target.is_relative_to(ROOT):
            return match[0]
        if not target.exists():
            _log.warning("%s: %s does not exist", page.file.src_uri, match[0])
        return f"{config.repo_url}blob/main/{target.relative_to(ROOT)}"

    return _LINK.sub(absolute, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Check that the API reference has every public name."""
    with open(pathlib.Path(config.site_dir, "objects.inv"), "rb") as file:
        described = Inventory.parse_sphinx(file)
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            # A module may have the name of a function, as in gateway_proto.trace.
            origin = f"{getattr(thing, '__module__', package)}.{name}"
            if not {f"{package}.{name}", origin} & described.keys():
                _log.warning("%s.%s is not in the API reference", package, name)
