"""Pictures that a browser sends, read into memory and no further than a picture may be large: nothing is written anywhere, a name opens nothing."""

import asyncio
import re
from collections.abc import AsyncGenerator

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from polyface.errors import RequestError
from polyface.images.read import Sent

LARGEST = 50_000_000
"""Bytes of one picture; phones and cameras make JPEGs of half of that."""
TOO_LARGE = f"larger than {LARGEST // 1_000_000} MB"
AROUND = 16_384
"""Bytes that a form may have beside its pictures."""
SECONDS = 60.0
"""How long an upload may take: it comes from this machine, or through a tunnel to it."""
LONGEST_NAME = 200


class TooLarge(RequestError):
    """More bytes than are read."""


class TooSlow(RequestError):
    """An upload that stalled, and held up those that wait behind it."""


async def pictures(request: Request, fields: tuple[str, ...]) -> tuple[Sent, ...]:
    """The files of a form (multipart/form-data), one for each field and nothing else. Raises RequestError for any other request."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RequestError(f"send a form (multipart/form-data) with the file {_listed(fields)}")
    limit = LARGEST * len(fields) + AROUND
    parser = MultiPartParser(request.headers, _counted(request, limit), max_files=len(fields), max_fields=0)
    parser.spool_max_size = limit + 1  # in memory: a larger file would go to the disk
    try:
        async with asyncio.timeout(SECONDS):
            form = await parser.parse()
    except TimeoutError:
        raise TooSlow(f"the upload took longer than {SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise RequestError("the upload was cut off") from None
    except MultiPartException as error:
        raise RequestError(f"the form cannot be read: {error.message}") from None
    except UnicodeError:
        raise RequestError("the form cannot be read: its names are not in the charset that its header says") from None
    if sorted(form) != sorted(fields):
        raise RequestError(f"the form must hold the file {_listed(fields)}, and nothing else")
    sent = [form[field] for field in fields]
    return tuple([_sent(file.filename, await file.read()) for file in sent if not isinstance(file, str)])


def name_of(filename: str | None) -> str:
    """The last part of the name that a file was sent under, whatever system it is from, in one line."""
    last = re.split(r"[/\\]", filename or "")[-1]
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[-LONGEST_NAME:].strip(". ") or "picture"


async def _counted(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body, while it is within the limit, whatever its header promised."""
    promised = request.headers.get("content-length", "")
    read = int(promised) if promised.isdecimal() and int(promised) > limit else 0
    if not read:
        async for chunk in request.stream():
            read += len(chunk)
            if read > limit:
                break
            yield chunk
    if read > limit:
        raise TooLarge(f"the upload is {TOO_LARGE}")


def _sent(filename: str | None, content: bytes) -> Sent:
    name = name_of(filename)
    if len(content) > LARGEST:
        raise TooLarge(f"{name}: {TOO_LARGE}")
    return Sent(name, content)


def _listed(fields: tuple[str, ...]) -> str:
    return " and the file ".join(repr(field) for field in fields)
