"""`polyface embed`, `polyface find`, `polyface people`: many faces as vectors, and who is who among them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from polyface.cli.options import DetectorFile, Json, Model, loaded
from polyface.errors import InputError, RequestError

if TYPE_CHECKING:
    from polyface.images.read import Source
    from polyface.inference.gallery import Gallery

GalleryFolder = Annotated[Path, Parameter(help="A gallery that `polyface embed` wrote.")]


def embed(
    *paths: Annotated[str, Parameter(help="Photographs, folders, globs, .zip and .tar, lists of paths (.txt, .lst), MXNet's .rec.")],
    out: Annotated[Path, Parameter(help="The gallery: a new folder, or one to add to.")],
    forget: Annotated[
        tuple[str, ...],
        Parameter(
            help="In place of PATHS: take these pictures out again, with their vectors. Paths of pictures, folders and archives, there any more or not, and globs, "
            "whose * stands for / too.",
            consume_multiple=True,
        ),
    ] = (),
    model: Model = None,
    detector: DetectorFile = None,
    on: Annotated[
        Literal["ray"] | None, Parameter(help='`ray`: the processors of a Ray cluster, whose machines see the same paths, share the work (extra "ray").')
    ] = None,
) -> int:
    """Write a vector for every face on many pictures into a gallery, in shards with checksums. Repeat the command to go on after an interruption, or to add pictures.

    Pictures that were replaced under their names are looked at again, copies of those that are there passed over. The vectors are biometric data.
    """
    if forget and paths:
        raise RequestError("--forget takes pictures out; add others by a command of its own, without it")
    if forget:
        return _forget(forget, out)
    if not paths:
        raise RequestError("no PATHS to look at, and nothing to --forget (polyface embed --help)")
    from polyface import terminal
    from polyface.errors import shortened
    from polyface.inference.embed import embed

    look = None
    if on == "ray":
        from functools import partial

        from polyface.inference import analyze as analysis
        from polyface.inference.embed_ray import on_ray

        look = on_ray(partial(analysis.load, model and model.absolute(), detector and detector.absolute(), threads=1))
    analyzer = loaded(model, detector)
    pictures, refused = _sources(paths)
    with terminal.progress("pictures") as report:
        done = embed(analyzer, pictures, out, report, look=look)
    for reason in done.refused:
        terminal.say(reason)
    for line in shortened([f"{name}: no longer there, and still in {out}; --forget takes it out" for name in done.gone]):
        terminal.say(line)
    refusals = len(refused) + len(done.refused)
    terminal.say(
        f"{terminal.count(done.faces, 'face')} on {terminal.count(done.pictures, 'new picture')}"
        + (f", {done.rate:.1f} pictures/s" if done.pictures else "")
        + (f"; {terminal.count(done.replaced, 'picture was', 'pictures were')} replaced since" if done.replaced else "")
        + (f"; {terminal.count(done.moved, 'picture was', 'pictures were')} moved since" if done.moved else "")
        + (f"; {terminal.count(done.copies, 'picture is a copy', 'pictures are copies')} of ones already there" if done.copies else "")
        + (f"; {refusals:,} refused" if refusals else "")
        + f"; {_in_words(done.gallery)}"
    )
    return InputError.exit_status if refusals else 0


def _in_words(gallery: "Gallery") -> str:
    """What a gallery holds, pictures that could not be read apart."""
    from polyface import terminal
    from polyface.inference.embed import unread

    refused = unread(gallery)
    apart = f", and {terminal.count(refused, 'picture')} that could not be read" if refused else ""
    return f"{terminal.count(gallery.faces, 'face')} of {terminal.count(gallery.pictures - refused, 'picture')} in {gallery.folder}{apart}"


def _sources(paths: Sequence[str]) -> "tuple[list[Source], list[InputError]]":
    """The pictures, and what leads to none, which is said. Raises RequestError where nothing is left."""
    from polyface import terminal
    from polyface.images.sources import find_sources

    pictures, refused = find_sources(paths)
    for refusal in refused:
        terminal.say(str(refusal))
    if not pictures:
        raise RequestError("no picture to look at")
    return pictures, refused


def _forget(patterns: tuple[str, ...], out: Path) -> int:
    from polyface import terminal
    from polyface.errors import shortened
    from polyface.inference.forget import forget

    done = forget(out, patterns)
    for pattern in done.unmatched:
        terminal.say(f"{pattern}: no picture of {out} matches it")
    for line in shortened([f"{name}: a copy of one that is taken out; it is new when it is asked for" for name in done.copies]):
        terminal.say(line)
    for line in shortened([f"{name}: has the bytes of one that is taken out, and stays with its faces; --forget takes it out" for name in done.originals]):
        terminal.say(line)
    terminal.say(f"{terminal.count(len(done.pictures), 'picture')} taken out, with {terminal.count(done.faces, 'face')}; {_in_words(done.gallery)}")
    return InputError.exit_status if done.unmatched else 0


def find(
    *photographs: Annotated[str, Parameter(help="Photographs, folders and globs: every face on them is looked for.", required=True)],
    gallery: GalleryFolder,
    k: Annotated[int, Parameter(help="How many of the nearest to name.", show_default=True)] = 5,
    fpir: Annotated[float | None, Parameter(help="How often a stranger may be taken for somebody of the gallery, such as 0.05. 0.01, as far as the card goes.")] = None,
    model: Model = None,
    detector: DetectorFile = None,
    json: Annotated[bool, Parameter(help="The answer as one JSON object.")] = False,
) -> int:
    """Who of a gallery is on photographs, or nobody: the nearest faces of all, exactly, with probabilities, by a line of the model's card."""
    from polyface import terminal
    from polyface.inference.find import find
    from polyface.inference.gallery import open_gallery

    analyzer = loaded(model, detector)
    opened = open_gallery(gallery, analyzer.engine)
    pictures, refused = _sources(photographs)
    with terminal.progress("pictures") as report:
        found = find(analyzer, opened, pictures, k, fpir, report)
    for words in (*found.refused, *(f"{picture}: no face on it" for picture in found.without), *found.notes):
        terminal.say(words)
    if json:
        print(found.to_json())
    else:
        terminal.table(found.rows())
        terminal.tell(found.in_words())
    return InputError.exit_status if refused or found.refused else 0


def people(
    *,
    gallery: GalleryFolder,
    far: Annotated[float | None, Parameter(help="How often two people may be joined, a rate of the model's card. Without, as the size of the gallery calls for.")] = None,
    html: Annotated[Path | None, Parameter(help="Write a contact sheet here: one file, with every person's faces.")] = None,
    json: Json = None,
    model: Model = None,
) -> int:
    """Group the faces of a gallery into people, without saying how many there are."""
    from polyface import files, terminal
    from polyface.inference import engine as engines
    from polyface.inference import people as grouping
    from polyface.inference.gallery import open_gallery

    files.require_writable(html, json)
    engine = engines.load(model)
    terminal.say(engine.terms)
    opened = open_gallery(gallery, engine)
    with terminal.progress("faces") as report:
        found = grouping.people(opened, engine, far, report)
    if json is not None:
        files.write_atomically(json, found.to_json())
    without: list[str] = []
    if html is not None:
        from polyface.inference.people_page import contact_sheet

        page, without = contact_sheet(found, opened)
        files.write_atomically(html, page)
    terminal.table(found.rows())
    terminal.tell(found.in_words())
    for reason in without:
        terminal.say(f"not on the sheet: {reason}")
    return InputError.exit_status if without else 0
