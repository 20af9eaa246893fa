"""`polyface synth ...`"""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from polyface.errors import RequestError

app = App(name="synth", help="Drawn people, every label known, to try and test with.", sort_key=8)


@app.command(name="preview", sort_key=1)
def synth_preview(
    *,
    out: Annotated[Path, Parameter(help="The picture to write.", show_default=True)] = Path("drawn.png"),
    people: Annotated[int, Parameter(help="How many people, a row for each.", show_default=True)] = 6,
    photos: Annotated[int, Parameter(help="Photos of each.", show_default=True)] = 8,
    seed: Annotated[int, Parameter(show_default=True)] = 0,
    labels: Annotated[bool, Parameter(help="With regions, points and the nose's direction drawn on.")] = False,
) -> None:
    """One picture of drawn people."""
    from polyface.inference.write import write_picture
    from polyface.synth.preview import preview

    if people < 1 or photos < 1 or seed < 0:
        raise RequestError(f"people and photos must be at least 1 and the seed at least 0, not {people}, {photos} and {seed}")
    write_picture(out, preview(seed, people, photos, labels))
    print(out)


@app.command(name="write", sort_key=2)
def synth_write(
    layout: Annotated[str, Parameter(help="The public data set whose layout to write, such as utkface.")],
    out: Annotated[Path, Parameter(help="The folder to write.")],
    /,
    *,
    people: Annotated[int, Parameter(show_default=True)] = 50,
    photos: Annotated[int, Parameter(help="Photos of each.", show_default=True)] = 10,
    seed: Annotated[int, Parameter(show_default=True)] = 0,
) -> None:
    """Write drawn people in the layout of a public data set."""
    from polyface.synth import write

    number = write.write(layout, out, people, photos, seed)
    print(f"{number} pictures in {out}")
