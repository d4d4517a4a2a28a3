"""A folder with the verdict.json of every test, gathered from Allure's results.

The documents travel as attachments, as all evidence does: from every worker and every host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from harness.errors import ReportError
from harness.lacking import Lacking
from harness.reporting.verdict_document import FILE_NAME

EARLIER = "earlier"
_LONGEST_NAME = 150  # file systems allow 255 bytes


def gather_verdicts(
    results: Path,
    folder: Path,
    without: Sequence[Lacking] = (),
    *,
    earlier: Collection[str] = (),
) -> None:
    """Copy the document of every test that has one into `folder`. Raises ReportError.

    `without`: what the run had to do without by its end is added to each copy. Documents of
    `earlier` results, of tests that were measured again, are in a folder of their own in it.
    """
    try:
        for uuid, source in _documents(results):
            document = json.loads(source.read_text(encoding="utf-8"))
            known = document["without"]
            for one in map(asdict, without):
                if one not in known:
                    known.append(one)
            file = folder / file_name(document["test"])
            if uuid in earlier:
                file = folder / EARLIER / f"{file.stem}-attempt-{document['attempt']}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot gather verdicts in {folder}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:  # JSON of another shape
        raise ReportError(f"{results} holds a verdict that cannot be read: {error!r}") from error


def file_name(test: str) -> str:
    """A name for a test's document: readable, safe on every file system, and of no other test."""
    readable = re.sub(r"[^\w.\[\]-]+", "_", test, flags=re.ASCII).lstrip(".")[:_LONGEST_NAME]
    return f"{readable}-{sha256(test.encode()).hexdigest()[:8]}.json"


def _documents(results: Path) -> Iterator[tuple[str, Path]]:
    """Each with the uuid of its result."""
    for path in sorted(results.glob("*-result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        for attachment in result.get("attachments", []):
            if attachment["name"] == FILE_NAME:
                yield result.get("uuid", ""), results / Path(attachment["source"]).name
