"""What the site needs beside the pages as they stand in the repository.

Pages link to files outside of docs/, as a forge shows them. In the site, and in its archive that is read
without a network, such a file is a page of its own below `repository/`: Markdown as it is, anything else as a
block of code, a folder as a list. Only what some page links to is taken, and what that links to in turn.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md")
"""In the navigation, whether a page links to them or not."""
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)(?=[)#\s])")
_NAMED_BY_FILE = re.compile(r"\[(?:docs/)?([\w/-]+\.md)\](?=\(((?:[\w./-]+/)?\1)[)#])")
_MARKED_BLOCK = re.compile(
    r"^( *)<!-- (?:not )?run: .+? -->\n\s*\n?((?:\1    .*\n|[ \t]*\n(?=\1    ))+)", re.MULTILINE
)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors of a forge, because pages link to those, and each new page a place."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    named = set(re.findall(r"[\w./-]+\.md", str(config.nav)))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    if new := sorted(there - named):
        (guides,) = (part["Guides"] for part in config.nav or () if "Guides" in part)
        guides.append({"More": new})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that pages link to."""
    waiting = [
        (f"docs/{file.src_uri}", (ROOT / "docs" / file.src_uri).read_text(encoding="utf-8"))
        for file in files.documentation_pages()
    ]
    waiting.append(("README.md", "".join(f"[{name}]({name})" for name in PROJECT)))
    while waiting:
        place, text = waiting.pop()
        for target in _outside(place, text):
            uri = _uri(target)
            if files.get_file_from_path(uri) is None:
                content = _shown(target, linked_from=place)
                files.append(
                    File.generated(config, uri, content=content, inclusion=InclusionLevel.NOT_IN_NAV)
                )
                if target.endswith(".md"):
                    waiting.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of docs/ to the pages that stand for files, call pages by their titles."""
    del config, files
    uri = page.file.src_uri
    place = uri.removeprefix("repository/") if uri.startswith("repository/") else f"docs/{uri}"
    here = posixpath.dirname(uri)

    def title(found: re.Match[str]) -> str:
        target = ROOT / _resolve(place, found[2])
        return f"[{target.read_text(encoding='utf-8').split(chr(10), 1)[0].removeprefix('# ')}]"

    def lead(found: re.Match[str]) -> str:
        target = _resolve(place, found[1])
        inside = target.removeprefix("docs/") if target.startswith("docs/") else _uri(target)
        return posixpath.relpath(inside, here or ".")

    markdown = _NAMED_BY_FILE.sub(title, markdown)
    return _MARKED_BLOCK.sub(_fence, _LINK.sub(lead, markdown))


def _outside(place: str, text: str) -> set[str]:
    targets = {_resolve(place, found) for found in _LINK.findall(text)}
    return {target for target in targets if not target.startswith("docs/") and target != "README.md"}


def _resolve(place: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), link))


def _uri(target: str) -> str:
    """Return the page that stands for a file; README's place is the front page's."""
    if target == "README.md":
        return "index.md"
    return f"repository/{target}" if target.endswith(".md") else f"repository/{target}.md"


def _shown(target: str, *, linked_from: str) -> str:
    path = ROOT / target
    if path.is_dir():
        names = sorted(item.name + "/" * item.is_dir() for item in path.iterdir() if item.name[0] not in "._")
        return f"# {target}\n\n" + "".join(f"- `{name}`\n" for name in names)
    if not path.is_file():
        raise PluginError(f"{linked_from}: expected a link to a file of the repository, got {target!r}")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        return f"# {target}\n\n" + "\n\n".join(map(_cell, json.loads(text)["cells"]))
    return f"# {target}\n\n````{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n````\n"


def _cell(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    return text if cell["cell_type"] == "markdown" else f"````python\n{text}\n````"


def _fence(found: re.Match[str]) -> str:
    """Make an indented block below a mark a fenced one, which is coloured as a shell's."""
    margin = found[1]
    lines = [line.removeprefix(f"{margin}    ") for line in found[2].rstrip().split("\n")]
    return "\n".join(
        [f"{margin}```sh", *(f"{margin}{line}".rstrip() for line in lines), f"{margin}```", "", ""]
    )
