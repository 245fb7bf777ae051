"""What the site has besides docs/: README as its first page, the guide for contributors, changelog, kept report.

Links of these pages are those of the repository. One that leads to another page of the site is led there; one to code
becomes plain text, since the site does not hold it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HOME = Path(__file__).parents[1]
PAGES = {  # file of the repository -> page of the site
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "reports/claims.md": "reports/claims.md",
}
KEPT = sorted(path.parent.name for path in (HOME / "reports").glob("*/report.html"))
ASSETS = {f"reports/{name}/report.html": f"reports/{name}/report.html" for name in KEPT}
INSTEAD = {f"reports/{name}/report.md": f"reports/{name}/report.html" for name in KEPT} | {
    # a target of the repository -> what says the same on the site
    "gan_ablate/trick.py": "docs/api/trick.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, target in (PAGES | ASSETS).items():
        files.append(File.generated(config, target, abs_src_path=str(HOME / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    source = next((s for s, target in PAGES.items() if target == page.file.src_uri), None)
    return markdown if source is None else with_links(markdown, source, page.file.src_uri)


def with_links(markdown: str, source: str, page: str) -> str:
    """The text of the repository's file `source` with its links as the site's `page` needs them."""

    def led(found: re.Match[str]) -> str:
        image, words, target, anchor = found.groups(default="")
        if ":" in target:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        path = INSTEAD.get(path, path)
        there = PAGES.get(path) or ASSETS.get(path)
        if there is None and path.startswith("docs/"):
            there = path.removeprefix("docs/")
        if there is None:
            return words
        return f"{image}[{words}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor})"

    return LINK.sub(led, markdown)
