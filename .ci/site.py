"""A hook of MkDocs: the pages that are made when the site is built, and links to files outside `docs/`."""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# A page of the site -> the file of the project that it shows.
SHOWN = {"security.md": "SECURITY.md", "changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}


def on_files(files: Files, config: Any) -> Files:
    """Adds the command line, and files of the project that are pages, too."""
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    for page, name in SHOWN.items():
        files.append(File.generated(config, page, content=inside_of_docs((ROOT / name).read_text(), page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links to files outside `docs/` to the pages that show them, and makes the table of models."""
    if "<!-- table of models -->" in markdown:
        markdown = markdown.replace("<!-- table of models -->", models())
    return inside_of_docs(markdown, page.file.src_path)


def inside_of_docs(markdown: str, page: str) -> str:
    """Returns a page whose links to SECURITY.md and its like lead to their pages on the site."""
    up = "../" * page.count("/")
    for shown, name in SHOWN.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(name)}(#[^)]*)?\)", rf"]({up}{shown}\1)", markdown)
    # What these files of the project's own folder link to.
    if page in SHOWN:
        markdown = markdown.replace("](docs/", "](")
    return markdown


def command_line() -> str:
    """Returns what Typer knows of the program, as Markdown."""
    as_program()
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from kzoo.cli.app import app

    command: Any = get_command(app)
    tell_whole(command)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="kzoo"), name="kzoo")
    text = re.sub(r"^# `kzoo`$", "# Command line", text, count=1, flags=re.MULTILINE)
    # One heading less of depth: the groups are known by their names already.
    return re.sub(r"^(\*\*(?:Options|Arguments|Commands|Usage)\*\*:)$", r"\1\n", text, flags=re.MULTILINE)


def tell_whole(group: Any) -> None:
    """Gives each command the first sentence of its help as its line in the list, which else is cut after 45 letters."""
    for command in group.commands.values():
        text = " ".join((command.help or "").split())
        command.short_help = re.sub(r"(?<=\.) .*", "", text)
        if hasattr(command, "commands"):
            tell_whole(command)


def models() -> str:
    """Returns a table of what each name of a model stands for."""
    as_program()
    import kzoo

    rows = [f"| `kzoo.{name}` | {(getattr(kzoo, name).__doc__ or '').splitlines()[0]} |" for name in kzoo.list_models()]
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def as_program() -> None:
    """Lets kzoo be imported without a backend, as its program is."""
    if "kzoo" not in sys.modules:
        sys.path.insert(0, str(ROOT))
        sys.argv[0] = "kzoo"
